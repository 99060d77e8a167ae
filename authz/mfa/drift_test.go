package mfa

import (
	"testing"
	"time"

	"postern/internal/store/storetest"
)

// A token's clock runs away by so much a day; its user logs in once a day.
func TestDriftIsFollowed(t *testing.T) {
	for _, row := range []struct {
		about string
		rate  time.Duration // a day
		days  int
		lost  bool // in the end
	}{
		{"right", 0, 60, false},
		{"slow", -5 * time.Second, 60, false}, // five minutes in the end
		{"fast", 5 * time.Second, 60, false},
		{"too fast for the bound", 12 * time.Second, 60, true},
		{"jumps", 90 * time.Second, 1, true},
	} {
		t.Run(row.about, func(t *testing.T) {
			v := New(storetest.Embedded(t), ring(t), Config{})
			e := enroll(t, v, "alice")
			lost := false
			for day := range row.days {
				now := noon.Add(time.Duration(day) * 24 * time.Hour)
				code := codeAt(t, e, now.Add(time.Duration(day+1)*row.rate))
				if r := verify(t, v, now, "alice", code); r.Outcome != OK {
					lost = true
				}
			}
			if lost != row.lost {
				t.Errorf("lost: %v", lost)
			}
		})
	}
}

// The window moves and does not grow: at each moment as many codes are good as before.
func TestDriftDoesNotWiden(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	e := enroll(t, v, "alice")
	now := noon
	for range 4 { // one step later each time
		now = now.Add(time.Hour)
		verify(t, v, now, "alice", codeAt(t, e, now.Add(time.Duration(1)*30*time.Second)))
	}
	now = now.Add(time.Hour)
	good := func() (n int, first, last int64) {
		q := v.Ask("alice")
		if err := v.store.Do(ctx, q.Seqs()...); err != nil {
			t.Fatal(err)
		}
		for d := int64(-20); d <= 20; d++ {
			r, err := v.Check(now, q, codeAt(t, e, now.Add(time.Duration(d)*30*time.Second)))
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome == OK {
				if n++; n == 1 {
					first = d
				}
				last = d
			}
		}
		return n, first, last
	}
	if n, first, last := good(); n != 3 || first != 0 || last != 2 {
		t.Errorf("%d codes, from %d to %d", n, first, last)
	}
	// What is not accepted moves nothing.
	verify(t, v, now, "alice", codeAt(t, e, now.Add(5*30*time.Second)))
	if n, first, last := good(); n != 3 || first != 0 || last != 2 {
		t.Errorf("after a wrong code: %d codes, from %d to %d", n, first, last)
	}
	// After long disuse the clock is taken to be right.
	now = now.Add(driftLife + time.Hour)
	if n, first, last := good(); n != 3 || first != -1 || last != 1 {
		t.Errorf("after %v: %d codes, from %d to %d", driftLife, n, first, last)
	}
}

// One code, seen from both sides of a period's end: the drift differs, the step does
// not, and so it opens one login only.
func TestDriftIsNoSecondChance(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	e := enroll(t, v, "alice")
	code := codeAt(t, e, noon)
	q := v.Ask("alice")
	if err := v.store.Do(ctx, q.Seqs()...); err != nil {
		t.Fatal(err)
	}
	early, err := v.Check(noon, q, code)
	if err != nil || early.Outcome != OK {
		t.Fatalf("%+v %v", early, err)
	}
	late, err := v.Check(noon.Add(30*time.Second), q, code)
	if err != nil || late.Outcome != OK || late.drift >= early.drift {
		t.Fatalf("%+v %v", late, err)
	}
	won := 0
	for _, r := range []Result{late, early} {
		b := v.Burn("alice", r, "")
		if err := v.store.Do(ctx, b.Seqs()...); err != nil {
			t.Fatal(err)
		}
		if !b.Lost() {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d logins", won)
	}
}
