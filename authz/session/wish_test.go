package session

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

func TestWish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		rec := record("n1", "a1", "alice")
		if !open(t, b, r, rec, 0) {
			t.Fatal("refused")
		}
		rec, _, err := r.Get(ctx, rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(opened time.Time) bool {
			t.Helper()
			fresh, err := r.AskEnd(ctx, Wish{Session: rec.ID, Opened: opened, Reason: "account disabled", Asked: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			return fresh
		}
		listed := func() bool {
			t.Helper()
			ids, err := r.Wishes(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return slices.Contains(ids, "end "+rec.ID)
		}
		if listed() {
			t.Error("nobody asked")
		}
		if _, _, found, err := r.Wish(ctx, "end "+rec.ID); found || err != nil {
			t.Errorf("nobody asked: %v, %v", found, err)
		}
		if !ask(rec.Opened) || ask(rec.Opened) || !listed() {
			t.Error("asked for once, and then again")
		}
		e, got, found, err := r.Wish(ctx, "end "+rec.ID)
		if err != nil || !found || e.Reason != "account disabled" || got.User != "alice" {
			t.Errorf("%+v, %+v, %v, %v", e, got, found, err)
		}

		// Many services have it done at the same time; one was the first.
		var first atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				won, err := r.Answered(ctx, e)
				if err != nil {
					t.Error(err)
				}
				if won {
					first.Add(1)
				}
			})
		}
		wg.Wait()
		if first.Load() != 1 || listed() {
			t.Errorf("%d were the first; listed %v", first.Load(), listed())
		}
		if ask(rec.Opened) {
			t.Error("asked for at once when it has just been answered")
		}

		if strings.HasSuffix(t.Name(), "redis") {
			return // what follows takes a day there
		}
		// A wish for a session that is gone is not one for the next of the same ID.
		b.Sleep(wishDone + time.Second)
		if !ask(rec.Opened.Add(-time.Hour)) {
			t.Error("not asked")
		}
		if _, got, found, err := r.Wish(ctx, "end "+rec.ID); got.ID != "" || !found || err != nil {
			t.Errorf("%+v, %v, %v", got, found, err)
		}
		b.Sleep(wishLife + time.Second)
		if listed() {
			t.Error("the wish does not lapse")
		}
	})
}

// What is no wish of ours can be taken away.
func TestWishUnreadable(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	seq := store.Seq{
		&store.Put{Key: store.Wish("n1/a1", "end n1/a1"), Value: "{"},
		&store.Enter{Key: store.WishesOf("n1/a1"), Member: "end n1/a1", For: time.Hour},
	}
	if err := b.Do(ctx, seq); err != nil {
		t.Fatal(err)
	}
	e, rec, found, err := r.Wish(ctx, "end n1/a1")
	if err != nil || !found || rec.ID != "" || e.Kind != WishUnknown {
		t.Fatalf("%+v, %+v, %v, %v", e, rec, found, err)
	}
	if first, err := r.Answered(ctx, e); err != nil || !first {
		t.Errorf("%v, %v", first, err)
	}
}

// Sessions whose NAS knows them no more: one that had started, one that had not, and
// one whose ID is another's by now.
func TestLost(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		started := lease(t, b, record("n1", "a1", "alice"), time.Hour)
		pending := record("n1", "a2", "alice")
		if !open(t, b, r, started, 0) || !open(t, b, r, pending, 0) {
			t.Fatal("refused")
		}
		must(t, r.Start, Report{Node: "n1", Acct: "a1", Addr: inn})
		for _, id := range []string{started.ID, pending.ID} {
			rec, _, err := r.Get(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			other := rec
			other.Opened = other.Opened.Add(-time.Hour)
			if err := r.Lost(ctx, other); err != nil {
				t.Fatal(err)
			}
			if _, found, _ := r.Get(ctx, id); !found {
				t.Errorf("%s was ended in the place of another", id)
			}
			for range 2 {
				if err := r.Lost(ctx, rec); err != nil {
					t.Fatal(err)
				}
			}
			if _, found, _ := r.Get(ctx, id); found {
				t.Errorf("%s is still there", id)
			}
		}
		if got := history(t, r); got != "start a1; stop a1; " || leased(t, b) != 0 || count(t, r, "alice") != 0 {
			t.Errorf("history %q, %d leases, %d sessions", got, leased(t, b), count(t, r, "alice"))
		}
		events, _ := r.History(ctx, 10)
		if !strings.Contains(events[len(events)-1].Cause.String(), "lost-carrier") {
			t.Errorf("cause %v", events[len(events)-1].Cause)
		}
	})
}
