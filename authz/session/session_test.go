package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

var (
	ctx  = context.Background()
	home = netip.MustParseAddr("192.0.2.1")
	inn  = netip.MustParseAddr("10.0.0.1")
)

func now(t testing.TB, s store.Store) time.Time {
	t.Helper()
	c := &store.Time{}
	if err := s.Do(ctx, store.Seq{c}); err != nil {
		t.Fatal(err)
	}
	return c.Now
}

func record(node, acct, user string) Record {
	return Record{ID: ID(node, acct), Node: node, Acct: acct, User: user, Source: home, Decision: "d1"}
}

// open is a login's commit; it reports whether the user may have the session.
func open(t testing.TB, s store.Store, r *Registry, rec Record, most int) bool {
	t.Helper()
	o := r.Open(now(t, s), rec, most)
	if err := s.Do(ctx, store.Join(o.UserSeqs(), o.NodeSeqs())...); err != nil {
		t.Fatal(err)
	}
	if o.TooMany() {
		if err := r.Abandon(ctx, rec); err != nil {
			t.Fatal(err)
		}
		return false
	}
	return true
}

func lease(t testing.TB, s store.Store, rec Record, ttl time.Duration) Record {
	t.Helper()
	l := &store.Lease{Pool: "p", Ranges: []store.Range{{First: inn, Last: inn.Next()}}, Holder: rec.ID, Owner: rec.User, TTL: ttl}
	if err := s.Do(ctx, store.Seq{l}); err != nil || !l.OK {
		t.Fatalf("lease: %v, %+v", err, l)
	}
	rec.Pool, rec.Addr = "p", l.Addr
	return rec
}

func leased(t testing.TB, s store.Store) int {
	t.Helper()
	l := &store.Leased{Pool: "p"}
	if err := s.Do(ctx, store.Seq{l}); err != nil {
		t.Fatal(err)
	}
	return l.N
}

type reporter func(context.Context, Report) (Outcome, error)

