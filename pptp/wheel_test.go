package pptp

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWheel compares the wheel with a plain list over a million ticks.
func TestWheel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	epoch := time.Unix(1_000_000, 0)
	w := &wheel{epoch: epoch}
	now := epoch
	timers := make([]*timer, 200)
	due := make(map[*session]time.Time)
	for i := range timers {
		timers[i] = &timer{session: &session{}}
	}
	for range 20000 {
		tm := timers[rng.IntN(len(timers))]
		switch rng.IntN(4) {
		case 0:
			w.stop(tm)
			delete(due, tm.session)
		default:
			at := now.Add(time.Duration(rng.Int64N(int64(90 * time.Second))))
			if old, ok := due[tm.session]; !ok || at.Before(old) {
				due[tm.session] = at
			}
			w.before(tm, at)
		}
		if next := w.next(); len(due) > 0 {
			for _, at := range due {
				if next.IsZero() || next.After(at.Add(wheelTick)) {
					t.Fatalf("next is %v, but a timer is due at %v", next, at)
				}
			}
		} else if !next.IsZero() {
			t.Fatalf("next is %v without a timer", next)
		}
		now = now.Add(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
		if rng.IntN(500) == 0 {
			now = now.Add(time.Minute) // longer than a turn: the machine slept
		}
		w.advance(now, func(s *session) {
			at, ok := due[s]
			if !ok || at.After(now) {
				t.Fatalf("fired at %v, due %v (%v)", now, at, ok)
			}
			delete(due, s)
		})
		for _, at := range due {
			if now.Sub(at) > wheelTick {
				t.Fatalf("at %v a timer due at %v had not fired", now, at)
			}
		}
	}
}

func TestWheelAllocatesNothing(t *testing.T) {
	w := &wheel{epoch: time.Unix(0, 0)}
	tm := &timer{session: &session{}}
	now := w.epoch
	if n := testing.AllocsPerRun(100, func() {
		w.before(tm, now.Add(time.Second))
		w.advance(now, func(*session) {})
		w.stop(tm)
		now = now.Add(wheelTick)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
