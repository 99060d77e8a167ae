//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/integration/netlab"
)

const challengeService = `node: service1
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813"}
clients:
  - {name: switches, networks: [127.0.0.1], secret_file: secret, allow_pap: true, code_in_password: true}
  - {name: gw1, networks: [127.0.0.2], secret_file: secret, node: true}
  - {name: old, networks: [127.0.0.3], secret_file: secret}
store: {path: store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
lockout: {user: {failures: 100}, source: {failures: 100}, pair: {failures: 100}, code: {failures: 100}}
audit: {file: audit.json}
portal: {url: "https://vpn.example.org"}
`

const challengePolicy = `version: 1
pools: {people: [10.99.0.10-10.99.0.250]}
lists: {servers: [10.2.0.0/24, 10.2.1.0/24]}
filters:
  narrow:
    - deny: {to: 10.2.0.9}
    - allow: {to: servers, tcp: [443, 8000-8080], udp: 53}
    - allow: {from: 10.2.0.5, tcp: 3389}
rules:
  - id: consoles
    when: {tunnel: none, group: staff}
    then: {permit: {carriers: [password, challenge]}}
  - id: people
    when: {tunnel: PPTP, group: staff}
    then:
      permit: {factor: none, pool: people, filter: narrow, bandwidth: {up: 2M, down: 10M}}
  - id: held
    when: {tunnel: PPTP, group: late}
    then:
      permit: {carriers: [challenge, quarantine], quarantine: 2m, pool: people, dns: 10.2.0.53, filter: narrow, bandwidth: {down: 10M}}
tests:
  - {name: consoles ask, user: alice, groups: [staff], expect: {rule: consoles, carriers: [password, challenge]}}
`

// newSwitches is a service alone, asked by radclient in the place of NAS of several kinds.
func newSwitches(t *testing.T) *domain {
	t.Helper()
	d := &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: radius}
	for name, text := range map[string]string{"secret": domainSecret, "radiusd.yaml": challengeService, "policy.yaml": challengePolicy} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.tool(t, "", "keyring", "create")
	for _, user := range []string{"alice", "bob"} {
		d.tool(t, "correct horse", "user", "add", user, "--group", "staff")
	}
	d.tool(t, "correct horse", "user", "add", "carol", "--group", "late")
	d.enroll(t)
	d.service = d.run(t, "postern-radiusd", "radiusd.yaml")
	return d
}

// A switch that knows nothing but a password asks for the code as well, in two steps:
// Access-Challenge and an answer to it (RFC 2865 §4.4).
func TestChallenge(t *testing.T) {
	d := newSwitches(t)
	capture(t, d.net, "lo", "udp portrange 1812-1813", "radius")
	login := func(password string, more ...string) answer {
		t.Helper()
		return d.ask(t, d.radius, "auth", domainSecret, append([]string{signed, quoted("User-Name", "alice"), quoted("User-Password", password),
			`NAS-Identifier = "sw1"`, `Calling-Station-Id = "192.0.2.9"`}, more...)...)
	}
	want := func(about string, a answer, code, reason string) {
		t.Helper()
		if a.code != code || len(a.attrs) == 0 || !strings.HasPrefix(a.attrs[0], "Message-Authenticator = ") {
			t.Fatalf("%s: %q, want %q, signed first\n%s", about, a.code, code, a.text)
		}
		if got := d.last(t).Reason; got != reason {
			t.Errorf("%s: %q in the audit log, want %q", about, got, reason)
		}
	}
	challenged := func() string {
		t.Helper()
		a := login("correct horse")
		want("the password", a, "Access-Challenge", "challenged")
		state := a.get("State")
		if !strings.HasPrefix(state, "0x") || len(state) < 64 || a.get("Reply-Message") == "" {
			t.Fatalf("State %q, Reply-Message %q", state, a.get("Reply-Message"))
		}
		return "State = " + state
	}

	state := challenged()
	if other := challenged(); other == state {
		t.Error("the same State twice")
	}
	code := d.code(t)
	want("a code", login(code, state), "Access-Accept", "permitted")
	want("the same again", login(code, state), "Access-Reject", "state invalid")
	want("another code to an old question", login(d.code(t), state), "Access-Reject", "state invalid")

	// One digit of State, wherever it is, is another State.
	state = challenged()
	for _, at := range []int{len("State = 0x"), len(state) / 2, len(state) - 1} {
		digit := byte('0')
		if state[at] == '0' {
			digit = '1'
		}
		want("a State that was changed", login(d.code(t), state[:at]+string(digit)+state[at+1:]), "Access-Reject", "state invalid")
	}
	want("a State that was cut", login(d.code(t), state[:len(state)-2]), "Access-Reject", "state invalid")
	want("two of them", login(d.code(t), state, state), "Access-Reject", "state invalid")
	want("of another's login", d.ask(t, d.radius, "auth", domainSecret, signed, `User-Name = "bob"`, quoted("User-Password", d.code(t)),
		`NAS-Identifier = "sw1"`, `Calling-Station-Id = "192.0.2.9"`, state), "Access-Reject", "state invalid")
	want("at another switch", d.ask(t, d.radius, "auth", domainSecret, signed, `User-Name = "alice"`, quoted("User-Password", d.code(t)),
		`NAS-Identifier = "sw2"`, `Calling-Station-Id = "192.0.2.9"`, state), "Access-Reject", "state invalid")
	want("none of it used it up", login(d.code(t), state), "Access-Accept", "permitted")

	want("a wrong code", login("000000", challenged()), "Access-Reject", "code wrong")
	want("a wrong password", login("guess"), "Access-Reject", "wrong password")

	// Services remember nothing: one that has just begun goes on.
	state = challenged()
	d.restart(t)
	want("after a restart", login(d.code(t), state), "Access-Accept", "permitted")

	// Where the switch cannot ask, its users type the code behind the password.
	want("in one", login("correct horse"+d.code(t)), "Access-Accept", "permitted")
}

