package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/authz/lockout"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// shown is what lockout show prints for programs.
type shown struct {
	User        string
	Source      netip.Addr
	Prefix      netip.Prefix
	Login, Code verdictJSON
	Good        bool
	Counters    []counterJSON
	Asked       *askedJSON
	Directory   *theirs
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
		text += fmt.Sprintf("%s %d/%d ", strings.Replace(c.What, "users of", "in", 1), c.Failures, c.Strikes)
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
	if got := counts(s.lockout(t, "alice", "--source", guesser)); got != "user 3/1 pair 3/0 source 8/0 in source 1/0 prefix 8/0 in prefix 1/0 codes 5/1" {
		t.Errorf("from there: %s", got)
	}
	if got := counts(s.lockout(t, "alice", "--source", "::ffff:192.0.2.66")); got != "user 3/1 pair 3/0 source 8/0 in source 1/0 prefix 8/0 in prefix 1/0 codes 5/1" {
		t.Errorf("the same address, mapped: %s", got)
	}
	out := s.must(t, "", "lockout", "show", "alice", "--source", guesser)
	for _, want := range []string{"login  locked (user) until ", "codes  locked (codes) until ", "WHAT             FAILURES"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	_, errs, err := s.run("", "lockout", "clear", "alice")
	if err != nil || errs != "" {
		t.Fatal(errs, err)
	}
	if v := s.lockout(t, "alice", "--source", guesser); !v.Login.Allowed || !v.Code.Allowed || counts(v) != "user 0/0 pair 3/0 source 8/0 in source 1/0 prefix 8/0 in prefix 1/0 codes 0/0" {
		t.Errorf("after clear NAME: %+v", v)
	}
	if out := s.must(t, "", "lockout", "clear", "alice", "--source", guesser); out != "failures of alice and 192.0.2.66 forgotten\n" {
		t.Error(out)
	}
	if got := counts(s.lockout(t, "alice", "--source", guesser)); got != "user 0/0 pair 0/0 source 0/0 in source 0/0 prefix 8/0 in prefix 1/0 codes 0/0" {
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
	if v := s.lockout(t, "alice", "--source", guesser); !v.Login.Allowed || counts(v) != "user 0/0 pair 0/0 source 0/0 in source 0/0 prefix 38/0 in prefix 31/0 codes 0/0" {
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

// What is locked now is in a list, and each event is told once.
func TestLockoutListAndWatch(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	if out := s.must(t, "", "lockout", "show"); out != "nothing is locked\n" {
		t.Error(out)
	}
	guesser := netip.MustParseAddr("192.0.2.66")
	at := time.Now().UTC().Truncate(time.Second)
	var watched safeBuffer
	s.open(t, func(cfg *config.Service, st store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &cli{output: "json", out: &watched, errs: &watched}
		done, ready := make(chan error), make(chan struct{})
		go func() { done <- c.watchLockouts(ctx, watchReady{st, ready}, &watched) }()
		<-ready
		shield := service.NewShield(cfg)
		for i := range 6 {
			failing := shield.Failed(lockout.WrongPassword, "alice", guesser, fmt.Sprint(i))
			if err := st.Do(t.Context(), store.Join(failing)...); err != nil {
				t.Fatal(err)
			}
			for _, e := range failing.Begun() {
				e.User, e.Source, e.Decision = "alice", guesser, "D1"
				if _, err := lockout.Tell(t.Context(), st, e); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := lockout.Tell(t.Context(), st, lockout.Event{At: at, Kind: lockout.KindReplay, Subject: "bob", User: "bob", Source: guesser}); err != nil {
			t.Fatal(err)
		}
		for strings.Count(watched.String(), "\n") < 3 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	lines := strings.Split(strings.TrimSpace(watched.String()), "\n")
	var got []string
	for _, l := range lines {
		var e lockout.Event
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		got = append(got, fmt.Sprint(e.Kind, " ", e.Scope, " ", e.Subject, " ", e.Failures))
	}
	if want := "[lockout user alice 3 lockout pair 192.0.2.66/32 alice 5 code replayed none bob 0]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}

	var list struct {
		Locks []lockJSON
		All   int
	}
	s.asked(t, &list, "lockout", "show")
	if list.All != 2 || len(list.Locks) != 2 || list.Locks[0].Scope != "user" || list.Locks[0].Subject != "alice" || list.Locks[0].Until.IsZero() {
		t.Errorf("%+v", list)
	}
	if out := s.must(t, "", "lockout", "show"); !strings.Contains(out, "WHAT  WHO OR WHERE") || !strings.Contains(out, "pair  192.0.2.66/32 alice") {
		t.Error(out)
	}
	if _, errs, _ := s.run("", "lockout", "show", "--limit", "1"); !strings.Contains(errs, "1 of 2 are listed") {
		t.Error(errs)
	}
	if got := counts(s.lockout(t, guesser.String())); got != "source 6/0 in source 1/0" {
		t.Error(got)
	}
	if got := counts(s.lockout(t, "192.0.2.9/24")); got != "prefix 6/0 in prefix 1/0" {
		t.Error(got)
	}
	if out := s.must(t, "", "lockout", "clear", "alice", "--source", guesser.String(), "--pair"); out != "failures of alice at 192.0.2.66 forgotten\n" {
		t.Error(out)
	}
	if got := counts(s.lockout(t, "alice", "--source", guesser.String())); !strings.HasPrefix(got, "user 6/1 pair 0/0 source 6/0") {
		t.Errorf("after clear --pair: %s", got)
	}
	s.asked(t, &list, "lockout", "show")
	if list.All != 1 || list.Locks[0].Scope != "user" {
		t.Errorf("%+v", list)
	}
	s.must(t, "", "lockout", "clear", "--prefix", "192.0.2.0/24")
	if got := counts(s.lockout(t, "192.0.2.0/24")); got != "prefix 0/0 in prefix 0/0" {
		t.Error(got)
	}
	s.must(t, "", "lockout", "clear", "alice")
	if out := s.must(t, "", "lockout", "show"); out != "nothing is locked\n" {
		t.Error(out)
	}
}

// safeBuffer may be written and read at once.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// watchReady says when somebody watches.
type watchReady struct {
	store.Store
	ready chan struct{}
}

func (w watchReady) Watch(ctx context.Context, topic string) (<-chan string, error) {
	ch, err := w.Store.Watch(ctx, topic)
	close(w.ready)
	return ch, err
}

func TestEventLine(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	for want, e := range map[string]lockout.Event{
		"12:00:00  lockout: user alice, 5 failures, until 12:15:00; alice at 192.0.2.66 (D1)": {
			At: at, Kind: lockout.KindLockout, Scope: lockout.ScopeUser, Subject: "alice", Failures: 5, Until: at.Add(15 * time.Minute),
			User: "alice", Source: netip.MustParseAddr("192.0.2.66"), Decision: "D1",
		},
		"12:00:00  spraying: spray anywhere, 100 users": {At: at, Kind: lockout.KindSpraying, Scope: lockout.ScopeSpray, Subject: lockout.Anywhere, Failures: 100},
		"12:00:00  code replayed: bob":                  {At: at, Kind: lockout.KindReplay, Subject: "bob"},
	} {
		if got := eventLine(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A user at the usual address gets in while guessers lock the name.
func TestLockoutOfAGoodPair(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	home := netip.MustParseAddr("198.51.100.7")
	s.open(t, func(cfg *config.Service, st store.Store) {
		shield := service.NewShield(cfg)
		if err := st.Do(t.Context(), store.Join(shield.Clear(time.Now(), "alice", home, lockout.Verdict{Allowed: true}, false))...); err != nil {
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
		{"--source and --ad are about a user: give one", "lockout show --ad"},
		{"--source and --ad are about a user, and that is none", "lockout show 192.0.2.1 --ad"},
		{"--source and --ad are about a user, and that is none", "lockout show 192.0.2.0/24 --source 192.0.2.1"},
		{"the user's directory does not lock accounts by itself", "lockout show alice --ad"},
		{"accepts at most 1 arg(s)", "lockout show alice bob"},
		{"--source: ParseAddr", "lockout show alice --source nowhere"},
		{"--source: ParseAddr", "lockout clear --source 192.0.2.0/24"},
		{"--prefix: netip.ParsePrefix", "lockout clear --prefix 192.0.2.0"},
		{"give a user, an address or a network", "lockout clear"},
		{"--pair takes a user and --source", "lockout clear alice --pair"},
		{"--pair takes a user and --source", "lockout clear 192.0.2.1 --pair"},
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
		for _, args := range []string{"user list", "policy test", "-test", "keyring rotate", "version"} {
			s.must(t, "", strings.Fields(args)...)
		}
	})
}
