package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/internal/cmdtest"
)

func TestMain(m *testing.M) { os.Exit(cmdtest.Main(m, "postern")) }

// site is a directory with a service's configuration and what it points to.
type site struct{ dir string }

const siteConfig = `node: service1
radius: {auth_listen: "127.0.0.1:1812"}
clients: [{name: local, networks: [127.0.0.0/8], secret_file: secret, allow_pap: true}]
store: {path: state/store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
lockout: {user: {failures: 3}}
`

// realmsConfig is siteConfig with realms in place of users_file.
const realmsConfig = `realms:
  - {name: corp, kind: file, default: true, domain: corp.example, netbios: CORP, file: {users_file: users}}
  - {name: plant, kind: file, file: {users_file: plant-users}}
  - {name: old, kind: file, before: [OLD], behind: [], domain: old.example, file: {users_file: old-users}}
  - {name: pppd, kind: file, file: {chap_secrets_file: chap-secrets}}
`

// newSite makes a site with a key ring and no accounts.
func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t.TempDir()}
	s.write(t, "radiusd.yaml", siteConfig)
	s.write(t, "policy.yaml", cmdtest.PolicyText)
	s.write(t, "secret", "shared-by-test\n")
	s.must(t, "", "keyring", "create")
	return s
}

// withRealms is newSite with realms; each has an account alice.
func withRealms(t testing.TB) *site {
	t.Helper()
	s := newSite(t)
	s.write(t, "radiusd.yaml", strings.Replace(siteConfig, "users_file: users\n", realmsConfig, 1))
	s.write(t, "chap-secrets", "alice * \"chap password\" *\n")
	for _, realm := range []string{"corp", "plant", "old"} {
		s.must(t, "password in "+realm, "user", "add", "alice", "--realm", realm)
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// run runs the tool in this process.
func (s *site) run(input string, args ...string) (out, errs string, err error) {
	return run(input, append([]string{"-config", s.path("radiusd.yaml")}, args...)...)
}

func run(input string, args ...string) (out, errs string, err error) {
	var stdout, stderr bytes.Buffer
	root := newRoot(&cli{in: strings.NewReader(input), out: &stdout, errs: &stderr})
	root.SetArgs(doubleDashes(args))
	err = root.Execute()
	return stdout.String(), stderr.String(), err
}

// must is run for what has to succeed; it returns what was printed.
func (s *site) must(t testing.TB, input string, args ...string) string {
	t.Helper()
	out, errs, err := s.run(input, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", args, err, out, errs)
	}
	return out
}

// fails is run for what has to fail with these words.
func (s *site) fails(t testing.TB, input, words string, args ...string) (out string) {
	t.Helper()
	out, errs, err := s.run(input, args...)
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%q: error %v, want %q\n%s%s", args, err, words, out, errs)
	}
	return out
}

// asked is run with -o json, into v.
func (s *site) asked(t testing.TB, v any, args ...string) {
	t.Helper()
	out, errs, err := s.run("", append([]string{"-o", "json"}, args...)...)
	if err != nil || errs != "" {
		t.Fatalf("%q: %v\n%s%s", args, err, out, errs)
	}
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || d.More() {
		t.Fatalf("%q: %v in\n%s", args, err, out)
	}
}

// rows are the lines of a table, as words.
func rows(out string) (table [][]string) {
	for line := range strings.Lines(out) {
		table = append(table, strings.Fields(line))
	}
	return table
}

// What people and scripts see of the binary: statuses, and which stream says what.
func TestBinary(t *testing.T) {
	s := newSite(t)
	config := s.path("radiusd.yaml")
	s.write(t, "users", "# nobody yet\n")
	s.write(t, "broken.yaml", strings.Replace(siteConfig, "key_ring_file", "key_rign_file", 1))
	for _, c := range []struct {
		input  string
		args   string
		status int
		out    string // words on standard output; "": nothing
		errs   string // on standard error
	}{
		{"", "-version", 0, "postern ", ""},
		{"", "--version", 0, "linux/", ""},
		{"", "version", 0, "postern ", ""},
		{"", "", 0, "Available Commands:", ""},
		{"", "-h", 0, "Available Commands:", ""},
		{"", "-config " + config + " -test", 0, config + " is right", ""},
		{"", "--config=" + config + " --test", 0, config + " is right", ""},
		{"", "-test -config=" + s.path("broken.yaml"), 1, "", `unknown key "key_rign_file", did you mean "key_ring_file"?`},
		{"", "-config /nonexistent/x.yaml user list", 1, "", "postern: read configuration: open /nonexistent/x.yaml: no such file"},
		{"", "nonsense", 1, "", `postern: unknown command "nonsense" for "postern"`},
		{"", "user nonsense", 1, "", `unknown command "nonsense" of "postern user"`},
		{"", "user", 1, "Available Commands:", `"postern user" needs a command`},
		{"", "-nonsense", 1, "", "unknown shorthand flag"},
		{"", "-o xml version", 1, "", "-o xml: want table or json"},
		{"correct horse\n", "-config " + config + " user add alice", 0, "user alice added", ""},
		{"correct horse\n", "-config " + config + " user add alice", 1, "", "postern: add user alice: user exists already"},
		{"", "-config " + config + " -o json user list", 0, `"name": "alice"`, ""},
	} {
		r := cmdtest.Run(t, c.input, "postern", strings.Fields(c.args)...)
		if r.Status != c.status || !strings.Contains(r.Out, c.out) || !strings.Contains(r.Errs, c.errs) ||
			c.out == "" && r.Out != "" || c.errs == "" && r.Errs != "" {
			t.Errorf("postern %s: status %d, want %d with %q and %q:\n%s--\n%s", c.args, r.Status, c.status, c.out, c.errs, r.Out, r.Errs)
		}
	}
}
