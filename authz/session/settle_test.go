package session

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/store/storetest"
)

// due opens a session that is due after a while.
func due(t *testing.T, b storetest.Backend, r *Registry, acct string, in time.Duration) Seen {
	t.Helper()
	rec := record("n1", acct, "alice")
	rec.Due = storeTime(t, b).Add(in)
	if !open(t, b, r, rec, 0) {
		t.Fatal("refused")
	}
	return look(t, r, rec.ID)
}

func look(t *testing.T, r *Registry, id string) Seen {
	t.Helper()
	seen, err := r.Look(ctx, id)
	if err != nil || len(seen) != 1 {
		t.Fatalf("%+v, %v", seen, err)
	}
	return seen[0]
}

// Of many services that look at once one is done, accounting in between has all look
// again, and the wish is as good as the record.
func TestSettle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		seen := due(t, b, r, "a1", time.Hour)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				s := &Settlement{Seen: seen, Next: seen.Record, Wish: &Wish{Kind: WishChange, Reason: "x", Change: json.RawMessage(`{"idle":60}`)}}
				s.Next.Granted = "new"
				if err := r.Settle(ctx, s); err != nil {
					t.Error(err)
				}
				if s.Done != s.Fresh {
					t.Errorf("%+v", s)
				}
				if s.Done {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if got := look(t, r, seen.ID); won.Load() != 1 || got.Granted != "new" {
			t.Fatalf("%d won: %+v", won.Load(), got)
		}
		if names, err := r.Wishes(ctx); err != nil || strings.Join(names, ",") != "change n1/a1" {
			t.Errorf("%q, %v", names, err)
		}

		seen = look(t, r, seen.ID)
		must(t, r.Touch, Report{Node: "n1", Acct: "a1", Addr: inn, Usage: Usage{Time: time.Minute}})
		end := &Settlement{Seen: seen, Next: seen.Record, Wish: &Wish{Kind: WishEnd, Reason: "y", Asked: time.Now()}}
		if err := r.Settle(ctx, end); err != nil || end.Done || end.Fresh {
			t.Errorf("%+v, %v", end, err)
		}
		if names, err := r.Wishes(ctx); err != nil || len(names) != 1 {
			t.Errorf("a wish without its record: %q, %v", names, err)
		}
		for i := range 2 {
			seen = look(t, r, seen.ID)
			end = &Settlement{Seen: seen, Next: seen.Record, Wish: &Wish{Kind: WishEnd, Reason: "y", Asked: time.Now()}}
			if err := r.Settle(ctx, end); err != nil || !end.Done || end.Fresh != (i == 0) {
				t.Errorf("%d: %+v, %v", i, end, err)
			}
		}
		must(t, r.Stop, Report{Node: "n1", Acct: "a1"})
		seen.Settled = "meanwhile"
		late := &Settlement{Seen: seen, Next: seen.Record, Wish: &Wish{Kind: WishChange}}
		if err := r.Settle(ctx, late); err != nil || late.Done {
			t.Errorf("of one that has ended: %+v, %v", late, err)
		}
		if got, err := r.Look(ctx, seen.ID); err != nil || len(got) != 0 {
			t.Errorf("risen from the dead: %+v, %v", got, err)
		}
	})
}

// A session is due at its instant, for one service; one that dies with it is taken over
// from; a settled one is due again when its record says so.
func TestTakeDue(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{Pending: 24 * time.Hour})
	take := func() (string, time.Time, []Seen) {
		t.Helper()
		seen, _, _, next, err := r.TakeDue(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		var accts []string
		for _, s := range seen {
			accts = append(accts, s.Acct)
		}
		return strings.Join(accts, ","), next, seen
	}
	at := due(t, b, r, "a1", time.Minute).Due
	due(t, b, r, "b1", time.Hour)
	due(t, b, r, "c1", time.Minute)
	must(t, r.Stop, Report{Node: "n1", Acct: "c1"})
	if got, next, _ := take(); got != "" || !next.Equal(at) {
		t.Errorf("early: %q, next %v, want %v", got, next, at)
	}
	b.Sleep(time.Minute)
	got, _, _ := take()
	if again, _, _ := take(); got != "a1" || again != "" {
		t.Errorf("%q, then %q", got, again)
	}
	b.Sleep(reviewLease + time.Millisecond)
	got, _, seen := take()
	if got != "a1" {
		t.Fatalf("after a death: %q", got)
	}
	s := &Settlement{Seen: seen[0], Next: seen[0].Record}
	s.Next.Due = storeTime(t, b).Add(time.Second)
	if err := r.Settle(ctx, s); err != nil || !s.Done {
		t.Fatalf("%+v, %v", s, err)
	}
	b.Sleep(time.Second)
	if got, _, seen = take(); got != "a1" {
		t.Fatalf("again: %q", got)
	}
	s = &Settlement{Seen: seen[0], Next: seen[0].Record}
	s.Next.Due = time.Time{}
	if err := r.Settle(ctx, s); err != nil || !s.Done {
		t.Fatalf("%+v, %v", s, err)
	}
	b.Sleep(2 * reviewLease)
	if got, _, _ := take(); got != "" {
		t.Errorf("no more: %q", got)
	}
}
