package authz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

func (w *world) Event(e *lockout.Event) { NewAudit(w.audit).Event(e) }

func (silentAudit) Event(*lockout.Event) {}

// locking is a directory that locks accounts, as Active Directory does.
type locking struct {
	directory.Directory
	threshold int
	window    time.Duration
	now       func() time.Time
	verifies  func() error // instead of an answer; nil: none
	hears     error

	mu     sync.Mutex
	failed map[string]int
	last   map[string]time.Time
	locked map[string]bool
	most   int
	heard  int
	asked  int
}

func (l *locking) Lockout(_ context.Context, _ directory.Name, a *directory.Account) (directory.Lockout, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard++
	if l.hears != nil {
		return directory.Lockout{}, l.hears
	}
	if a == nil {
		return directory.Lockout{}, nil
	}
	return directory.Lockout{Threshold: l.threshold, Window: l.window, Failures: l.failed[a.Name], Ago: l.now().Sub(l.last[a.Name])}, nil
}

func (l *locking) VerifyMSCHAPv2(ctx context.Context, n directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	if l.verifies != nil {
		if err := l.verifies(); err != nil {
			return directory.Proof{}, err
		}
	}
	p, err := l.Directory.VerifyMSCHAPv2(ctx, n, a, r)
	return p, l.counts(a, err)
}

func (l *locking) VerifyPassword(ctx context.Context, n directory.Name, a *directory.Account, password []byte) (directory.Proof, error) {
	p, err := l.Directory.VerifyPassword(ctx, n, a, password)
	return p, l.counts(a, err)
}

func (l *locking) counts(a *directory.Account, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a == nil {
		return err
	}
	if r, no := directory.IsRejected(err); no && r.Reason == directory.WrongPassword {
		now := l.now()
		if now.Sub(l.last[a.Name]) >= l.window {
			l.failed[a.Name] = 0
		}
		l.failed[a.Name]++
		l.last[a.Name] = now
		l.most = max(l.most, l.failed[a.Name])
		l.locked[a.Name] = l.locked[a.Name] || l.threshold > 0 && l.failed[a.Name] >= l.threshold
	} else if err == nil && !l.locked[a.Name] {
		l.failed[a.Name] = 0
	}
	if l.locked[a.Name] {
		return directory.Rejected{Reason: directory.AccountState, State: directory.Locked}
	}
	return err
}

// lockingWorld is a world whose directory locks; its shield has no limits of its own
// but those given.
func lockingWorld(t testing.TB, b storetest.Backend, c lockout.Config, threshold int) (*world, *locking) {
	t.Helper()
	w := newWorldOn(t, b)
	dir := &locking{
		Directory: w.dir, threshold: threshold, window: 10 * time.Minute, now: func() time.Time { return w.now },
		failed: map[string]int{}, last: map[string]time.Time{}, locked: map[string]bool{},
	}
	none := lockout.Limit{Failures: -1}
	for _, l := range []*lockout.Limit{&c.User, &c.Pair, &c.Source, &c.Prefix, &c.Spray, &c.PrefixSpray, &c.Crowd} {
		if *l == (lockout.Limit{}) {
			*l = none
		}
	}
	w.cfg.Directory, w.cfg.Shield, w.cfg.Metrics = dir, lockout.New(c), prometheus.NewRegistry()
	d, err := New(w.cfg)
	must(t, err)
	w.Decider = d
	return w, dir
}

// from is a request of carol's, who needs no code.
func (w *world) from(source, pass string) *Request {
	r := w.request("carol", pass)
	r.Source = netip.MustParseAddr(source)
	return r
}

// places is how many places of a user's are taken.
func (w *world) places(t testing.TB, user string) int {
	t.Helper()
	m := &store.Members{Key: store.UserPlaces(user)}
	must(t, w.Backend.Do(t.Context(), store.Seq{m}))
	return m.N
}