func must(t testing.TB, f reporter, rep Report) Outcome {
	t.Helper()
	out, err := f(ctx, rep)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func history(t testing.TB, r *Registry) string {
	t.Helper()
	events, err := r.History(ctx, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s; ", e.Kind, e.Acct)
	}
	return b.String()
}

func count(t testing.TB, r *Registry, user string) int {
	t.Helper()
	n, err := r.Count(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLife(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		rec := lease(t, b, record("n1", "a1", "alice"), time.Hour)
		if !open(t, b, r, rec, 0) {
			t.Fatal("refused")
		}
		if got, found, err := r.Get(ctx, rec.ID); err != nil || !found || got.State != Pending || got.Addr != inn || got.Source != home {
			t.Errorf("pending: %+v, %v", got, err)
		}
		rep := Report{Node: "n1", Acct: "a1", Addr: inn}
		if out := must(t, r.Start, rep); !out.First || !out.Known || out.AddressLost || out.Record.State != Active || out.Record.User != "alice" {
			t.Errorf("start: %+v", out)
		}
		if out := must(t, r.Start, rep); out.First || !out.Known {
			t.Errorf("start again: %+v", out)
		}
		rep.Usage = Usage{Time: 5 * time.Minute, InOctets: 1 << 40, OutOctets: 7, InPackets: 3, OutPackets: 4}
		must(t, r.Touch, rep)
		old := rep
		old.Usage = Usage{Time: time.Minute, InOctets: 1}
		must(t, r.Touch, old) // comes late
		if got, _, _ := r.Get(ctx, rec.ID); got.Usage != rep.Usage || got.State != Active {
			t.Errorf("touched: %+v", got)
		}
		for name, list := range map[string]func(context.Context, string) ([]Record, error){"user": r.ByUser, "node": r.ByNode} {
			arg := map[string]string{"user": "Alice", "node": "n1"}[name]
			if recs, err := list(ctx, arg); err != nil || len(recs) != 1 || recs[0].ID != rec.ID {
				t.Errorf("by %s: %v, %v", name, recs, err)
			}
		}
		if all, err := r.All(ctx); err != nil || len(all) != 1 {
			t.Errorf("all: %v, %v", all, err)
		}
		if nodes, err := r.Nodes(ctx); err != nil || len(nodes) != 1 || nodes[0] != "n1" {
			t.Errorf("nodes: %v, %v", nodes, err)
		}
		if n := leased(t, b); n != 1 {
			t.Errorf("%d leased", n)
		}
		rep.Usage.Time, rep.Cause = 6*time.Minute, 1
		if out := must(t, r.Stop, rep); !out.First || out.Record.State != Closed || out.Record.Cause.String() != "user-request" {
			t.Errorf("stop: %+v", out)
		}
		if n := leased(t, b); n != 0 {
			t.Errorf("%d leased after the stop", n)
		}
		// Everything again, in any order, changes nothing.
		for _, f := range []reporter{r.Stop, r.Touch, r.Start, r.Stop} {
			if out := must(t, f, rep); out.First || !out.Known || out.Record.State != Closed {
				t.Errorf("after the end: %+v", out)
			}
		}
		if _, found, _ := r.Get(ctx, rec.ID); found || count(t, r, "alice") != 0 {
			t.Error("lives on")
		}
		events, err := r.History(ctx, 10)
		if err != nil || len(events) != 2 || events[0].Kind != EventStart || events[1].Kind != EventStop {
			t.Fatalf("%+v, %v", events, err)
		}
		if e := events[1]; e.User != "alice" || e.Addr != inn || e.Usage != rep.Usage || e.Decision != "d1" || e.Ended.IsZero() || e.State != Closed {
			t.Errorf("stop event: %+v", e)
		}
		if e := events[0]; e.Usage != (Usage{}) || e.State != Active {
			t.Errorf("start event: %+v", e)
		}
	})
}

func TestLimit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		var mu sync.Mutex
		var wg sync.WaitGroup
		got := 0
		for i := range 20 {
			wg.Go(func() {
				if open(t, b, r, record("n1", fmt.Sprint(i), "alice"), 3) {
					mu.Lock()
					got++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if got != 3 || count(t, r, "alice") != 3 {
			t.Errorf("%d sessions of 3 allowed, %d counted", got, count(t, r, "alice"))
		}
		if recs, err := r.ByNode(ctx, "n1"); err != nil || len(recs) != 3 {
			t.Errorf("%d records, %v", len(recs), err)
		}
	})
}

func TestPendingLapses(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	rec := lease(t, b, record("n1", "a1", "alice"), r.LeaseTime())
	open(t, b, r, rec, 1)
	must(t, r.Start, Report{Node: "n1", Acct: "other", User: "bob"}) // so that the node is known
	if open(t, b, r, record("n1", "a2", "alice"), 1) {
		t.Error("a second session")
	}
	b.Sleep(2 * time.Minute)
	if !open(t, b, r, record("n1", "a3", "alice"), 1) {
		t.Error("a login that was never used counts for ever")
	}
	if n, err := r.Sweep(ctx); err != nil || n != 0 {
		t.Errorf("%d ended, %v", n, err)
	}
	if _, found, _ := r.Get(ctx, rec.ID); found {
		t.Error("lapsed pending session is kept")
	}
	// Its start comes late, from a spool: it is a session, and its own address is
	// still its own.
	if out := must(t, r.Start, Report{Node: "n1", Acct: "a1", User: "alice", Addr: rec.Addr}); !out.First || out.Known {
		t.Errorf("late start: %+v", out)
	}
	if h := history(t, r); h != "start other; start a1; " && h != "start a1; start other; " {
		t.Errorf("history: %s", h)
	}
}

func TestSweep(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{Interim: 200 * time.Millisecond, Missed: 1, Pending: 200 * time.Millisecond})
		rec := lease(t, b, record("n1", "a1", "alice"), time.Hour)
		open(t, b, r, rec, 0)
		must(t, r.Start, Report{Node: "n1", Acct: "a1"})
		must(t, r.Touch, Report{Node: "n1", Acct: "a1", Usage: Usage{Time: time.Second, InOctets: 9}})
		b.Sleep(300 * time.Millisecond)
		if n := count(t, r, "alice"); n != 0 {
			t.Errorf("a silent session counts: %d", n)
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		ended := 0
		for range 4 { // services sweep at once
			wg.Go(func() {
				n, err := r.Sweep(ctx)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				ended += n
				mu.Unlock()
			})
		}
		wg.Wait()
		if ended != 1 {
			t.Errorf("%d ended", ended)
		}
		events, err := r.History(ctx, 10)
		if err != nil || len(events) != 2 || events[1].Cause != LostCarrier || events[1].Usage.InOctets != 9 {
			t.Errorf("%+v, %v", events, err)
		}
		if n := leased(t, b); n != 0 {
			t.Errorf("%d leased", n)
		}
		if n, err := r.Sweep(ctx); n != 0 || err != nil {
			t.Errorf("again: %d, %v", n, err)
		}
	})
}

