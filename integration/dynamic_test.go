//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/integration/clientvm"
	"postern/integration/netlab"
)

const plainService = `node: service1
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813"}
clients:
  - {name: gw1, networks: [127.0.0.0/8], secret_file: secret}
store: {path: store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
audit: {file: audit.json}
`

const plainPolicy = `version: 1
pools: {people: [10.99.0.10-10.99.0.250]}
rules: [{id: all, when: {group: staff}, then: {permit: {factor: none, pool: people, session_timeout: 8h}}}]
`

// Debian's radclient ends and changes a session of the kernel client on the node's UDP
// port, and learns why where it may not.
func TestDynamicAuthorization(t *testing.T) {
	d := &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: radius}
	d.net.Bridge(t, segment, node+"/24")
	for name, text := range map[string]string{
		"secret": domainSecret, "radiusd.yaml": plainService, "policy.yaml": plainPolicy,
		"gateway.yaml": strings.NewReplacer("NODE", node, "INSIDE", domainInside, "postern-ad", "postern-coa").Replace(domainNode),
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.tool(t, "", "keyring", "create")
	d.tool(t, "correct horse", "user", "add", "alice", "--group", "staff")
	d.run(t, "postern-radiusd", "radiusd.yaml")
	d.run(t, "postern-gateway", "gateway.yaml")
	capture(t, d.net, "lo", "udp port 3799", "radius")
	vm := d.guest(t)
	dial := clientvm.Dial{Server: node, User: "alice", Password: "correct horse", Routes: []string{domainInside + "/32"}}
	links := up(t, vm, dial)
	session := d.last(t).Session

	const coa = "127.0.0.1:3799"
	now := fmt.Sprint("Event-Timestamp = ", time.Now().Unix())
	hour := fmt.Sprint("Event-Timestamp = ", time.Now().Add(-time.Hour).Unix())
	this := quoted("Acct-Session-Id", session)
	for _, tt := range []struct {
		about, secret string
		attrs         []string
		cause         string // "": no answer
	}{
		{"another secret", "guess", []string{signed, now, this}, ""},
		{"unsigned", domainSecret, []string{now, this}, ""},
		{"of an hour ago", domainSecret, []string{signed, hour, this}, ""},
		{"of no time", domainSecret, []string{signed, this}, "Missing-Attribute"},
		{"no session", domainSecret, []string{signed, now, `User-Name = "alice"`}, "Missing-Attribute"},
		{"another session", domainSecret, []string{signed, now, `Acct-Session-Id = "none"`}, "Session-Context-Not-Found"},
		{"another user", domainSecret, []string{signed, now, this, `User-Name = "bob"`}, "Session-Context-Not-Found"},
		{"another node", domainSecret, []string{signed, now, this, `NAS-Identifier = "gw2"`}, "NAS-Identification-Mismatch"},
		{"another MTU", domainSecret, []string{signed, now, this, "Framed-MTU = 1400"}, "Unsupported-Attribute"},
	} {
		for kind, name := range map[string]string{"disconnect": "Disconnect-NAK", "coa": "CoA-NAK"} {
			if tt.cause == "" {
				name = ""
			}
			if a := d.ask(t, coa, kind, tt.secret, tt.attrs...); a.code != name || a.get("Error-Cause") != tt.cause {
				t.Errorf("%s, %s: %q %q, want %q %q\n%s", kind, tt.about, a.code, a.get("Error-Cause"), name, tt.cause, a.text)
			}
		}
	}
	for kind, cause := range map[string]string{"disconnect": "Unsupported-Attribute", "coa": "Invalid-Attribute-Value"} {
		if a := d.ask(t, coa, kind, domainSecret, signed, now, this, `Filter-Id = "unheard-of"`); a.get("Error-Cause") != cause {
			t.Errorf("%s, a filter that is not known: %q, want %q\n%s", kind, a.get("Error-Cause"), cause, a.text)
		}
	}
	echoed(t, vm, clientvm.Ping{To: domainInside, Sizes: []int{56}})

	now = fmt.Sprint("Event-Timestamp = ", time.Now().Unix())
	a := d.ask(t, coa, "disconnect", domainSecret, signed, now, this, `NAS-Identifier = "gw1"`, `User-Name = "alice"`,
		"Framed-IP-Address = "+links[0].Local, `Reply-Message = "Tea time"`)
	if a.code != "Disconnect-ACK" {
		t.Fatalf("%s", a.text)
	}
	ended, err := vm.Await(10 * time.Second)
	if err != nil {
		t.Fatalf("the session lives on: %v", err)
	}
	if !slices.ContainsFunc(ended[0].Why, func(s string) bool { return strings.Contains(s, "Tea time") }) && !strings.Contains(vm.Log(1), "Tea time") {
		t.Errorf("pppd was not told why: %q\n%s", ended[0].Why, vm.Log(1))
	}

	up(t, vm, dial)
	this = quoted("Acct-Session-Id", d.last(t).Session)
	if a := d.ask(t, coa, "coa", domainSecret, signed, now, this, "Session-Timeout = 4"); a.code != "CoA-ACK" {
		t.Fatalf("%s", a.text)
	}
	began := time.Now()
	if _, err := vm.Await(20 * time.Second); err != nil {
		t.Fatalf("the session lives on: %v", err)
	}
	if took := time.Since(began); took < 2*time.Second || took > 10*time.Second {
		t.Errorf("with a limit of 4 s it took %v", took)
	}
}
