package session

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

func opened(t *testing.T, b storetest.Backend, r *Registry, rec Record) Record {
	t.Helper()
	rec.ID, rec.State = ID(rec.Node, rec.Acct), Pending
	clock := &store.Time{}
	if err := b.Do(ctx, store.Seq{clock}); err != nil {
		t.Fatal(err)
	}
	o := r.Open(clock.Now, rec, 0)
	if err := b.Do(ctx, slices.Concat(o.UserSeqs(), o.NodeSeqs())...); err != nil {
		t.Fatal(err)
	}
	rec.Opened = clock.Now
	return rec
}

func acctsOf(recs []Record, err error) string {
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, rec := range recs {
		all = append(all, rec.Acct)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// A session is found by its address and by its device as long as it has them, however it
// ends.
func TestPlaces(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{Pending: time.Hour, Interim: time.Hour, Missed: 3}) // none lapses on a busy machine
		addr := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }
		at := func(n int, want string) {
			t.Helper()
			if got := acctsOf(r.ByAddr(ctx, addr(n))); got != want {
				t.Errorf("%v: %q, want %q", addr(n), got, want)
			}
		}
		on := func(device, want string) {
			t.Helper()
			if got := acctsOf(r.ByDevice(ctx, device)); got != want {
				t.Errorf("%s: %q, want %q", device, got, want)
			}
		}
		for i := range 5 { // an address that is known by the first report only
			opened(t, b, r, Record{Node: "n1", Acct: fmt.Sprint("s", i), User: "alice", Device: "LT-1"})
		}
		fixed := opened(t, b, r, Record{Node: "n1", Acct: "f", User: "bob", Addr: addr(77), Device: "lt-2"})
		at(0, "")
		at(77, "f")
		on("lt-1", "s0 s1 s2 s3 s4")
		on("LT-2", "f")
		for i := range 5 {
			report(t, r.Start, Report{Node: "n1", Acct: fmt.Sprint("s", i), Addr: addr(i)})
		}
		at(1, "s1")
		if got := acctsOf(r.ByAddr(ctx, netip.MustParseAddr("::ffff:10.0.0.1"))); got != "s1" {
			t.Errorf("mapped: %q", got)
		}
		report(t, r.Stop, Report{Node: "n1", Acct: "s0"})
		at(0, "")
		if err := r.Abandon(ctx, fixed); err != nil {
			t.Fatal(err)
		}
		at(77, "")
		on("lt-2", "")
		seen, err := r.Look(ctx, "n1/s1") // a look finds that it comes from another device
		if err != nil || len(seen) != 1 {
			t.Fatal(seen, err)
		}
		next := seen[0].Record
		next.Device = "lt-3"
		s := Settlement{Seen: seen[0], Next: next}
		if err := r.Settle(ctx, &s); err != nil || !s.Done {
			t.Fatal(s.Done, err)
		}
		on("lt-1", "s2 s3 s4")
		on("lt-3", "s1")
		if n, err := r.NodeRestarted(ctx, "n1", time.Time{}); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		on("lt-3", "")
		at(2, "")
		// Silence.
		const interim = 300 * time.Millisecond
		r = New(b, Config{Pending: interim, Interim: interim, Missed: 3})
		opened(t, b, r, Record{Node: "n2", Acct: "p", User: "alice", Addr: addr(9), Device: "lt-9"})
		opened(t, b, r, Record{Node: "n2", Acct: "a", User: "alice", Addr: addr(10), Device: "lt-9"})
		report(t, r.Start, Report{Node: "n2", Acct: "a"})
		b.Sleep(5 * interim)
		on("lt-9", "")
		if n, err := r.Sweep(ctx); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for _, k := range slices.Concat(store.At(addr(9)), store.At(addr(10)), store.On("lt-9")) {
			list := &store.Members{Key: k, Lapsed: true, Limit: 9}
			if err := b.Do(ctx, store.Seq{list}); err != nil || list.N != 0 {
				t.Errorf("%s: %+v, %v", k, list.List, err)
			}
		}
	})
}