func TestStopsShortOfTheDirectory(t *testing.T) {
	w, dir := lockingWorld(t, storetest.Embedded(t), lockout.Config{}, 5)
	w.login(t, Permitted, w.from("198.51.100.7", password("carol")))
	for range 3 {
		w.login(t, WrongPassword, w.from("192.0.2.66", "guess"))
	}
	for range 3 {
		w.login(t, LockedOut, w.from("192.0.2.66", "guess"))
		w.login(t, LockedOut, w.from("192.0.2.67", password("carol")))
	}
	if r := w.last(); r.Locked != lockout.ScopeDirectory || r.Err != nil {
		t.Errorf("%+v", r)
	}
	if dir.asked != 4 || dir.heard > 6 {
		t.Errorf("asked %d times, heard %d", dir.asked, dir.heard)
	}
	w.login(t, WrongPassword, w.from("198.51.100.7", "typo"))
	w.login(t, LockedOut, w.from("198.51.100.7", "typo"))
	if dir.most != 4 || dir.locked["carol"] {
		t.Errorf("counted to %d", dir.most)
	}
	if n := w.places(t, "carol"); n != 0 {
		t.Errorf("%d places are left", n)
	}
	w.sleep(dir.window)
	w.login(t, Permitted, w.from("192.0.2.67", password("carol")))
	// A portal's form is a login like any other.
	for range 5 {
		w.SignIn(context.Background(), SignIn{Name: "bob", Password: []byte("guess"), From: netip.MustParseAddr("192.0.2.66")})
	}
	if dir.failed["bob"] != 3 || w.last().Reason != LockedOut {
		t.Errorf("by the portal: %d, %v", dir.failed["bob"], w.last().Reason)
	}
	if !strings.Contains(w.audit.String(), `"event":"lockout","scope":"directory","subject":"carol"`) {
		t.Error("nobody was told")
	}
}

// A hundred wrong passwords at once on two services, and carol comes home.
func TestParallelLoginsNeverLock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		for _, threshold := range []int{3, 5} {
			w, dir := lockingWorld(t, b, lockout.Config{}, threshold)
			dir.now = time.Now
			w.cfg.Audit = silentAudit{}
			var services []*Decider
			for range 2 {
				w.cfg.Shield, w.cfg.Metrics = lockout.New(lockout.Config{User: lockout.Limit{Failures: -1}}), nil
				d, err := New(w.cfg)
				must(t, err)
				services = append(services, d)
			}
			if res := services[0].Decide(t.Context(), w.from("198.51.100.7", password("carol"))); res.Reason != Permitted {
				t.Fatal(res.Reason)
			}
			var reqs []*Request
			for i := range 100 {
				reqs = append(reqs, w.from(netip.AddrFrom4([4]byte{100, byte(i), 0, 1}).String(), "guess"))
				if i%25 == 24 {
					reqs = append(reqs, w.from("198.51.100.7", password("carol")))
				}
			}
			var mu sync.Mutex
			got := map[string]int{}
			var wg sync.WaitGroup
			for i, r := range reqs {
				wg.Go(func() {
					res := services[i%2].Decide(context.Background(), r)
					mu.Lock()
					defer mu.Unlock()
					if r.Source == home {
						got["home: "+res.Reason.String()]++
					} else {
						got[res.Reason.String()]++
					}
				})
			}
			wg.Wait()
			if dir.most >= threshold || dir.locked["carol"] {
				t.Errorf("counted to %d of %d: %v", dir.most, threshold, got)
			}
			// The policy gives her two sessions; what matters is that she was asked for.
			if got["home: permitted"]+got["home: too many sessions"] != 4 {
				t.Errorf("%v", got)
			}
			if n := w.places(t, "carol"); n != 0 {
				t.Errorf("%d places are left", n)
			}
			t.Logf("threshold %d: counted to %d, %v", threshold, dir.most, got)
		}
	})
}

// An ordinary login has two trips, also below somebody else's lockout. One that is
// refused for that has one, and leaves nothing.
func TestTripsBelowALockout(t *testing.T) {
	w, dir := lockingWorld(t, storetest.Embedded(t), lockout.Config{}, 5)
	trips := func(want Reason, r *Request) int {
		t.Helper()
		before := w.broken.trips
		w.login(t, want, r)
		return w.broken.trips - before
	}
	if n := trips(Permitted, w.from("198.51.100.7", password("carol"))); n != 3 {
		t.Errorf("the first of all: %d trips", n) // nothing is known of the domain
	}
	for about, c := range map[string]struct {
		want Reason
		r    *Request
	}{
		"permitted":         {Permitted, w.from("198.51.100.7", password("carol"))},
		"somebody else":     {Permitted, w.request("plc1", password("plc1"))},
		"wrong":             {WrongPassword, w.from("192.0.2.66", "guess")},
		"nobody":            {NoSuchUser, w.request("ghost", "guess")},
		"refused by policy": {PolicyDenied, w.request("mallory", password("mallory"))},
	} {
		if n := trips(c.want, c.r); n != 2 {
			t.Errorf("%s: %d trips", about, n)
		}
	}
	for range 4 {
		w.decide(w.from("192.0.2.66", "guess"))
	}
	if n := trips(LockedOut, w.from("192.0.2.66", "guess")); n != 1 {
		t.Errorf("refused: %d trips", n)
	}
	heard := dir.heard
	if n := trips(LockedOut, w.from("192.0.2.68", password("carol"))); n != 1 || dir.heard != heard {
		t.Errorf("refused: %d trips, and the directory was asked", n)
	}
	for _, user := range []string{"carol", "plc1", "ghost", "mallory"} {
		if n := w.places(t, user); n != 0 {
			t.Errorf("%s: %d places are left", user, n)
		}
	}
}

