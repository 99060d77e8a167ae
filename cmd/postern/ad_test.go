package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/authz/lockout"
	"postern/cmd/internal/service"
	"postern/integration/samba"
	"postern/internal/config"
	"postern/internal/seal"
)

// adSite is a configuration with a realm of kind ad.
type adSite struct {
	t   *testing.T
	dir string
}

func newADSite(t *testing.T, dc *samba.DC) *adSite {
	t.Helper()
	s := &adSite{t, t.TempDir()}
	s.write("radiusd.yaml", fmt.Sprintf(`
node: test
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813"}
clients: [{name: nas, networks: [127.0.0.1/32], secret_file: nas}]
store: {kind: embedded, path: store}
key_ring_file: keys
policy_file: policy.yaml
lockout: {user: {failures: 4}}
realms:
  - name: lab
    kind: ad
    default: true
    domain: lab.example
    netbios: LAB
    ad: {servers: [%s], ca_file: %s, machine: GW9, machine_secret_file: machine, timeout: 5s, probe: {user: probe, secret_file: probe}}
  - {name: local, kind: file, file: {users_file: users}}
`, dc.Addr, dc.CAFile))
	s.write("nas", "a-secret-for-the-nas\n")
	s.write("probe", "Probe-Pass1\n")
	s.write("admin", dc.AdminPassword+"\n")
	if _, err := seal.CreateFile(filepath.Join(s.dir, "keys")); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *adSite) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command with what stands on standard input.
func (s *adSite) run(in string, args ...string) (out string, err error) {
	var o, e bytes.Buffer
	root := newRoot(&cli{in: strings.NewReader(in), out: &o, errs: &e})
	root.SetArgs(append([]string{"--config", filepath.Join(s.dir, "radiusd.yaml")}, args...))
	err = root.ExecuteContext(s.t.Context())
	return o.String(), err
}

func TestAD(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	s := newADSite(t, dc)
	admin := filepath.Join(s.dir, "admin")

	// Not yet a member: the doctor says so, and the exit status does.
	out, err := s.run("", "ad", "doctor")
	if err == nil || !strings.Contains(out, "bad") || !strings.Contains(out, "postern ad join") {
		t.Errorf("%v:\n%s", err, out)
	}
	for _, args := range [][]string{{"ad", "join"}, {"ad", "join", "--given", "--admin", "x"}, {"ad", "join", "local", "--given"}, {"ad", "rotate"}, {"ad", "doctor", "none"}} {
		if out, err := s.run("x\n", args...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
	}
	if out, err := s.run("wrong\n", "ad", "join", "--given"); err == nil {
		t.Errorf("joined with a wrong password: %s", out)
	}
	out, err = s.run("", "ad", "join", "--admin", dc.AdminUser, "--password-file", admin, "-o", "json")
	var joined struct {
		Account, DN string
		Created     bool
	}
	if err != nil || json.Unmarshal([]byte(out), &joined) != nil || joined.Account != `LAB\GW9$` || !joined.Created || !strings.HasPrefix(joined.DN, "CN=GW9,CN=Computers,") {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := os.Stat(filepath.Join(s.dir, "machine")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if out, err := s.run("", "ad", "join", "lab", "--admin", dc.AdminUser, "--password-file", admin); err == nil {
		t.Errorf("took an account over unasked: %s", out)
	}
	// The password from standard input.
	if out, err := s.run(dc.AdminPassword+"\n", "ad", "join", "--admin", dc.AdminUser, "--take-over"); err != nil || !strings.Contains(out, "taken over") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := s.run("", "ad", "rotate"); err != nil || !strings.Contains(out, `LAB\GW9$ has a new password`) {
		t.Errorf("%v: %s", err, out)
	}

	out, err = s.run("", "ad", "doctor", "--group", "vpn-users", "-o", "json")
	var report struct {
		Bad      int
		Findings []struct{ Check, Subject, Severity, What, Remedy string }
	}
	if err != nil || json.Unmarshal([]byte(out), &report) != nil || report.Bad != 0 || len(report.Findings) < 8 {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := s.run("", "ad", "doctor"); err != nil || !strings.Contains(out, "ms-chapv2") || !strings.Contains(out, "→") {
		t.Errorf("%v:\n%s", err, out)
	}
	s.write("probe", "wrong\n")
	if out, err := s.run("", "ad", "doctor"); err == nil || !strings.Contains(out, "probe account") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestPickRealm(t *testing.T) {
	one, two := config.Realm{Name: "one", Kind: config.RealmAD}, config.Realm{Name: "two", Kind: config.RealmAD}
	file := config.Realm{Name: "file", Kind: config.RealmFile}
	for _, c := range []struct {
		realms []config.Realm
		args   []string
		want   config.Name
	}{
		{[]config.Realm{file, one}, nil, "one"}, {[]config.Realm{one, two}, []string{"two"}, "two"}, {[]config.Realm{one, two}, nil, ""},
		{[]config.Realm{one, two}, []string{"three"}, ""}, {[]config.Realm{file}, nil, ""}, {[]config.Realm{file}, []string{"file"}, ""},
	} {
		r, err := pickRealm(&config.Service{Realms: c.realms}, c.args)
		if (err == nil) != (c.want != "") || err == nil && r.Name != c.want {
			t.Errorf("%v %q: %+v, %v", len(c.realms), c.args, r, err)
		}
	}
}

// The doctor compares what is really in force.
func TestUserLimit(t *testing.T) {
	for _, cfg := range []config.Service{{}, {Lockout: config.Lockout{User: config.Threshold{Failures: 3}}}} {
		n, now := userLimit(&cfg), time.Now()
		shield := service.NewShield(&cfg)
		check := func(n int) bool {
			return shield.Check(now, lockout.Counters{User: lockout.Counter{Failures: n, Oldest: now, Newest: now}}).Allowed
		}
		if !check(n-1) || check(n) {
			t.Errorf("not after %d failures", n)
		}
	}
	if n := userLimit(&config.Service{Lockout: config.Lockout{Disabled: true}}); n != 0 {
		t.Errorf("%d failures, and nobody counts", n)
	}
}