// A session that was silent for too long and comes back finds its address given
// away, and says so.
func TestAddressLost(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	rec := lease(t, b, record("n1", "a1", "alice"), time.Minute)
	open(t, b, r, rec, 0)
	if out := must(t, r.Start, Report{Node: "n1", Acct: "a1"}); out.AddressLost {
		t.Errorf("%+v", out)
	}
	b.Sleep(14 * time.Minute)
	if out := must(t, r.Touch, Report{Node: "n1", Acct: "a1", Usage: Usage{Time: time.Minute}}); out.AddressLost {
		t.Errorf("%+v", out)
	}
	b.Sleep(16 * time.Minute)
	if out := must(t, r.Touch, Report{Node: "n1", Acct: "a1", Usage: Usage{Time: 2 * time.Minute}}); out.AddressLost {
		t.Errorf("lapsed, but nobody took it: %+v", out)
	}
	b.Sleep(16 * time.Minute)
	for _, acct := range []string{"b1", "b2"} {
		lease(t, b, record("n2", acct, acct), time.Hour)
	}
	if out := must(t, r.Touch, Report{Node: "n1", Acct: "a1", Usage: Usage{Time: 3 * time.Minute}}); !out.AddressLost {
		t.Errorf("somebody else has it: %+v", out)
	}
	must(t, r.Stop, Report{Node: "n1", Acct: "a1"})
	if n := leased(t, b); n != 2 {
		t.Errorf("the stop took the other's lease: %d", n)
	}
}

func TestNodeRestarted(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	for i := range 3 {
		open(t, b, r, record("n1", fmt.Sprint(i), "alice"), 0)
		must(t, r.Start, Report{Node: "n1", Acct: fmt.Sprint(i)})
	}
	open(t, b, r, record("n2", "x", "alice"), 0)
	b.Sleep(20 * time.Minute) // they are lapsed by now, not swept
	open(t, b, r, record("n1", "3", "alice"), 0)
	must(t, r.Start, Report{Node: "n1", Acct: "3"})
	b.Sleep(time.Second)
	on := now(t, b)
	b.Sleep(time.Second)
	open(t, b, r, record("n1", "after", "alice"), 0)
	for _, want := range []int{4, 0} { // the second On is a retransmission
		if n, err := r.NodeRestarted(ctx, "n1", on); err != nil || n != want {
			t.Errorf("%d ended, want %d, %v", n, want, err)
		}
	}
	if recs, _ := r.ByNode(ctx, "n1"); len(recs) != 1 || recs[0].Acct != "after" {
		t.Errorf("left: %v", recs)
	}
	events, _ := r.History(ctx, 100)
	if len(events) != 8 {
		t.Errorf("%d events", len(events))
	}
	for _, e := range events {
		if e.Kind == EventStop && e.Cause != NASReboot {
			t.Errorf("%+v", e)
		}
	}
}

