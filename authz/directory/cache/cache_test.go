package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errNo = errors.New("no such user")

func isNo(err error) bool { return errors.Is(err, errNo) }

// counted answers with how many times it was asked.
type counted struct{ n atomic.Int64 }

func (l *counted) load(context.Context) (int64, error) { return l.n.Add(1), nil }

func get(t *testing.T, c *Cache[int64], key string, l *counted, want int64) {
	t.Helper()
	if got, err := c.Get(t.Context(), key, l.load); got != want || err != nil {
		t.Errorf("%s: %d, %v; want %d", key, got, err, want)
	}
}

func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int64](Config{TTL: time.Minute})
		var l counted
		get(t, c, "a", &l, 1)
		time.Sleep(time.Minute - time.Nanosecond)
		get(t, c, "a", &l, 1)
		time.Sleep(time.Nanosecond)
		get(t, c, "a", &l, 2)

		// The time counts from the question: the answer may be as old.
		slow := func(ctx context.Context) (int64, error) { time.Sleep(50 * time.Second); return l.load(ctx) }
		if _, err := c.Get(t.Context(), "b", slow); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		get(t, c, "b", &l, 4)
	})
}

func TestOff(t *testing.T) {
	c := New[int64](Config{})
	var l counted
	get(t, c, "a", &l, 1)
	get(t, c, "a", &l, 2)
	if c.Len() != 0 {
		t.Error("kept something")
	}
}

func TestErrors(t *testing.T) {
	c := New[int64](Config{TTL: time.Minute, Keep: isNo})
	asked := 0
	fail := func(err error) func(context.Context) (int64, error) {
		return func(context.Context) (int64, error) { asked++; return 0, err }
	}
	for range 3 {
		if _, err := c.Get(t.Context(), "nobody", fail(fmt.Errorf("find: %w", errNo))); !isNo(err) {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("a no was asked for %d times", asked)
	}
	for range 3 {
		if _, err := c.Get(t.Context(), "a", fail(errors.New("silent"))); err == nil {
			t.Error("no error")
		}
	}
	if asked != 4 {
		t.Errorf("silence was kept: asked %d times", asked)
	}
}

// Random names push out random names.
func TestBounds(t *testing.T) {
	c := New[int64](Config{TTL: time.Minute, Max: 3, Keep: isNo})
	var l counted
	get(t, c, "a", &l, 1)
	get(t, c, "b", &l, 2)
	get(t, c, "c", &l, 3)
	for i := range 100 {
		c.Get(t.Context(), fmt.Sprint("random", i), func(context.Context) (int64, error) { return 0, errNo })
	}
	if c.Len() != 6 {
		t.Errorf("%d kept", c.Len())
	}
	get(t, c, "a", &l, 1) // the newest of the three now
	get(t, c, "d", &l, 4) // pushes out b
	get(t, c, "c", &l, 3)
	get(t, c, "a", &l, 1)
	get(t, c, "b", &l, 5)

	// An answer that becomes a no changes lists.
	c.Forget("a")
	c.Get(t.Context(), "a", func(context.Context) (int64, error) { return 0, errNo })
	if c.Len() != 5 {
		t.Errorf("%d kept", c.Len())
	}
}

func TestOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int64](Config{TTL: time.Minute})
		var l counted
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				got, err := c.Get(t.Context(), "a", func(ctx context.Context) (int64, error) { time.Sleep(time.Second); return l.load(ctx) })
				if got != 1 || err != nil {
					t.Error(got, err)
				}
			})
		}
		wg.Wait()
	})
}

// Whoever gives up takes nobody along.
func TestAskerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int64](Config{TTL: time.Minute, Keep: func(error) bool { return true }})
		var l counted
		load := func(ctx context.Context) (int64, error) {
			select {
			case <-time.After(3 * time.Second):
				return l.load(ctx)
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Get(ctx, "a", load); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				if got, err := c.Get(t.Context(), "a", load); got != 1 || err != nil {
					t.Error(got, err)
				}
			})
		}
		wg.Go(func() { // waits for another, and not for long
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := c.Get(ctx, "a", load); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		wg.Wait()
	})
}

func TestPanic(t *testing.T) {
	c := New[int64](Config{TTL: time.Minute})
	func() {
		defer func() { _ = recover() }()
		c.Get(t.Context(), "a", func(context.Context) (int64, error) { panic("load") })
	}()
	var l counted
	get(t, c, "a", &l, 1)
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[int64](Config{TTL: time.Hour})
		var l counted
		get(t, c, "a", &l, 1)
		get(t, c, "b", &l, 2)
		c.Forget("a", "x")
		get(t, c, "a", &l, 3)
		get(t, c, "b", &l, 2)
		c.ForgetIf(func(key string, value int64) bool { return key == "b" && value == 2 })
		get(t, c, "b", &l, 4)
		get(t, c, "a", &l, 3)
		c.Flush()
		get(t, c, "a", &l, 5)

		// An answer under way may be from before.
		for i, forget := range []func(){
			func() { c.Forget("slow") }, c.Flush, func() { c.ForgetIf(func(string, int64) bool { return false }) },
		} {
			l.n.Store(int64(10 * i))
			var wg sync.WaitGroup
			wg.Go(func() {
				c.Get(t.Context(), "slow", func(ctx context.Context) (int64, error) { time.Sleep(time.Second); return l.load(ctx) })
			})
			synctest.Wait()
			forget()
			get(t, c, "slow", &l, int64(10*i+1))
			wg.Wait()
			get(t, c, "slow", &l, int64(10*i+1))
			c.Flush()
		}
	})
}

func TestSideBySide(t *testing.T) {
	c := New[string](Config{TTL: time.Millisecond, Max: 8})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				key := fmt.Sprint(i % 20)
				got, err := c.Get(t.Context(), key, func(context.Context) (string, error) { return "of " + key, nil })
				if err != nil || !strings.HasSuffix(got, " "+key) {
					t.Error(got, err)
				}
				if i%50 == g {
					c.Forget(key)
				}
				if i%200 == g {
					c.Flush()
				}
			}
		})
	}
	wg.Wait()
	if c.Len() > 8 {
		t.Errorf("%d kept", c.Len())
	}
}