// Whatever becomes of a login, its place goes; only where the directory may yet count
// it lapses.
func TestPlacesAreGivenBack(t *testing.T) {
	silent := directory.Unavailable{Doing: "dial", Err: errors.New("test")}
	for _, c := range []struct {
		about string
		set   func(w *world, dir *locking)
		r     func(w *world) *Request
		want  Reason
		left  int
	}{
		{"not found in time", func(w *world, _ *locking) { w.dir.findErr = silent }, nil, DirectoryDown, 0},
		{"not heard", func(_ *world, dir *locking) { dir.hears = silent }, nil, DirectoryDown, 0},
		{"asked in vain", func(_ *world, dir *locking) { dir.verifies = func() error { return silent } }, nil, DirectoryDown, 1},
		{"disabled", func(w *world, _ *locking) { w.dir.state["carol"] = directory.Disabled }, nil, AccountDisabled, 0},
		{"said instead of verifying", func(_ *world, dir *locking) {
			dir.verifies = func() error { return directory.Rejected{Reason: directory.AccountState, State: directory.Expired} }
		}, nil, AccountExpired, 0},
		{"another name", func(w *world, _ *locking) { w.dir.rename["carol"] = "carol.c" }, nil, Permitted, 0},
		{"a code that is wrong", func(*world, *locking) {}, func(w *world) *Request { return w.request("alice+000000", password("alice")) }, CodeWrong, 0},
		{"a policy that denies", func(*world, *locking) {}, func(w *world) *Request { return w.request("mallory", password("mallory")) }, PolicyDenied, 0},
	} {
		t.Run(c.about, func(t *testing.T) {
			w, dir := lockingWorld(t, storetest.Embedded(t), lockout.Config{}, 5)
			for _, user := range []string{"carol", "alice", "mallory"} { // so that the limit is known
				w.decide(w.request(user, password(user)))
			}
			c.set(w, dir)
			r := w.from("198.51.100.7", password("carol"))
			if c.r != nil {
				r = c.r(w)
			}
			w.login(t, c.want, r)
			n := 0
			for _, user := range []string{"carol", "carol.c", "alice", "mallory"} {
				n += w.places(t, user)
			}
			if n != c.left {
				t.Errorf("%d places are left", n)
			}
		})
	}
	w, _ := lockingWorld(t, storetest.Embedded(t), lockout.Config{}, 5)
	w.decide(w.from("198.51.100.7", password("carol")))
	w.broken.after = 1
	w.login(t, StoreDown, w.from("198.51.100.7", password("carol")))
	w.broken.after = -1
	w.sleep(time.Minute)
	if n := w.places(t, "carol"); n != 0 {
		t.Errorf("%d places never lapse", n)
	}
}

// events are the audit's.
func (w *world) events(t testing.TB) (all []string) {
	t.Helper()
	for line := range strings.Lines(w.audit.String()) {
		var e struct {
			Msg, At, Event, Scope, Subject, User, Source, Decision, Until string
			Failures                                                      int
		}
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Msg != "event" {
			continue
		}
		if e.At == "" || e.User == "" || e.Source == "" || e.Decision == "" || (e.Until == "") != (e.Event == "code replayed") {
			t.Errorf("%s", line)
		}
		all = append(all, fmt.Sprintf("%s, %s %s, %d", e.Event, e.Scope, e.Subject, e.Failures))
	}
	return all
}