// NAS count session IDs from zero after a restart.
// Starts that come while their sessions are being forgotten, out of the spool of a NAS
// that says it has restarted, say: whatever comes first, none is live for ever.
func TestStartsAmidEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		const sessions = 150
		r := New(b, Config{Interim: 300 * time.Millisecond, Missed: 1, Pending: 300 * time.Millisecond})
		must(t, r.Start, Report{Node: "n1", Acct: "known", User: "bob"})
		for i := range sessions {
			open(t, b, r, record("n1", fmt.Sprint(i), fmt.Sprint("u", i)), 1)
		}
		var wg sync.WaitGroup
		for _, end := range []func(){
			func() { _, _ = r.NodeRestarted(ctx, "n1", time.Time{}) },
			func() { _, _ = r.Sweep(ctx) },
		} {
			wg.Go(func() {
				for range 5 {
					end()
				}
			})
		}
		for i := range sessions {
			wg.Go(func() {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
				if _, err := r.Start(ctx, Report{Node: "n1", Acct: fmt.Sprint(i), User: fmt.Sprint("u", i)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.Sleep(400 * time.Millisecond)
		for range 2 { // what is only in the index goes in a round of its own
			if _, err := r.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
		}
		events, err := r.History(ctx, 10*sessions)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]map[EventKind]int{}
		for _, e := range events {
			if told[e.ID] == nil {
				told[e.ID] = map[EventKind]int{}
			}
			told[e.ID][e.Kind]++
		}
		if len(told) != sessions+1 {
			t.Errorf("%d sessions in the history", len(told))
		}
		for id, n := range told {
			if n[EventStart] != 1 || n[EventStop] != 1 {
				t.Errorf("%s: %v", id, n)
			}
		}
		if left, err := r.entries(ctx, store.NodeLive("n1"), true); err != nil || len(left) != 0 {
			t.Errorf("%d are left, %v", len(left), err)
		}
	})
}

func TestIDUsedAgain(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	for range 2 {
		open(t, b, r, record("n1", "00000001", "alice"), 0)
		must(t, r.Start, Report{Node: "n1", Acct: "00000001"})
		must(t, r.Stop, Report{Node: "n1", Acct: "00000001"})
	}
	if h := history(t, r); strings.Count(h, "start") != 2 || strings.Count(h, "stop") != 2 {
		t.Errorf("history: %s", h)
	}
}

func TestForeignSession(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	rep := Report{Node: "router", Acct: "9", User: "carol", Source: home, Addr: inn, At: now(t, b).Add(-time.Minute)}
	if out := must(t, r.Touch, rep); !out.First || out.Known || out.Record.User != "carol" || !out.Record.Started.Equal(rep.At) {
		t.Errorf("%+v", out)
	}
	if n := count(t, r, "carol"); n != 1 {
		t.Errorf("%d sessions", n)
	}
	rep.At = now(t, b).Add(time.Hour) // a clock that is ahead
	if out := must(t, r.Stop, rep); !out.First || !out.Known || out.Record.Ended.After(now(t, b)) {
		t.Errorf("%+v", out)
	}
	// One nobody ever heard of, with no name either.
	if out := must(t, r.Stop, Report{Node: "router", Acct: "10", Usage: Usage{Time: time.Minute}}); !out.First || out.Record.Ended.Sub(out.Record.Started) != time.Minute {
		t.Errorf("%+v", out)
	}
	if h := history(t, r); strings.Count(h, "start") != 2 || strings.Count(h, "stop") != 2 {
		t.Errorf("history: %s", h)
	}
}

// Reports in random order, repeated and at once, by services that crash between
// them: one start and one stop each, nothing left over.
func TestOneStartOneStop(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		rng := rand.New(rand.NewPCG(1, 2))
		const sessions = 30
		var wg sync.WaitGroup
		for i := range sessions {
			acct := fmt.Sprint(i)
			open(t, b, r, record("n1", acct, "alice"), 0)
			steps := []reporter{r.Start, r.Start, r.Touch, r.Touch, r.Stop, r.Stop}
			rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			for j, f := range steps {
				wg.Go(func() {
					if _, err := f(ctx, Report{Node: "n1", Acct: acct, Usage: Usage{Time: time.Duration(j) * time.Second}}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		events, err := r.History(ctx, 1000)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, e := range events {
			seen[string(e.Kind)+" "+e.ID]++
		}
		if len(seen) != 2*sessions {
			t.Errorf("%d different events of %d sessions", len(seen), sessions)
		}
		for what, n := range seen {
			if n != 1 {
				t.Errorf("%s: %d times", what, n)
			}
		}
		if n := count(t, r, "alice"); n != 0 {
			t.Errorf("%d sessions left over", n)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{History: 160})
	for i := range 400 {
		must(t, r.Stop, Report{Node: "n1", Acct: fmt.Sprint(i)})
	}
	events, err := r.History(ctx, 10_000)
	if err != nil || len(events) > 160 || len(events) < 100 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if some, _ := r.History(ctx, 5); len(some) != 5 || some[4].ID != events[len(events)-1].ID {
		t.Errorf("newest: %v", some)
	}
}

func TestPages(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	for i := range page + 20 {
		o := r.Open(now(t, b), record("n1", fmt.Sprint(i), "alice"), 0)
		if err := b.Do(ctx, store.Join(o.UserSeqs(), o.NodeSeqs())...); err != nil {
			t.Fatal(err)
		}
	}
	if recs, err := r.ByUser(ctx, "alice"); err != nil || len(recs) != page+20 {
		t.Errorf("%d, %v", len(recs), err)
	}
}

func TestNames(t *testing.T) {
	if Cause(2).String() != "lost-carrier" || Cause(18).String() != "host-request" || Cause(99).String() != "cause-99" ||
		State(9).String() != "unknown" || Active.String() != "active" {
		t.Error("names")
	}
	if _, err := parseRecord(`{"state":"odd"}`); err == nil {
		t.Error("an odd state")
	}
	if _, err := parseEvent(`x`); err == nil {
		t.Error("junk is an event")
	}
}
