package mfa

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/internal/seal"
	"postern/internal/store/storetest"
)

// withRecovery looks at a code as the portal does, and burns it.
func withRecovery(t *testing.T, v *Verifier, user, code string) Result {
	t.Helper()
	q := v.Ask(user).WithRecovery()
	if err := v.store.Do(ctx, q.Seqs()...); err != nil {
		t.Fatal(err)
	}
	r, err := v.Check(noon, q, code)
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome == OK {
		b := v.Burn(user, r, "")
		if err := v.store.Do(ctx, b.Seqs()...); err != nil {
			t.Fatal(err)
		}
		if b.Lost() {
			r.Outcome = Replayed
		}
	}
	return r
}

func TestRecovery(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		v := New(b, ring(t), Config{})
		codes, err := v.NewRecovery(ctx, "alice")
		if err != nil || len(codes) != 10 {
			t.Fatalf("%d codes, %v", len(codes), err)
		}
		seen := make(map[string]bool)
		for _, c := range codes {
			if len(c) != 19 || strings.Count(c, "-") != 3 || seen[c] {
				t.Errorf("a code of %d characters", len(c))
			}
			seen[c] = true
		}
		left := func(want int) {
			t.Helper()
			if n, err := v.RecoveryLeft(ctx, "alice"); n != want || err != nil {
				t.Errorf("%d left, want %d; %v", n, want, err)
			}
		}
		left(10)
		if r := withRecovery(t, v, "alice", codes[3]); r.Outcome != OK || !r.Recovery {
			t.Errorf("%+v", r)
		}
		left(9)
		if r := withRecovery(t, v, "alice", codes[3]); r.Outcome != Replayed {
			t.Errorf("again: %+v", r)
		}
		// As people type it.
		if r := withRecovery(t, v, "alice", " "+strings.ToLower(strings.ReplaceAll(codes[4], "-", " "))); r.Outcome != OK {
			t.Errorf("typed otherwise: %+v", r)
		}
		wrong := map[byte]byte{'A': 'B'}[codes[5][0]]
		if wrong == 0 {
			wrong = 'A'
		}
		for _, c := range []string{string(wrong) + codes[5][1:], strings.Repeat("A", 16), codes[5][:18], codes[5] + "A", strings.Repeat("-", 1000), ""} {
			if r := withRecovery(t, v, "alice", c); r.Outcome == OK {
				t.Errorf("%q opens", c)
			}
		}
		if r := withRecovery(t, v, "bob", codes[5]); r.Outcome == OK {
			t.Error("another user's code")
		}
		// Behind a name they are no codes.
		if r := verify(t, v, noon, "alice", codes[5]); r.Outcome == OK {
			t.Error("accepted without being asked for")
		}
		again, err := v.NewRecovery(ctx, "alice")
		if err != nil {
			t.Fatal(err)
		}
		left(10)
		if r := withRecovery(t, v, "alice", codes[6]); r.Outcome == OK {
			t.Error("a code of the set before")
		}
		v = New(b.Crash(t), ring(t), Config{})
		if r := withRecovery(t, v, "alice", again[0]); r.Outcome != OK {
			t.Errorf("after a crash: %+v", r)
		}
		if err := v.DropRecovery(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		left(0)
	})
}

func TestOneRecoveryCodeOneUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		services := []*Verifier{New(b, ring(t), Config{}), New(b, ring(t), Config{})}
		codes, err := services[0].NewRecovery(ctx, "alice")
		if err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if withRecovery(t, services[i%2], "alice", codes[0]).Outcome == OK {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("used %d times", won.Load())
		}
	})
}

func TestRecoveryAged(t *testing.T) {
	b := storetest.Embedded(t)
	both, err := seal.ParseRing([]byte("b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\na AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	old, rotated := New(b, ring(t), Config{}), New(b, both, Config{})
	codes, err := old.NewRecovery(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		v    *Verifier
		user string
		want bool
	}{{old, "alice", false}, {rotated, "alice", true}, {rotated, "bob", false}} {
		if aged, err := row.v.RecoveryAged(ctx, row.user); aged != row.want || err != nil {
			t.Errorf("%s: %v, %v", row.user, aged, err)
		}
	}
	if r := withRecovery(t, rotated, "alice", codes[0]); r.Outcome != OK {
		t.Errorf("under an old key: %+v", r)
	}
}
