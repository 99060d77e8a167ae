package lockout

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

var (
	home  = netip.MustParseAddr("192.0.2.1")
	other = netip.MustParseAddr("198.51.100.9")
)

func do(t testing.TB, s store.Store, seqs []store.Seq) {
	t.Helper()
	if err := s.Do(context.Background(), seqs...); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, sh *Shield, st store.Store, user string, source netip.Addr) (*Query, Counters) {
	t.Helper()
	q := sh.Ask(user, source)
	do(t, st, store.Join(q.Seqs()))
	return q, q.Counters()
}

func check(t testing.TB, sh *Shield, st store.Store, user string, source netip.Addr) Verdict {
	t.Helper()
	q, _ := load(t, sh, st, user, source)
	return q.Check(q.Now())
}

func TestLockAndBackOff(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{})
	n := 0
	fail := func() {
		n++
		do(t, b, sh.Failed(WrongPassword, "alice", other, fmt.Sprint(n)))
	}
	for i := range 5 {
		if v := check(t, sh, b, "alice", other); !v.Allowed {
			t.Fatalf("refused after %d failures: %+v", i, v)
		}
		fail()
	}
	if v := check(t, sh, b, "Alice", home); v.Allowed || v.Scope != ScopeUser {
		t.Errorf("not locked at five: %+v", v)
	}
	if v := check(t, sh, b, "bob", home); !v.Allowed {
		t.Errorf("bob is locked: %+v", v)
	}
	b.Sleep(16 * time.Minute)
	if v := check(t, sh, b, "alice", other); !v.Allowed {
		t.Errorf("locked for longer than the first time: %+v", v)
	}
	for range 5 {
		fail()
	}
	b.Sleep(16 * time.Minute)
	if v := check(t, sh, b, "alice", other); v.Allowed {
		t.Error("the second lock is no longer than the first")
	}
	b.Sleep(15 * time.Minute)
	if v := check(t, sh, b, "alice", other); !v.Allowed {
		t.Errorf("after half an hour: %+v", v)
	}
}

func TestSameAttemptCountsOnce(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{})
	for range 9 {
		do(t, b, sh.Failed(WrongPassword, "alice", home, "one"))
	}
	if _, c := load(t, sh, b, "alice", home); c.User.Failures != 1 || c.Pair.Failures != 1 || c.Source.Failures != 1 {
		t.Errorf("%+v", c)
	}
	do(t, b, sh.Failed(WrongPassword, "alice", home, ""))
	do(t, b, sh.Failed(UnknownUser, "alice", home, ""))
	if _, c := load(t, sh, b, "alice", home); c.User.Failures != 3 {
		t.Errorf("attempts without a name: %+v", c)
	}
	if sh.Failed(FailureNone, "alice", home, "x") != nil {
		t.Error("no failure counts")
	}
}

func TestGoodPairPasses(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{})
	succeed := func(user string, from netip.Addr) bool {
		v := check(t, sh, b, user, from)
		seqs := store.Join(sh.Guard(user, from, v, true), sh.Clear(time.Now(), user, from, v, true))
		do(t, b, seqs)
		return v.Allowed && seqs[0].OK()
	}
	if !succeed("alice", home) {
		t.Fatal("first login")
	}
	for range 40 {
		do(t, b, sh.Failed(WrongPassword, "alice", other, ""))
	}
	if v := check(t, sh, b, "alice", other); v.Allowed {
		t.Errorf("the attacker: %+v", v)
	}
	if !succeed("alice", home) {
		t.Error("the user at home is locked out by an attacker")
	}
	if v := check(t, sh, b, "alice", other); v.Allowed {
		t.Error("alice's success at home let the attacker in")
	}
	if v := check(t, sh, b, "bob", other); v.Allowed || v.Scope != ScopeSource {
		t.Errorf("the guessing source: %+v", v)
	}
	// At home five failures of alice's own lock alice at home.
	for range 5 {
		do(t, b, sh.Failed(WrongPassword, "alice", home, ""))
	}
	if v := check(t, sh, b, "alice", home); v.Allowed || v.Scope != ScopePair {
		t.Errorf("own failures: %+v", v)
	}
	if err := sh.Reset(context.Background(), b, What{User: "alice", Source: home}); err != nil {
		t.Fatal(err)
	}
	if v := check(t, sh, b, "alice", home); !v.Allowed {
		t.Errorf("after the operator's word: %+v", v)
	}
}