// What a node is to enforce, Debian's dictionaries read as we mean it; no other NAS is
// told more than the filter's name.
func TestFilterAttributes(t *testing.T) {
	d := newSwitches(t)
	login := func(user, from string) answer {
		t.Helper()
		x := newChap(user, "correct horse")
		return d.ask(t, d.radius, "auth", domainSecret, append([]string{signed, "Packet-Src-IP-Address = " + from, quoted("User-Name", user), `NAS-Identifier = "gw1"`,
			`Calling-Station-Id = "192.0.2.9"`, quoted("Acct-Session-Id", user+from), "Tunnel-Type:1 = PPTP"}, x.attrs...)...)
	}
	const node, other = "127.0.0.2", "127.0.0.3"
	for _, tt := range []struct {
		about, user, from, code string
		want                    []string // of what is to be enforced, in order
	}{
		{"a node", "alice", node, "Access-Accept", []string{
			`Filter-Id = "narrow"`,
			`NAS-Filter-Rule = "deny in ip from assigned to 10.2.0.9"`, // radclient separates what stands in one attribute
			`NAS-Filter-Rule = "permit in tcp from assigned to 10.2.0.0/23 443,8000-8080"`,
			`NAS-Filter-Rule = "permit in udp from assigned to 10.2.0.0/23 53"`,
			`NAS-Filter-Rule = "permit out tcp from 10.2.0.5 to assigned 3389"`,
			"WISPr-Bandwidth-Max-Up = 2000000",
			"WISPr-Bandwidth-Max-Down = 10000000",
		}},
		{"another NAS", "alice", other, "Access-Accept", []string{`Filter-Id = "narrow"`}},
		{"a node, without the factor", "carol", node, "Access-Accept", []string{
			`Filter-Id = "quarantine"`,
			"MS-Quarantine-Session-Timeout = 120",
			`WISPr-Redirection-URL = "https://vpn.example.org/s/…"`,
			"WISPr-Bandwidth-Max-Down = 10000000",
		}},
		{"another NAS, without the factor", "carol", other, "Access-Reject", nil},
	} {
		a := login(tt.user, tt.from)
		var got []string
		for _, line := range a.attrs {
			name, value, _ := strings.Cut(line, " = ")
			switch {
			case name == "WISPr-Redirection-URL": // the reference is another one each time
				at := strings.LastIndex(value, "/") + 1
				if len(value)-at < 40 {
					t.Errorf("%s: %s", tt.about, line)
				}
				got = append(got, name+" = "+value[:at]+`…"`)
			case name == "Filter-Id" || name == "NAS-Filter-Rule" || strings.HasPrefix(name, "MS-Quarantine-") || strings.HasPrefix(name, "WISPr-"):
				got = append(got, line)
			}
		}
		if a.code != tt.code || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %s with %q, want %s with %q\n%s", tt.about, a.code, got, tt.code, tt.want, a.text)
		}
	}
}

// restart ends the service and begins another.
func (d *domain) restart(t *testing.T) {
	t.Helper()
	if err := d.service.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = d.service.Wait()
	d.service = d.run(t, "postern-radiusd", "radiusd.yaml")
}
