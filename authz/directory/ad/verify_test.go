package ad

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
	"postern/internal/mschap"
)

func user(name string) directory.Name { return directory.Name{User: name} }

func kinds(d *Directory) []AlarmKind {
	var all []AlarmKind
	for _, a := range d.Alarms() {
		all = append(all, a.Kind)
	}
	return all
}

func TestLogin(t *testing.T) {
	f := newFake(t, time.Now)
	d := newFakes(t, nil, time.Now, f)
	for _, n := range []directory.Name{user("alice"), user("ALICE"), {User: "alice", Realm: "LAB", Down: true}, {User: "alice", Realm: "lab.example"}} {
		a, p, err := login(t.Context(), d, n, "Alice-Pass1")
		if err != nil {
			t.Errorf("%+v: %v", n, err)
			continue
		}
		hash := mschap.NTHash("Alice-Pass1")
		if a.Name != "alice" || a.SID != domainSID+"-1104" || a.State != directory.Active || p.HashHash != mschap.HashHash(&hash) {
			t.Errorf("%+v: %+v, %+v", n, a, p)
		}
		if !slices.Equal(a.Groups, []string{"Domain Users", "vpn-users", domainSID + "-513", domainSID + "-1200"}) {
			t.Errorf("groups %q", a.Groups)
		}
		// What the account has already is not told again.
		if !slices.Equal(p.Groups, []string{domainSID + "-9999"}) {
			t.Errorf("the logon's groups %q", p.Groups)
		}
	}
	for name, want := range map[string]directory.Reason{"alice": directory.WrongPassword, "nobody": directory.NoSuchUser} {
		_, _, err := login(t.Context(), d, user(name), "wrong")
		if r, no := directory.IsRejected(err); !no || r.Reason != want || r.Detail == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.bad["alice"] != 1 || len(f.bad) != 1 {
		t.Errorf("counted: %v", f.bad)
	}
}

// NETLOGON's word goes first, and is told as what it is.
func TestStates(t *testing.T) {
	f := newFake(t, time.Now)
	d := newFakes(t, func(c *Config) { c.Cache = time.Hour }, time.Now, f)
	f.status["alice"] = netlogon.StatusAccountLockedOut
	a, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1")
	if r, no := directory.IsRejected(err); !no || r.State != directory.Locked || a.State != directory.Active {
		t.Errorf("%+v, %v", a, err)
	}
	// A state that was found is not believed for as long as an account is.
	delete(f.status, "alice")
	f.set("CN=Alice,"+vpnDN, "userAccountControl", "514")
	d.Forget("alice")
	if a, err := d.Find(t.Context(), user("alice")); err != nil || a.State != directory.Disabled {
		t.Errorf("%+v, %v", a, err)
	}
	f.set("CN=Alice,"+vpnDN, "userAccountControl", "512")
	if a, err := d.Find(t.Context(), user("alice")); err != nil || a.State != directory.Active {
		t.Errorf("still %+v, %v", a, err)
	}
	before := f.searches
	for range 10 {
		if _, err := d.Find(t.Context(), user("alice")); err != nil {
			t.Fatal(err)
		}
	}
	if f.searches != before {
		t.Errorf("%d questions about a cached account", f.searches-before)
	}
	// Another account has got the name.
	f.add(t, "Alice", "7777", nil)
	if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err == nil {
		t.Error("one account found, another verified")
	}
	if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err != nil {
		t.Error(err)
	}
}

func TestPassword(t *testing.T) {
	f := newFake(t, time.Now)
	d := newFakes(t, nil, time.Now, f)
	a, err := d.Find(t.Context(), user("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.VerifyPassword(t.Context(), user("alice"), a, []byte("Alice-Pass1")); err != nil {
		t.Error(err)
	}
	asked := f.binds
	for _, password := range []string{"", "\xff", "a\x00b"} {
		if _, err := d.VerifyPassword(t.Context(), user("alice"), a, []byte(password)); err == nil {
			t.Errorf("%q is a password", password)
		}
	}
	if f.binds != asked {
		t.Error("the directory was asked about what is no password")
	}
	_, err = d.VerifyPassword(t.Context(), user("alice"), a, []byte("wrong"))
	if r, no := directory.IsRejected(err); !no || r.Reason != directory.WrongPassword || r.State != directory.StateUnknown {
		t.Error(err)
	}
	_, err = d.VerifyPassword(t.Context(), user("nobody"), nil, []byte("wrong"))
	if r, no := directory.IsRejected(err); !no || r.Reason != directory.NoSuchUser {
		t.Error(err)
	}
	f.down = true
	if _, err := d.VerifyPassword(t.Context(), user("alice"), a, []byte("wrong")); err == nil {
		t.Error("no error")
	} else if _, no := directory.IsRejected(err); no {
		t.Errorf("rejected by nobody: %v", err)
	}
}

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newFake(t, time.Now), newFake(t, time.Now)
		d := newFakes(t, nil, time.Now, one, two)
		one.frozen = true
		for i := range 20 {
			began := time.Now()
			if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err != nil {
				t.Fatal(i, err)
			}
			// The breaker opens after three; NETLOGON is not waited for after LDAP was.
			if took := time.Since(began); took > 2*time.Second || i > 3 && took > time.Second {
				t.Errorf("login %d took %v", i, took)
			}
		}
		two.down = true
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _, err := login(ctx, d, user("alice"), "Alice-Pass1")
		if _, no := directory.IsRejected(err); err == nil || no {
			t.Errorf("both are down: %v", err)
		}
		one.mu.Lock()
		one.frozen = false
		one.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err != nil {
			t.Errorf("after it is back: %v", err)
		}
		if s := d.Status(); len(s) != 2 || s[0].Server != "dc1" || s[0].LDAP.Failed == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A domain controller lags behind a new machine password, or has it already.
func TestMachinePasswords(t *testing.T) {
	f := newFake(t, time.Now)
	f.machine = "before"
	d := newFakes(t, func(c *Config) {
		c.Secret = func() (*Secret, error) { return &Secret{Password: []byte("new"), Old: []byte("before")}, nil }
	}, time.Now, f)
	for _, has := range []string{"before", "new", "before"} {
		f.machine = has
		if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err != nil {
			t.Errorf("%s: %v", has, err)
		}
		if k := kinds(d); len(k) > 0 {
			t.Errorf("%s: alarms %v", has, k)
		}
	}
	f.machine = "other"
	_, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1")
	if _, no := directory.IsRejected(err); err == nil || no {
		t.Error(err)
	}
	if k := kinds(d); !slices.Equal(k, []AlarmKind{AlarmMachine}) {
		t.Errorf("alarms %v", k)
	}
	f.machine = "new"
	if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err != nil || len(kinds(d)) > 0 {
		t.Errorf("%v, alarms %v", err, kinds(d))
	}
	f.status["alice"] = netlogon.StatusNTLMBlocked
	if _, _, err := login(t.Context(), d, user("alice"), "Alice-Pass1"); err == nil || !slices.Equal(kinds(d), []AlarmKind{AlarmBlocked}) {
		t.Errorf("%v, alarms %v", err, kinds(d))
	}
}

// A domain controller that does not accept MS-CHAPv2 locks nobody out.
func TestRefusedMSCHAPv2(t *testing.T) {
	now := testNow
	clock := func() time.Time { return now }
	f := newFake(t, clock)
	for i := range 20 {
		f.add(t, fmt.Sprint("u", i), fmt.Sprint(2000+i), nil)
	}
	f.add(t, "probe", "3000", nil)
	everybody := func(d *Directory, rounds int) {
		for range rounds {
			for i := range 20 {
				name := fmt.Sprint("u", i)
				if _, _, err := login(t.Context(), d, user(name), name+"-Pass1"); err == nil {
					t.Fatalf("%s logged on", name)
				}
			}
		}
	}
	worst := func() (n int) {
		for name, bad := range f.bad {
			if name != "probe" {
				n = max(n, bad)
			}
		}
		return n
	}

	f.refuses = true
	d := newFakes(t, nil, clock, f)
	everybody(d, 10)
	if worst() > tryAgain || !slices.Equal(kinds(d), []AlarmKind{AlarmSuspect}) {
		t.Errorf("without a probe: %d failures counted for one user, alarms %v", worst(), kinds(d))
	}
	f.refuses = false // mended
	if _, _, err := login(t.Context(), d, user("bob"), "bob-Pass1"); err != nil || len(kinds(d)) > 0 {
		t.Errorf("%v, alarms %v", err, kinds(d))
	}

	clear(f.bad)
	f.refuses = true
	probe := &Probe{User: "probe", Password: func() ([]byte, error) { return []byte("probe-Pass1"), nil }}
	d = newFakes(t, func(c *Config) { c.Probe = probe }, clock, f)
	everybody(d, 10)
	if worst() > 0 || f.bad["probe"] != 1 || !slices.Equal(kinds(d), []AlarmKind{AlarmMSCHAPv2}) {
		t.Errorf("with a probe: %d failures counted for one user, %d for the probe, alarms %v", worst(), f.bad["probe"], kinds(d))
	}
	f.refuses = false
	now = now.Add(probeRefuse)
	if _, _, err := login(t.Context(), d, user("bob"), "bob-Pass1"); err != nil || len(kinds(d)) > 0 {
		t.Errorf("%v, alarms %v", err, kinds(d))
	}

	// The probe's own password is wrong: that keeps nobody out.
	d = newFakes(t, func(c *Config) {
		c.Probe = &Probe{User: "probe", Password: func() ([]byte, error) { return []byte("old"), nil }}
	}, clock, f)
	if _, _, err := login(t.Context(), d, user("bob"), "bob-Pass1"); err != nil || !slices.Equal(kinds(d), []AlarmKind{AlarmProbe}) {
		t.Errorf("%v, alarms %v", err, kinds(d))
	}
	if !strings.Contains(d.Alarms()[0].What, "probe") {
		t.Errorf("%+v", d.Alarms())
	}
}

func TestLoginsSideBySide(t *testing.T) {
	f := newFake(t, time.Now)
	d := newFakes(t, func(c *Config) { c.Cache = time.Millisecond }, time.Now, f)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				password := "Alice-Pass1"
				if i%2 == 0 {
					password = "wrong"
				}
				_, _, err := login(t.Context(), d, user("alice"), password)
				if (err == nil) != (i%2 == 1) {
					t.Error(err)
				}
				d.Alarms()
				d.Status()
			}
		})
	}
	all.Wait()
}
