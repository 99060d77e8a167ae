package ad

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/samba"
	"postern/internal/ldapc"
	"postern/internal/mschap"
)

// sambaConfig is how DCs of one domain are asked.
func sambaConfig(t testing.TB, dcs ...*samba.DC) Config {
	t.Helper()
	pem, err := os.ReadFile(dcs[0].CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no CA")
	}
	secret := func() (*Secret, error) { return &Secret{Password: []byte(dcs[0].MachinePassword)}, nil }
	cfg := Config{
		Domain: dcs[0].Domain, NetBIOS: dcs[0].NetBIOS, Machine: strings.TrimSuffix(dcs[0].MachineAccount, "$"), Secret: secret,
		TLS: ldapc.LDAPS, CA: pool, Timeout: 5 * time.Second,
	}
	for _, dc := range dcs {
		cfg.Servers = append(cfg.Servers, dc.Addr.String())
	}
	return cfg
}

func sambaDirectory(t testing.TB, cfg Config) *Directory {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// passwordOf is a fixture's password.
func passwordOf(name string) string {
	if name == "jürgen" {
		return "Pässwörd-€-😀"
	}
	return strings.ToUpper(name[:1]) + name[1:] + "-Pass1"
}

// outcome is what a login came to, in a word.
func outcome(a *directory.Account, err error) string {
	if r, no := directory.IsRejected(err); no {
		if r.Reason == directory.AccountState {
			return r.State.String()
		}
		return r.Reason.String()
	}
	if err != nil {
		return err.Error()
	}
	return "then " + a.State.String()
}

// TestSambaStates is the matrix of accounts, methods and passwords. "then" is what
// the found account says after a right password.
func TestSambaStates(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	cfg.HonourDialin, cfg.Workstation = true, "RGW"
	d := sambaDirectory(t, cfg)
	for _, c := range []struct{ name, found, mschap, wrong, pap string }{
		{"alice", "active", "then active", "wrong password", "then active"},
		{"bob", "active", "then active", "wrong password", "then active"},
		{"carol", "active", "then active", "wrong password", "then active"},
		{"jürgen", "active", "then active", "wrong password", "then active"},
		{"mike", "active", "then active", "wrong password", "then active"},
		{"oscar", "active", "then active", "wrong password", "then active"},
		{"nora", "no dial-in", "then no dial-in", "wrong password", "then no dial-in"}, // NETLOGON does not look at it
		{"dave", "disabled", "disabled", "wrong password", "disabled"},
		{"erin", "expired", "expired", "wrong password", "expired"},
		{"locked", "locked", "locked", "locked", "locked"},
		{"grace", "password must change", "password must change", "wrong password", "password must change"},
		{"judy", "password expired", "password expired", "wrong password", "password expired"},
		{"heidi", "not from here", "then not from here", "wrong password", "not from here"}, // a bind is from no workstation
		{"ivan", "outside hours", "outside hours", "wrong password", "outside hours"},
		{"kate", "restricted", "restricted", "restricted", "restricted"},
		{"leo", "restricted", "wrong password", "wrong password", "wrong password"}, // Samba has drawn another password
		{"ghost", "", "no such user", "no such user", "no such user"},
		{"RGW$", "", "no such user", "no such user", "no such user"}, // computers do not dial in
		{"krbtgt", "disabled", "wrong password", "wrong password", "wrong password"},
	} {
		n := user(c.name)
		a, err := d.Find(t.Context(), n)
		if err == nil {
			if found := a.State.String(); found != c.found {
				t.Errorf("%s: found %s, want %s", c.name, found, c.found)
			}
		} else if c.found != "" || outcome(nil, err) != "no such user" {
			t.Errorf("%s: %v", c.name, err)
		}
		for password, want := range map[string]string{passwordOf(c.name): c.mschap, "wrong": c.wrong} {
			_, p, err := login(t.Context(), d, n, password)
			if got := outcome(a, err); got != want {
				t.Errorf("%s with MS-CHAPv2 and %q: %s, want %s (%v)", c.name, password, got, want, err)
			}
			hash := mschap.NTHash(password)
			if err == nil && p.HashHash != mschap.HashHash(&hash) {
				t.Errorf("%s: another key", c.name)
			}
		}
		_, err = d.VerifyPassword(t.Context(), n, a, []byte(passwordOf(c.name)))
		if got := outcome(a, err); got != c.pap {
			t.Errorf("%s with PAP: %s, want %s (%v)", c.name, got, c.pap, err)
		}
	}
	if alarms := d.Alarms(); len(alarms) > 0 {
		t.Errorf("alarms %+v", alarms)
	}
}

// However a name is written, it is one person.
func TestSambaNames(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	cfg.Bind = &ldapc.Bind{Method: ldapc.Simple, Name: dc.BindUser, Password: func() ([]byte, error) { return []byte(dc.BindPassword), nil }}
	cfg.Cache = time.Minute
	d := sambaDirectory(t, cfg)
	l := dc.LDAP(t)
	m := ldap.NewModifyRequest("CN=bob,OU=VPN,"+dc.BaseDN, nil)
	m.Replace("userPrincipalName", []string{"robert@corp.example"})
	if err := l.Modify(m); err != nil {
		t.Fatal(err)
	}
	sids := make(map[string]string)
	for _, c := range []struct {
		name directory.Name
		want string
	}{
		{user("alice"), "alice"}, {user("ALICE"), "alice"}, {user("Alice"), "alice"},
		{directory.Name{User: "alice", Realm: "LAB", Down: true}, "alice"}, {directory.Name{User: "ALICE", Realm: "lab", Down: true}, "alice"},
		{directory.Name{User: "alice", Realm: "lab.example"}, "alice"}, {directory.Name{User: "alice", Realm: "LAB.EXAMPLE"}, "alice"},
		{directory.Name{User: "alice", Realm: "LAB"}, "alice"},
		{directory.Name{User: "robert", Realm: "corp.example"}, "bob"}, {directory.Name{User: "bob", Realm: "lab.example"}, "bob"}, {user("bob"), "bob"},
		{user("JÜRGEN"), "jürgen"}, {directory.Name{User: "Jürgen", Realm: "lab.example"}, "jürgen"},
	} {
		a, p, err := login(t.Context(), d, c.name, passwordOf(c.want))
		if err != nil {
			t.Errorf("%+v: %v", c.name, err)
			continue
		}
		if a.Name != c.want || sids[c.want] != "" && sids[c.want] != a.SID {
			t.Errorf("%+v: %+v", c.name, a)
		}
		sids[c.want] = a.SID
		if c.want != "bob" && !slices.Contains(a.Groups, "vpn-leaf") || !slices.Contains(a.Groups, "vpn-users") || !slices.Contains(a.Groups, "Domain Users") {
			t.Errorf("%+v: groups %q", c.name, a.Groups)
		}
		// NETLOGON tells nothing new, but perhaps of the logon itself.
		for _, g := range p.Groups {
			if strings.HasPrefix(g, "S-1-5-21-") {
				t.Errorf("%+v: only the logon has %s of %q", c.name, g, p.Groups)
			}
		}
	}
	for _, n := range []directory.Name{user("robert"), {User: "alice", Realm: "corp.example"}, user("*"), user("alice)(x=*"), user(""), user("Domain Users"), user("dc1$"), user(strings.Repeat("x", 300))} {
		if a, err := d.Find(t.Context(), n); outcome(a, err) != "no such user" {
			t.Errorf("%+v is %+v, %v", n, a, err)
		}
	}
	if a, err := d.Find(t.Context(), user("carol")); err != nil || a.PasswordExpires.IsZero() || a.PasswordExpires.Sub(a.PasswordSet) > 8*24*time.Hour {
		t.Errorf("the PSO does not count: %+v, %v", a, err)
	}
	if a, err := d.Find(t.Context(), user("mike")); err != nil || !a.PasswordExpires.IsZero() || a.PasswordSet.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
}

// A password that was changed by the user is the one that counts.
func TestSambaChangePassword(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	d := sambaDirectory(t, sambaConfig(t, dc))
	change := func(name, old, fresh string) error {
		a, err := d.Find(t.Context(), user(name))
		if err != nil {
			t.Fatal(err)
		}
		oldHash, newHash := mschap.NTHash(old), mschap.NTHash(fresh)
		c := new(directory.Change)
		if c.Encrypted, err = mschap.EncryptPassword(fresh, &oldHash, rand.Reader); err != nil {
			t.Fatal(err)
		}
		c.OldHash = mschap.EncryptHash(&oldHash, &newHash)
		return d.ChangePassword(t.Context(), user(name), a, c)
	}
	for _, name := range []string{"grace", "judy"} { // must change, expired
		if got := outcome(nil, change(name, "wrong", "Another-Pass1")); got != "wrong password" {
			t.Errorf("%s with a wrong one: %s", name, got)
		}
		if got := outcome(nil, change(name, passwordOf(name), "x")); got != "new password refused" {
			t.Errorf("%s to a short one: %s", name, got)
		}
		if err := change(name, passwordOf(name), "Änother-Pass1"); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if a, _, err := login(t.Context(), d, user(name), "Änother-Pass1"); outcome(a, err) != "then active" {
			t.Errorf("%s afterwards: %s", name, outcome(a, err))
		}
		if a, _, err := login(t.Context(), d, user(name), passwordOf(name)); outcome(a, err) != "wrong password" {
			t.Errorf("%s with the old one: %s", name, outcome(a, err))
		}
	}
	if err := d.ChangePassword(t.Context(), user("ghost"), nil, new(directory.Change)); outcome(nil, err) != "no such user" {
		t.Error(err)
	}
}

// What happens in the directory is noticed.
func TestSambaChanged(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	d := sambaDirectory(t, sambaConfig(t, dc))
	l := dc.LDAP(t)
	f := &follower{t: t, d: d, names: []string{"alice", "bob", "carol", "mike", "oscar"}}
	all := []string{"alice active", "bob active", "carol active", "mike active", "oscar active"}
	vpn := func(name string) string { return "CN=" + name + ",OU=VPN," + dc.BaseDN }
	modify := func(name, attr string, values ...string) {
		t.Helper()
		m := ldap.NewModifyRequest(vpn(name), nil)
		m.Replace(attr, values)
		if err := l.Modify(m); err != nil {
			t.Fatal(err)
		}
	}
	groups := func(accounts []directory.Account, name string) []string {
		for _, a := range accounts {
			if a.Name == name {
				return a.Groups
			}
		}
		return nil
	}

	bob := func() {
		t.Helper()
		if _, _, err := login(t.Context(), d, user("bob"), passwordOf("bob")); err != nil {
			t.Fatal(err)
		}
	}
	bob() // the first in two weeks is written down where a USN sees it (lastLogonTimestamp)
	f.look("no mark", all...)
	f.look("nothing happened")
	bob()
	f.look("a login")
	modify("alice", "userAccountControl", "514")
	f.look("disabled", "alice disabled")
	modify("alice", "userAccountControl", "512")
	f.look("enabled", "alice active")
	modify("bob", "unicodePwd", unicodePwd([]byte("Another-Pass1")))
	f.look("another password", "bob active")
	modify("bob", "pwdLastSet", "0")
	f.look("must change", "bob password must change")
	modify("bob", "pwdLastSet", "-1")
	f.look("need not", "bob active")

	m := ldap.NewModifyRequest(vpn("vpn-leaf"), nil)
	m.Delete("member", []string{vpn("alice")})
	if err := l.Modify(m); err != nil {
		t.Fatal(err)
	}
	if g := groups(f.look("out of a nested group", all...), "alice"); slices.Contains(g, "vpn-users") || slices.Contains(g, "vpn-leaf") {
		t.Errorf("groups %q", g)
	}
	for range 5 { // the domain's threshold
		if _, _, err := login(t.Context(), d, user("oscar"), "wrong"); err == nil {
			t.Fatal("a wrong password is right")
		}
	}
	f.look("locked", "oscar locked")
	if err := l.Del(ldap.NewDelRequest(vpn("mike"), nil)); err != nil {
		t.Fatal(err)
	}
	f.look("deleted", "mike gone")
	if err := l.ModifyDN(ldap.NewModifyDNRequest(vpn("carol"), "CN=Carola", true, "")); err != nil {
		t.Fatal(err)
	}
	f.look("another DN, the same name", "carol active", "mike gone")
	modify("Carola", "sAMAccountName", "carola")
	f.look("another name", "carol gone", "mike gone")
}

// TestSambaFailover logs on 200 times with a right password and with a wrong one
// while one DC is frozen, killed and restarted.
func TestSambaFailover(t *testing.T) {
	one, two := samba.Start(t, samba.Options{}), samba.Start(t, samba.Options{Name: "dc2"})
	cfg := sambaConfig(t, one, two)
	cfg.Timeout = 800 * time.Millisecond
	d := sambaDirectory(t, cfg)
	var slowest time.Duration
	failed := 0
	for i := range 200 {
		switch i {
		case 40:
			one.Freeze()
		case 80:
			one.Resume()
		case 110:
			one.Kill()
		case 150:
			one.Restart(t)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		began := time.Now()
		a, _, err := login(ctx, d, user("alice"), passwordOf("alice"))
		slowest = max(slowest, time.Since(began))
		cancel()
		if got := outcome(a, err); got != "then active" {
			failed++
			t.Logf("login %d: %s", i, got)
		}
	}
	t.Logf("%d of 200 failed, the slowest took %v", failed, slowest)
	if failed > 0 || slowest > 4*time.Second {
		t.Errorf("%d of 200 failed, the slowest took %v", failed, slowest)
	}
	for _, dc := range []*samba.DC{one, two} {
		if n := dc.BadPwdCount(t, "alice"); n != 0 {
			t.Errorf("%s counted %d wrong passwords", dc.Addr, n)
		}
	}
	one.Freeze()
	two.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if a, _, err := login(ctx, d, user("alice"), passwordOf("alice")); err == nil || strings.HasPrefix(outcome(a, err), "wrong") {
		t.Errorf("with both down: %s", outcome(a, err))
	} else if _, no := directory.IsRejected(err); no {
		t.Errorf("rejected by nobody: %v", err)
	}
	one.Resume()
	deadline := time.Now().Add(30 * time.Second)
	for {
		a, _, err := login(t.Context(), d, user("alice"), passwordOf("alice"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not recover: %s", outcome(a, err))
		}
	}
}

// TestSambaRefusesMSCHAPv2: a domain controller with the default `ntlm auth` says
// that every password is wrong, and counts.
func TestSambaRefusesMSCHAPv2(t *testing.T) {
	dc := samba.Start(t, samba.Options{NTLMAuth: "default"})
	names := []string{"alice", "bob", "jürgen", "mike", "oscar", "frank", "nora"}
	cfg := sambaConfig(t, dc)
	d := sambaDirectory(t, cfg)
	for range 8 {
		for _, name := range names {
			if _, _, err := login(t.Context(), d, user(name), passwordOf(name)); err == nil {
				t.Fatalf("%s logged on", name)
			}
		}
	}
	for _, name := range names {
		if n := dc.BadPwdCount(t, name); n > tryAgain {
			t.Errorf("%s: %d wrong passwords counted", name, n)
		}
	}
	if k := kinds(d); !slices.Equal(k, []AlarmKind{AlarmSuspect}) {
		t.Errorf("alarms %v", k)
	}
	before := dc.BadPwdCount(t, "carol")
	cfg.Probe = &Probe{User: "probe", Password: func() ([]byte, error) { return []byte(passwordOf("probe")), nil }}
	d = sambaDirectory(t, cfg)
	for range 3 {
		_, _, err := login(t.Context(), d, user("carol"), passwordOf("carol"))
		if _, no := directory.IsRejected(err); err == nil || no {
			t.Errorf("asked all the same: %v", err)
		}
	}
	if n := dc.BadPwdCount(t, "carol"); n != before {
		t.Errorf("carol: %d wrong passwords counted", n-before)
	}
	if k := kinds(d); !slices.Equal(k, []AlarmKind{AlarmMSCHAPv2}) {
		t.Errorf("alarms %v", k)
	}
}

func TestSambaBlocksNTLM(t *testing.T) {
	dc := samba.Start(t, samba.Options{NTLMAuth: "disabled"})
	d := sambaDirectory(t, sambaConfig(t, dc))
	_, _, err := login(t.Context(), d, user("alice"), passwordOf("alice"))
	if _, no := directory.IsRejected(err); err == nil || no {
		t.Errorf("%v", err)
	}
	if k := kinds(d); !slices.Equal(k, []AlarmKind{AlarmBlocked}) {
		t.Errorf("alarms %v", k)
	}
}

// What is wrong with our own credential is an alarm, and nobody's fault.
func TestSambaBadCredential(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	for _, c := range []struct {
		about  string
		change func(*Config)
		want   AlarmKind
	}{
		{"no secret", func(c *Config) { c.Secret = func() (*Secret, error) { return nil, os.ErrNotExist } }, AlarmMachine},
		{"the machine's password", func(c *Config) { c.Secret = func() (*Secret, error) { return &Secret{Password: []byte("wrong")}, nil } }, AlarmBind},
		{"the service account's password", func(c *Config) {
			c.Bind = &ldapc.Bind{Method: ldapc.Simple, Name: dc.BindUser, Password: func() ([]byte, error) { return []byte("wrong"), nil }}
		}, AlarmBind},
	} {
		broken := cfg
		c.change(&broken)
		d := sambaDirectory(t, broken)
		for range 3 {
			_, _, err := login(t.Context(), d, user("alice"), passwordOf("alice"))
			if _, no := directory.IsRejected(err); err == nil || no {
				t.Errorf("%s: %v", c.about, err)
			}
		}
		if k := kinds(d); !slices.Equal(k, []AlarmKind{c.want}) {
			t.Errorf("%s: alarms %v", c.about, k)
		}
	}
}

func BenchmarkSambaLogin(b *testing.B) {
	dc := samba.Start(b, samba.Options{})
	cfg := sambaConfig(b, dc)
	cfg.Cache = time.Minute
	d := sambaDirectory(b, cfg)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := login(b.Context(), d, user("alice"), passwordOf("alice")); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}