func TestCodesApart(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{})
	for range 5 {
		do(t, b, sh.Failed(WrongCode, "alice", home, ""))
	}
	st, err := sh.Show(context.Background(), b, "alice", home)
	if err != nil || !st.Login.Allowed || st.Code.Allowed || st.Counters.Codes.Failures != 5 || st.Counters.Source.Failures != 5 {
		t.Errorf("%+v, %v", st, err)
	}
	b.Sleep(6 * time.Minute)
	if st, _ := sh.Show(context.Background(), b, "alice", home); !st.Code.Allowed {
		t.Errorf("%+v", st)
	}
}

func TestExemptAndUnknownSource(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	for i := range 40 {
		do(t, b, sh.Failed(WrongPassword, fmt.Sprint("u", i), home, ""))
		do(t, b, sh.Failed(WrongPassword, fmt.Sprint("v", i), netip.Addr{}, ""))
	}
	if v := check(t, sh, b, "bob", home); !v.Allowed {
		t.Errorf("exempt source: %+v", v)
	}
	if v := check(t, sh, b, "bob", netip.Addr{}); !v.Allowed {
		t.Errorf("unknown source: %+v", v)
	}
	if v := sh.Check(noon, Counters{}); len(sh.Guard("bob", netip.Addr{}, v, false)) != 1 {
		t.Error("no guard for an unknown source")
	}
}

func TestDisabled(t *testing.T) {
	b := storetest.Embedded(t)
	sh := New(Config{Disabled: true})
	if sh.Failed(WrongPassword, "a", home, "") != nil || sh.Guard("a", home, Verdict{}, true) != nil ||
		sh.Clear(time.Now(), "a", home, Verdict{}, true) != nil {
		t.Error("counts")
	}
	if v := check(t, sh, b, "a", home); !v.Allowed {
		t.Errorf("%+v", v)
	}
}

// A hundred wrong codes at once: the right one among them loses once five are counted,
// and no more are looked at, longer each time.
func TestParallelCodes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		sh := New(Config{})
		v := check(t, sh, b, "alice", other)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { do(t, b, sh.Failed(WrongCode, "alice", other, fmt.Sprint(i))) })
		}
		wg.Wait()
		seqs := store.Join(sh.Guard("alice", other, v, true), sh.Clear(time.Now(), "alice", other, v, true))
		do(t, b, seqs)
		if seqs[0].OK() {
			t.Error("the right code among a hundred wins")
		}
		q, c := load(t, sh, b, "alice", other)
		if v := sh.CheckCode(q.Now(), c); v.Allowed || c.Codes.Failures != 100 || c.Codes.Strikes != 1 {
			t.Errorf("%+v, %+v", v, c.Codes)
		}
	})
}

// 100 guesses at once, loaded before the first is counted: the guard makes the
// right one lose once five wrong ones are in, and one strike is counted.
func TestParallelGuesses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		sh := New(Config{})
		v := check(t, sh, b, "alice", other)
		if !v.Allowed {
			t.Fatal(v)
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { do(t, b, sh.Failed(WrongPassword, "alice", other, fmt.Sprint(i))) })
		}
		wg.Wait()
		seqs := store.Join(sh.Guard("alice", other, v, false), sh.Clear(time.Now(), "alice", other, v, false))
		do(t, b, seqs)
		if seqs[0].OK() {
			t.Error("the right guess among a hundred wins")
		}
		if _, c := load(t, sh, b, "alice", other); c.User.Failures != 100 || c.User.Strikes != 1 || c.Good {
			t.Errorf("%+v", c)
		}
	})
}
