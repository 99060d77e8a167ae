package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/store/storetest"
)

func take(t *testing.T, r *Registry, n int) []Asked {
	t.Helper()
	taken, _, err := r.TakeReviews(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

// Who is asked for is taken by one of many services, once.
func TestAskReview(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		r := New(b, Config{})
		if err := r.AskReview(ctx, "nobody at all"); err != nil {
			t.Fatal(err)
		}
		told, err := b.Watch(t.Context(), ReviewsTopic)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AskReview(ctx, "posture", "bob", "alice", "bob"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			t.Error("nobody is told")
		}
		var mu sync.Mutex
		var got []string
		var all []Asked
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				taken, _, err := r.TakeReviews(ctx, 10)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, a := range taken {
					got = append(got, a.User+" "+a.Why)
					all = append(all, a)
				}
			})
		}
		wg.Wait()
		slices.Sort(got)
		if strings.Join(got, ", ") != "alice posture, bob posture" {
			t.Fatalf("%q", got)
		}
		// Bob is asked for again while he is looked at, and alice is not.
		if err := r.AskReview(ctx, "posture", "bob"); err != nil {
			t.Fatal(err)
		}
		if got := take(t, r, 10); len(got) != 0 {
			t.Errorf("taken twice: %+v", got)
		}
		for range 2 { // the answer to the first was lost
			if err := r.FinishReviews(ctx, all); err != nil {
				t.Fatal(err)
			}
		}
		b.Sleep(10 * time.Millisecond)
		again := take(t, r, 10)
		if len(again) != 1 || again[0].User != "bob" {
			t.Fatalf("again %+v", again)
		}
		if err := r.FinishReviews(ctx, again); err != nil {
			t.Fatal(err)
		}
		if got := take(t, r, 10); len(got) != 0 {
			t.Errorf("left over: %+v", got)
		}
	})
}

// A service that dies loses nothing: another takes over after the lease.
func TestReviewTakenOver(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	if err := r.AskReview(ctx, "grant", "alice"); err != nil {
		t.Fatal(err)
	}
	if len(take(t, r, 10)) != 1 {
		t.Fatal("not taken")
	}
	b.Sleep(reviewLease - time.Millisecond)
	if len(take(t, r, 10)) != 0 {
		t.Error("taken from somebody who is at it")
	}
	b.Sleep(2 * time.Millisecond)
	if got := take(t, r, 10); len(got) != 1 || got[0].Why != "grant" {
		t.Errorf("%+v", got)
	}
}

// When there are more than can be remembered, everybody is looked at.
func TestReviewEverybody(t *testing.T) {
	b := storetest.Embedded(t)
	r := New(b, Config{})
	many := make([]string, maxReviews+1)
	for i := range many {
		many[i] = fmt.Sprint("u", i)
	}
	if err := r.AskReview(ctx, "import", many...); err != nil {
		t.Fatal(err)
	}
	if got := take(t, r, 10); len(got) != 1 || got[0].User != Everybody {
		t.Errorf("%+v", got)
	}
}
