package ad

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const psoDN = "CN=pso-admins,CN=Password Settings Container,CN=System,DC=lab,DC=example"

// interval is one as AD keeps it.
func interval(d time.Duration) string { return strconv.FormatInt(-int64(d/100), 10) }

// withPolicy gives a domain controller a policy, and a fine one that is bob's.
func withPolicy(f *fakeDC, threshold int, window time.Duration) {
	f.entries["DC=lab,DC=example"] = map[string][]string{
		"lockoutThreshold": {strconv.Itoa(threshold)}, "lockOutObservationWindow": {interval(window)},
	}
	f.entries[psoDN] = map[string][]string{
		"objectClass": {"msDS-PasswordSettings"}, "msDS-LockoutThreshold": {"4"}, "msDS-LockoutObservationWindow": {interval(time.Hour)},
	}
	f.entries["CN=bob,"+vpnDN]["msDS-ResultantPSO"] = []string{strings.ToUpper(psoDN)}
}

func lockoutOf(t *testing.T, d *Directory, name string) directory.Lockout {
	t.Helper()
	n := directory.Name{User: name}
	var a *directory.Account
	if name != "ghost" {
		var err error
		if a, err = d.Find(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	l, err := d.Lockout(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLockout(t *testing.T) {
	now := noon
	f := newFake(t, func() time.Time { return now.Add(3 * time.Minute) }) // its clock is ahead
	withPolicy(f, 5, 10*time.Minute)
	d := newFakes(t, nil, func() time.Time { return now }, f)
	alice := "CN=Alice," + vpnDN
	failed := func(n int, ago time.Duration) {
		f.set(alice, "badPwdCount", strconv.Itoa(n))
		f.set(alice, "badPasswordTime", strconv.FormatInt(int64(toFileTime(now.Add(3*time.Minute-ago))), 10))
	}
	const window = 10 * time.Minute
	for _, c := range []struct {
		name string
		set  func()
		want directory.Lockout
	}{
		{"alice", func() {}, directory.Lockout{Threshold: 5, Window: window}},
		{"alice", func() { failed(2, time.Minute) }, directory.Lockout{Threshold: 5, Window: window, Failures: 2, Ago: time.Minute - clockSlack}},
		{"alice", func() { failed(2, 0) }, directory.Lockout{Threshold: 5, Window: window, Failures: 2}},
		{"alice", func() { failed(2, window) }, directory.Lockout{Threshold: 5, Window: window, Failures: 2, Ago: window - clockSlack}},
		{"alice", func() { failed(2, window+clockSlack) }, directory.Lockout{Threshold: 5, Window: window}},
		{"alice", func() { f.set(alice, "badPwdCount", "0") }, directory.Lockout{Threshold: 5, Window: window}},
		{"bob", func() {}, directory.Lockout{Threshold: 4, Window: time.Hour}},
		{"ghost", func() {}, directory.Lockout{}},
	} {
		c.set()
		if got := lockoutOf(t, d, c.name); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	// An account that is locked is the directory's to refuse.
	failed(5, time.Second)
	if got, err := d.Lockout(t.Context(), user("alice"), &directory.Account{Ref: alice, State: directory.Locked}); err != nil || got != (directory.Lockout{}) {
		t.Errorf("locked: %+v, %v", got, err)
	}
	if got, err := d.Lockout(t.Context(), user("alice"), &directory.Account{Ref: "CN=gone," + vpnDN}); err != nil || got != (directory.Lockout{}) {
		t.Errorf("gone: %+v, %v", got, err)
	}
}

// One small question each time, and the policies now and then. Who is nobody costs as
// much.
func TestLockoutCost(t *testing.T) {
	now := noon
	f := newFake(t, func() time.Time { return now })
	withPolicy(f, 5, 10*time.Minute)
	d := newFakes(t, func(c *Config) { c.Cache = time.Hour }, func() time.Time { return now }, f)
	cost := func(name string) int {
		before := f.searches
		lockoutOf(t, d, name)
		return f.searches - before
	}
	cost("alice")
	for _, name := range []string{"alice", "ghost", "alice"} {
		if n := cost(name); n != 1 {
			t.Errorf("%s: %d searches", name, n)
		}
	}
	withPolicy(f, 3, 10*time.Minute)
	now = now.Add(policyLife - 1)
	if l := lockoutOf(t, d, "alice"); l.Threshold != 5 {
		t.Errorf("read too often: %+v", l)
	}
	now = now.Add(1)
	if n := cost("alice"); n != 3 || lockoutOf(t, d, "alice").Threshold != 3 {
		t.Errorf("a new policy: %d searches, %+v", n, lockoutOf(t, d, "alice"))
	}
}

// What may not be read is assumed to be strict, and said once.
func TestLockoutHidden(t *testing.T) {
	var log bytes.Buffer
	for _, c := range []struct {
		about     string
		threshold string // of the domain
		pso       string // bob's
		alice     int
		bob       int
		bobWindow time.Duration
		says      string
	}{
		{"all to be read", "5", "4", 5, 4, time.Hour, ""},
		{"a hidden fine policy", "5", "", 5, 3, 30 * time.Minute, "a password settings object cannot be read"},
		{"under a stricter domain", "2", "", 2, 2, 30 * time.Minute, "a password settings object cannot be read"},
		{"in a domain that locks nobody", "0", "", 0, 3, 30 * time.Minute, "a password settings object cannot be read"},
		{"a hidden domain", "", "4", 3, 4, time.Hour, "the domain's lockout policy cannot be read"},
		{"one strike", "1", "4", 1, 4, time.Hour, "nothing can protect them"},
		{"a window that never ends", "5", "4", 5, 4, time.Hour, ""},
	} {
		log.Reset()
		f := newFake(t, func() time.Time { return noon })
		withPolicy(f, 5, 10*time.Minute)
		f.entries["DC=lab,DC=example"]["lockoutThreshold"] = []string{c.threshold}
		if c.pso == "" {
			delete(f.entries, psoDN)
		}
		d := newFakes(t, func(cfg *Config) { cfg.Log = slog.New(slog.NewTextHandler(&log, nil)) }, func() time.Time { return noon }, f)
		for range 3 {
			if got := lockoutOf(t, d, "alice"); got.Threshold != c.alice {
				t.Errorf("%s: alice %+v", c.about, got)
			}
			if got := lockoutOf(t, d, "bob"); got.Threshold != c.bob || got.Window != c.bobWindow {
				t.Errorf("%s: bob %+v", c.about, got)
			}
		}
		if n := strings.Count(log.String(), "level=WARN"); (n == 1) != (c.says != "") || n > 1 || !strings.Contains(log.String(), c.says) {
			t.Errorf("%s: said %q", c.about, log.String())
		}
	}
	if p, ok := readPolicy(entry(t, map[string][]string{"t": {"5"}, "w": {"0"}}), "t", "w"); !ok || p.window != hiddenWindow {
		t.Errorf("no window: %+v", p)
	}
}

func TestLockoutAway(t *testing.T) {
	f := newFake(t, func() time.Time { return noon })
	withPolicy(f, 5, 10*time.Minute)
	second := newFake(t, func() time.Time { return noon })
	withPolicy(second, 7, 10*time.Minute)
	d := newFakes(t, nil, func() time.Time { return noon }, f, second)
	a, err := d.Find(t.Context(), user("alice"))
	if err != nil {
		t.Fatal(err)
	}
	f.down = true
	if l, err := d.Lockout(t.Context(), user("alice"), a); err != nil || l.Threshold != 7 {
		t.Errorf("the second: %+v, %v", l, err)
	}
	second.down = true
	_, err = d.Lockout(t.Context(), user("alice"), a)
	if _, no := directory.IsRejected(err); err == nil || no {
		t.Errorf("nobody answers: %v", err)
	}
}