// What the previous release wrote down is entered at the next report, and its records are
// read: they have no reason to end.
func TestPlacesBeforeUpgrade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		const old = `{"id":"n1/s1","node":"n1","acct":"s1","via":"gateway","user":"alice","src":"192.0.2.5","addr":"10.0.0.1","pool":"staff","device":"LT-1","rule":"staff","state":"active","opened":"2026-11-01T08:00:00Z","started":"2026-11-01T08:00:01Z"}`
		if err := b.Do(ctx, store.Seq{&store.Put{Key: store.Session("n1/s1"), Value: old, TTL: time.Hour}},
			store.Seq{&store.Enter{Key: store.UserLive("alice"), Member: "n1/s1", For: time.Hour}},
			store.Seq{&store.Enter{Key: store.NodeLive("n1"), Member: "n1/s1", For: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		report(t, r.Touch, Report{Node: "n1", Acct: "s1", Usage: Usage{Time: time.Minute}})
		if a, d := acctsOf(r.ByAddr(ctx, netip.MustParseAddr("10.0.0.1"))), acctsOf(r.ByDevice(ctx, "lt-1")); a != "s1" || d != "s1" {
			t.Errorf("%q, %q", a, d)
		}
		report(t, r.Stop, Report{Node: "n1", Acct: "s1", Cause: 1})
		e, err := r.History(ctx, 1)
		if err != nil || len(e) != 1 || e[0].Why != "" || e[0].Cause != 1 {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// The last event says why a session was to end, whenever its NAS answered; a NAS that
// refused has nothing to do with its end.
func TestWhyInHistory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		wish := func(rec Record) Wish {
			if ok, err := r.AskEnd(ctx, Wish{Session: rec.ID, Opened: rec.Opened, Reason: "ended by an operator", Detail: "by root"}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			w, found, err := r.WishOf(ctx, WishEnd, rec.ID)
			if !found || err != nil {
				t.Fatal(found, err)
			}
			if end, err := r.Ending(ctx); !end[rec.ID] || err != nil {
				t.Errorf("%v, %v", end, err)
			}
			return w
		}
		for i, c := range []struct {
			about, want string
			after       func(Record)
		}{
			{"before the answer", "ended by an operator: by root", func(rec Record) { wish(rec) }},
			{"behind the answer", "ended by an operator: by root", func(rec Record) {
				if ok, err := r.Answered(ctx, wish(rec)); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}},
			{"refused", ": ", func(rec Record) {
				if ok, err := r.Refused(ctx, wish(rec)); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}},
			{"an ID that is used again", ": ", func(rec Record) {
				wish(rec)
				b.Sleep(2 * time.Millisecond)
				opened(t, b, r, rec)
			}},
		} {
			rec := opened(t, b, r, Record{Node: "n1", Acct: fmt.Sprint(i), User: "alice"})
			report(t, r.Start, Report{Node: "n1", Acct: rec.Acct})
			c.after(rec)
			b.Sleep(2 * time.Millisecond)
			report(t, r.Stop, Report{Node: "n1", Acct: rec.Acct, Cause: 6})
			e, err := r.History(ctx, 1)
			if err != nil || len(e) != 1 || e[0].Kind != EventStop || e[0].Why+": "+e[0].WhyDetail != c.want {
				t.Errorf("%s: %+v, %v", c.about, e, err)
			}
		}
	})
}

// A session that was to end before its NAS had said a word of it, and was forgotten: it is
// to end again when it shows up.
func TestLateStartEnds(t *testing.T) {
	b := storetest.Embedded(t) // its clock moves at once
	r := New(b, Config{Pending: 20 * time.Millisecond})
	opened(t, b, r, Record{Node: "n1", Acct: "other", User: "bob"})
	report(t, r.Start, Report{Node: "n1", Acct: "other"})
	rec := opened(t, b, r, Record{Node: "n1", Acct: "s", User: "alice", Via: "gw"})
	if _, err := r.AskEnd(ctx, Wish{Session: rec.ID, Opened: rec.Opened, Reason: "replaced"}); err != nil {
		t.Fatal(err)
	}
	w, _, err := r.WishOf(ctx, WishEnd, rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.Sleep(60 * time.Millisecond)
	if _, err := r.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Answered(ctx, w); err != nil { // it is gone
		t.Fatal(err)
	}
	b.Sleep(11 * time.Second) // as long as a wish is remembered that was fulfilled
	report(t, r.Start, Report{Node: "n1", Acct: "s", User: "alice", Via: "gw"})
	if w, found, err := r.WishOf(ctx, WishEnd, rec.ID); !found || w.Reason != "replaced" || err != nil {
		t.Errorf("%+v, %v, %v", w, found, err)
	}
}

func TestSpans(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		for i := range 30 {
			user := []string{"alice", "bob", "carol"}[i%3]
			opened(t, b, r, Record{Node: "n1", Acct: fmt.Sprint(i), User: user})
			report(t, r.Start, Report{Node: "n1", Acct: fmt.Sprint(i)})
			b.Sleep(2 * time.Millisecond)
		}
		since := &store.Time{}
		if err := b.Do(ctx, store.Seq{since}); err != nil {
			t.Fatal(err)
		}
		b.Sleep(2 * time.Millisecond)
		for i := range 20 {
			report(t, r.Stop, Report{Node: "n1", Acct: fmt.Sprint(i), Usage: Usage{Time: time.Second, InOctets: uint64(i)}})
			report(t, r.Stop, Report{Node: "n1", Acct: fmt.Sprint(i)})
			b.Sleep(2 * time.Millisecond)
		}
		spans := func(since time.Time, limit int, match func(*Record) bool) []Span {
			t.Helper()
			list, err := r.Spans(ctx, since, limit, match)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range list {
				if i > 0 && s.Last().Before(list[i-1].Last()) {
					t.Errorf("%s before %s", s.Acct, list[i-1].Acct)
				}
			}
			return list
		}
		all := spans(time.Time{}, 100, nil)
		done := 0
		for _, s := range all {
			if s.Starts != 1 || s.Stops > 1 || (s.Stops == 1) != (s.State == Closed) {
				t.Errorf("%s: %d starts, %d stops, %v", s.Acct, s.Starts, s.Stops, s.State)
			}
			done += s.Stops
		}
		if len(all) != 30 || done != 20 {
			t.Errorf("%d sessions, %d of them ended", len(all), done)
		}
		if got := spans(time.Time{}, 5, nil); len(got) != 5 || got[4].Acct != "19" || got[0].Acct != "15" {
			t.Errorf("newest: %+v", got)
		}
		if got := spans(time.Time{}, 100, func(rec *Record) bool { return rec.User == "bob" }); len(got) != 10 {
			t.Errorf("bob: %d", len(got))
		}
		if got := spans(since.Now, 100, nil); len(got) != 20 || got[0].Stops != 1 || got[0].Started.IsZero() {
			t.Errorf("since: %d", len(got))
		}
		events, err := r.EventsOf(ctx, time.Time{}, func(rec *Record) bool { return rec.Acct == "3" })
		if err != nil || len(events) != 2 || events[0].Kind != EventStart || events[1].Usage.InOctets != 3 {
			t.Errorf("%+v, %v", events, err)
		}
	})
}
