package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postern/authz/lockout"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// shown is what lockout show prints for programs.
type shown struct {
	User        string
	Source      netip.Addr
	Login, Code verdictJSON
	Good        bool
	Counters    []counterJSON
}

// fail counts failures as the service does.
func (s *site) fail(t *testing.T, f lockout.Failure, user, source string, times int) {
	t.Helper()
	s.open(t, func(cfg *config.Service, st store.Store) {
		shield := service.NewShield(cfg)
		for range times {
			if err := st.Do(t.Context(), store.Join(shield.Failed(f, user, netip.MustParseAddr(source), ""))...); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func (s *site) lockout(t *testing.T, args ...string) (v shown) {
	t.Helper()
	s.asked(t, &v, append([]string{"lockout", "show"}, args...)...)
	return v
}

func counts(v shown) (text string) {
	for _, c := range v.Counters {
		text += fmt.Sprintf("%s %d/%d ", c.What, c.Failures, c.Strikes)
	}
	return strings.TrimSpace(text)
}

func TestLockout(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	if v := s.lockout(t, "alice"); !v.Login.Allowed || !v.Code.Allowed || v.Login.Locked != "" || counts(v) != "user 0/0 codes 0/0" {
		t.Errorf("a clean sheet: %+v", v)
	}
	const guesser = "192.0.2.66"
	s.fail(t, lockout.WrongPassword, "alice", guesser, 3)
	s.fail(t, lockout.WrongCode, "alice", guesser, 5)

	v := s.lockout(t, "ALICE")
	if v.User != "alice" || v.Login.Allowed || v.Login.Locked != "user" || v.Login.Until.IsZero() || v.Code.Allowed || v.Code.Locked != "codes" {
		t.Errorf("%+v", v)
	}
	if got := counts(v); got != "user 3/1 codes 5/1" || v.Counters[0].Last.IsZero() || v.Counters[0].Struck.IsZero() {
		t.Errorf("%s in %+v", got, v)
	}
	if got := counts(s.lockout(t, "alice", "--source", guesser)); got != "user 3/1 pair 3/0 source 8/0 codes 5/1" {
		t.Errorf("from there: %s", got)
	}
	if got := counts(s.lockout(t, "alice", "--source", "::ffff:192.0.2.66")); got != "user 3/1 pair 3/0 source 8/0 codes 5/1" {
		t.Errorf("the same address, mapped: %s", got)
	}
	out := s.must(t, "", "lockout", "show", "alice", "--source", guesser)
	for _, want := range []string{"login  locked (user) until ", "codes  locked (codes) until ", "WHAT    FAILURES"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	_, errs, err := s.run("", "lockout", "clear", "alice")
	if err != nil || errs != "" {
		t.Fatal(errs, err)
	}
	if v := s.lockout(t, "alice", "--source", guesser); !v.Login.Allowed || !v.Code.Allowed || counts(v) != "user 0/0 pair 3/0 source 8/0 codes 0/0" {
		t.Errorf("after clear NAME: %+v", v)
	}
	if out := s.must(t, "", "lockout", "clear", "alice", "--source", guesser); out != "failures of alice and 192.0.2.66 forgotten\n" {
		t.Error(out)
	}
	if got := counts(s.lockout(t, "alice", "--source", guesser)); got != "user 0/0 pair 0/0 source 0/0 codes 0/0" {
		t.Errorf("after clear NAME --source: %s", got)
	}

	// A source that tries many names.
	for i := range 30 {
		s.fail(t, lockout.UnknownUser, fmt.Sprint("nobody", i), guesser, 1)
	}
	if v := s.lockout(t, "alice", "--source", guesser); v.Login.Allowed || v.Login.Locked != "source" {
		t.Errorf("%+v", v)
	}
	if v := s.lockout(t, "alice"); !v.Login.Allowed {
		t.Errorf("from elsewhere: %+v", v)
	}
	out = s.must(t, "", "-o", "json", "lockout", "clear", "--source", guesser)
	if !strings.Contains(out, `"source": "192.0.2.66"`) || !strings.Contains(out, `"done": "cleared"`) {
		t.Error(out)
	}
	if v := s.lockout(t, "alice", "--source", guesser); !v.Login.Allowed || counts(v) != "user 0/0 pair 0/0 source 0/0 codes 0/0" {
		t.Errorf("after clear --source: %+v", v)
	}
	// Of somebody who does not exist, too: the counters do not ask.
	s.fail(t, lockout.UnknownUser, "ghost", guesser, 3)
	if v := s.lockout(t, "Ghost"); v.Login.Allowed {
		t.Errorf("%+v", v)
	}
	s.must(t, "", "lockout", "clear", "GHOST")
	if v := s.lockout(t, "ghost"); !v.Login.Allowed {
		t.Errorf("%+v", v)
	}
}

// A user at the usual address gets in while guessers lock the name.
func TestLockoutOfAGoodPair(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	home := netip.MustParseAddr("198.51.100.7")
	s.open(t, func(cfg *config.Service, st store.Store) {
		shield := service.NewShield(cfg)
		if err := st.Do(t.Context(), store.Join(shield.Clear("alice", home, lockout.Verdict{Allowed: true}, false))...); err != nil {
			t.Fatal(err)
		}
	})
	s.fail(t, lockout.WrongPassword, "alice", "192.0.2.66", 3)
	if v := s.lockout(t, "alice", "--source", home.String()); !v.Login.Allowed || !v.Good || v.Login.Locked != "user" {
		t.Errorf("%+v", v)
	}
	if out := s.must(t, "", "lockout", "show", "alice", "--source", home.String()); !strings.Contains(out, "allowed from here; the user is locked until ") {
		t.Error(out)
	}
}

func TestLockoutMistakes(t *testing.T) {
	s := newSite(t)
	s.write(t, "users", "")
	for _, c := range []struct{ words, args string }{
		{"accepts 1 arg(s), received 0", "lockout show"},
		{"--source: ParseAddr", "lockout show alice --source nowhere"},
		{"--source: ParseAddr", "lockout clear --source 192.0.2.0/24"},
		{"give a user, or --source ADDRESS, or both", "lockout clear"},
		{"accepts at most 1 arg(s)", "lockout clear alice bob"},
	} {
		s.fails(t, "", c.words, strings.Fields(c.args)...)
	}
	s.write(t, "radiusd.yaml", strings.Replace(siteConfig, "lockout: {", "lockout: {disabled: true, ", 1))
	if v := s.lockout(t, "alice"); !v.Login.Allowed {
		t.Errorf("disabled: %+v", v)
	}
}

func TestLockoutOfRealms(t *testing.T) {
	s := withRealms(t)
	s.fail(t, lockout.WrongPassword, "alice@plant", "192.0.2.66", 3)
	for typed, allowed := range map[string]bool{"alice": true, `CORP\alice`: true, "alice@plant": false, `PLANT\Alice`: false} {
		if v := s.lockout(t, typed); v.Login.Allowed != allowed {
			t.Errorf("%s: %+v", typed, v)
		}
	}
	s.must(t, "", "lockout", "clear", `plant\alice`)
	if v := s.lockout(t, "alice@plant"); !v.Login.Allowed {
		t.Errorf("%+v", v)
	}
}

// What needs the store says what to do while the service has it; what does not, works.
func TestStoreInUse(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	s.open(t, func(*config.Service, store.Store) {
		s.fails(t, "", "another process has it: the embedded store is for one process, and the service is running.\n"+
			"Stop it for as long as this command takes (systemctl stop postern-radiusd)", "session", "list")
		for _, args := range []string{"user list", "policy check", "policy test", "-test", "keyring rotate", "version"} {
			s.must(t, "", strings.Fields(args)...)
		}
	})
}
