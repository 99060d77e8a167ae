package swarm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var skipped uint64
		p := newPace(50, start, func(n uint64) { skipped += n })
		for range 101 {
			if !p.wait(t.Context()) {
				t.Fatal("ended")
			}
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("101 starts at 50/s took %v", d)
		}
		time.Sleep(time.Second) // a stall that is made up for
		for range 50 {
			p.wait(t.Context())
		}
		if d := time.Since(start); d != 3*time.Second || skipped != 0 {
			t.Errorf("151 starts took %v, %d skipped", d, skipped)
		}
		time.Sleep(10 * time.Second) // and one that is not
		for range 60 {
			p.wait(t.Context())
		}
		if d := time.Since(start); d < 13*time.Second || d > 13200*time.Millisecond || skipped != 449 && skipped != 450 {
			t.Errorf("60 starts later: %v, %d skipped", d, skipped)
		}

		fast := newPace(0, time.Now(), nil)
		at := time.Now()
		for range 1000 {
			fast.wait(t.Context())
		}
		if time.Since(at) != 0 {
			t.Error("without a rate it waits")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if slow := newPace(1, time.Now().Add(time.Hour), nil); slow.wait(ctx) || time.Since(at) != time.Millisecond {
			t.Error("waited on")
		}
	})
}

// Who waits for a user gets one as soon as somebody is done, or has a new code.
func TestRosterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoster(users(t, "a", "t1"), "+")
		a := r.take(t.Context())
		t1 := r.take(t.Context())
		r.Typed(t1, time.Now())
		r.Done(t1)
		start := time.Now()
		time.AfterFunc(2*time.Second, func() { r.Done(a) })
		if got := r.take(t.Context()); got != a || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", got.User, time.Since(start))
		}
		if got := r.take(t.Context()); got != t1 || time.Now().Unix()%30 != 0 {
			t.Errorf("%v after %v", got.User, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := r.take(ctx); got != nil {
			t.Errorf("%v, and all are in use", got.User)
		}
	})
}