// What the shield comes upon is told once, and not for each attempt.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		about string
		cfg   lockout.Config
		run   func(w *world)
		want  []string
	}{
		{"a user", lockout.Config{User: lockout.Limit{Failures: 3}}, func(w *world) {
			for range 20 {
				w.decide(w.from("192.0.2.66", "guess"))
			}
		}, []string{"lockout, user carol, 3"}},
		{"a network", lockout.Config{Prefix: lockout.Limit{Failures: 3}}, func(w *world) {
			for i := range 20 {
				r := w.from(fmt.Sprint("203.0.113.", i), "guess")
				r.User = fmt.Sprint("u", i)
				w.decide(r)
			}
		}, []string{"lockout, prefix 203.0.113.0/24, 3"}},
		{"spraying", lockout.Config{Spray: lockout.Limit{Failures: 4}, Crowd: lockout.Limit{Failures: 3}}, func(w *world) {
			for i := range 20 {
				r := w.from("192.0.2.66", "guess")
				r.User = fmt.Sprint("u", i)
				w.decide(r)
			}
		}, []string{"spraying, spray anywhere, 3", "spraying, spray 192.0.2.66/32, 4"}},
		{"guessed codes", lockout.Config{Codes: lockout.Limit{Failures: 3}}, func(w *world) {
			for i := range 20 {
				w.decide(w.request(fmt.Sprintf("alice+%06d", i), password("alice")))
			}
		}, []string{"code guessing, codes alice, 3"}},
		{"a replayed code", lockout.Config{}, func(w *world) {
			code := w.code(t, "alice", 0)
			for range 20 {
				w.decide(w.request("alice+"+code, password("alice")))
			}
		}, []string{"code replayed, none alice, 0"}},
		{"one password", lockout.Config{Password: lockout.Limit{Failures: 3}}, func(w *world) {
			for _, user := range []string{"alice", "alice", "bob", "nobody", "carol", "ghost"} {
				w.decide(w.pap(user, "Winter2026!"))
			}
		}, []string{"spraying, spray one password, 3"}},
		{"nothing", lockout.Config{}, func(w *world) {
			for range 3 {
				w.decide(w.from("192.0.2.66", "guess"))
			}
		}, nil},
	} {
		t.Run(c.about, func(t *testing.T) {
			w, _ := lockingWorld(t, storetest.Embedded(t), c.cfg, 0)
			c.run(w)
			if got := w.events(t); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			n := 0
			families, err := w.cfg.Metrics.(*prometheus.Registry).Gather()
			must(t, err)
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if f.GetName() == "postern_lockout_events_total" {
						n += int(m.GetCounter().GetValue())
					}
				}
			}
			if n != len(c.want) {
				t.Errorf("%d events counted", n)
			}
			if bytes.Contains(w.audit.Bytes(), []byte("Winter2026!")) {
				t.Error("a password in the audit log")
			}
		})
	}
}

// Who is refused without a question waits as long as a wrong password takes: nobody can
// tell the two by the clock.
func TestRefusalTakesAsLong(t *testing.T) {
	w, dir := lockingWorld(t, storetest.Embedded(t), lockout.Config{User: lockout.Limit{Failures: 3, Lock: time.Hour, MaxLock: time.Hour}}, 0)
	var passed time.Duration
	w.cfg.Clock = func() time.Time { return w.now.Add(passed) }
	random := rand.New(rand.NewPCG(3, 4))
	dir.verifies = func() error {
		passed += 12*time.Millisecond + time.Duration(random.ExpFloat64()*float64(8*time.Millisecond))
		return nil
	}
	w.broken.hook = func() { passed += time.Millisecond + time.Duration(random.ExpFloat64()*float64(time.Millisecond)/2) }
	w.cfg.Audit, w.cfg.Metrics = silentAudit{}, nil
	d, err := New(w.cfg)
	must(t, err)
	w.Decider = d
	answer := func(want Reason, r *Request) time.Duration {
		began := passed
		res := w.Decide(t.Context(), r)
		if res.Reason != want {
			t.Fatalf("%s: %v, want %v", r.User, res.Reason, want)
		}
		if want != LockedOut && res.Delay != 0 {
			t.Fatalf("a wrong password is held for %v", res.Delay)
		}
		return passed - began + res.Delay
	}
	for range 3 {
		answer(WrongPassword, w.from("192.0.2.66", "guess"))
	}
	const n = 800
	var wrong, refused []time.Duration
	for i := range n {
		wrong = append(wrong, answer(NoSuchUser, w.request(fmt.Sprint("nobody", i), "guess")))
		refused = append(refused, answer(LockedOut, w.from("192.0.2.66", "guess")))
	}
	slices.Sort(wrong)
	slices.Sort(refused)
	for _, q := range []int{50, 90} {
		a, b := wrong[n*q/100], refused[n*q/100]
		t.Logf("%d%%: wrong passwords %v, refused %v", q, a, b)
		if diff := (a - b).Abs(); float64(diff) > 0.12*float64(a) {
			t.Errorf("%d%%: %v apart", q, diff)
		}
	}
}
