//go:build integration

package faults

import (
	"context"
	"flag"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/authz/session"
	"postern/cmd/internal/faults/history"
	"postern/internal/store"
	"postern/internal/store/redistest"
)

var (
	lasts = flag.Duration("for", 40*time.Second, "how `LONG` things are broken")
	rate  = flag.Int("rate", 20, "logins a second meanwhile")
)

// Services, NAS and the primaries of a Redis Cluster are killed and frozen at random
// while people log in. In the end the registry has the tunnels that are up and no
// other, no address was leased to two, no user had too many sessions, no code opened
// two, each session has one start and one stop, and each wrong password was counted.
func TestFaults(t *testing.T) {
	c := redistest.StartCluster(t, 1)
	w := newWorld(t, layout{
		services: 2, nases: 5, plants: 60, staff: 200, guests: 30, pool: "198.18.0.10-198.18.0.159",
		store: []string{"urls: [" + strings.Join(c.URLs(), ", ") + "]", "timeout: 2s", "replicas_ack: 1"},
	})
	things := w.breakable()
	for i := range 3 {
		things = append(things,
			fault{"primary killed", "store", func() func() { s := c.Primary(i); s.Kill(); return s.Restart }},
			fault{"primary frozen", "store", func() func() { s := c.Primary(i); s.Freeze(); return s.Thaw }})
	}
	w.trial(things, c.WaitOK)
}

// trial is the run, and what is asked of it in the end.
func (w *world) trial(things []fault, whole func()) {
	t := w.t
	ctx, cancel := context.WithTimeout(t.Context(), *lasts)
	defer cancel()
	var begun map[string]int
	var wg sync.WaitGroup
	wg.Go(func() { begun = w.breakThings(ctx, things, 3*time.Second) })
	wg.Go(func() {
		w.load(ctx, *rate, func() time.Duration {
			return 500*time.Millisecond + time.Duration(rand.ExpFloat64()*float64(4*time.Second))
		})
	})
	wg.Wait()
	whole()
	w.nases[len(w.nases)-1].kill() // and never comes back

	t.Log("what stays up is in the registry, and nothing else")
	for range 40 {
		w.someone(time.Hour)
	}
	w.await("the registry has what is up", silence+sweep+30*time.Second, func() bool {
		live, err := w.sessions.AllIDs(t.Context())
		slices.Sort(live)
		up := w.up()
		return err == nil && slices.Equal(live, up) && w.leased() == len(up)
	})
	if n := len(w.up()); n < 10 {
		t.Errorf("%d tunnels are up", n)
	}

	t.Log("and when all has ended, it is empty")
	for _, n := range w.nases {
		if b := n.running(); b != nil {
			b.hangUp()
		}
	}
	w.await("all is reported", 60*time.Second, func() bool {
		left := len(w.up())
		for _, n := range w.nases {
			if b := n.running(); b != nil {
				left += int(b.length.Load())
			}
		}
		return left == 0
	})
	var r *history.Run
	within(silence+sweep+30*time.Second, func() bool {
		r = w.run()
		w.look(r)
		return len(history.Check(r)) == 0
	})
	for _, f := range history.Check(r) {
		t.Error(f)
	}
	if n := w.leased(); n != 0 {
		t.Errorf("%d addresses are leased", n)
	}
	total := 0
	for _, n := range begun {
		total += n
	}
	t.Logf("%v", w)
	t.Logf("%d faults: %v", total, begun)
	t.Logf("%d events in the history, %d live, %d leased", len(r.Events), len(r.Live), w.leased())
}

// up are the sessions whose tunnels are.
func (w *world) up() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		if s.Verdict == history.Accepted && s.Ended.IsZero() {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// leased is how many addresses of the pool are; -1: the store does not say.
func (w *world) leased() int {
	op := &store.Leased{Pool: "all"}
	if w.store.Do(w.t.Context(), store.Seq{op}) != nil {
		return -1
	}
	return op.N
}

// hangUp ends all tunnels of a NAS.
func (b *boot) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.tunnels {
		select {
		case t.hangUp <- 1:
		default:
		}
	}
}

// run is what clients have seen.
func (w *world) run() *history.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &history.Run{Limits: map[string]int{}, Counts: map[string]history.Count{}, Pending: start, Silence: silence}
	for _, u := range w.plants {
		r.Limits[u.name] = most
	}
	for _, s := range w.all {
		r.Sessions = append(r.Sessions, *s)
		if s.Wrong {
			n := r.Counts[s.User]
			n.Asked++
			if s.Verdict == history.Refused {
				n.Answered++
			}
			r.Counts[s.User] = n
		}
	}
	return r
}

// look adds to r what the store has.
func (w *world) look(r *history.Run) {
	t := w.t
	t.Helper()
	ctx := t.Context()
	live, err := w.sessions.AllIDs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.Live = live
	events, err := w.sessions.History(ctx, 10_000_000)
	if err != nil {
		t.Fatal(err)
	}
	r.Events = nil
	for _, e := range events {
		kind := map[session.EventKind]history.Kind{session.EventStart: history.Start, session.EventStop: history.Stop}[e.Kind]
		r.Events = append(r.Events, history.Event{Session: e.ID, Kind: kind})
	}
	for user, n := range maps.Clone(r.Counts) {
		s, err := w.shield.Show(ctx, w.store, user, netip.MustParseAddr("100.64.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		n.Stored = s.Counters.User.Failures
		r.Counts[user] = n
	}
}
