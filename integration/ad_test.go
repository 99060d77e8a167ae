//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/integration/clientvm"
	"postern/integration/netlab"
	"postern/integration/samba"
)

// domain is a node and a service of a site with Active Directory, each in a process
// of its own and configured by the operator's tool, as deploy/ describes it.
type domain struct {
	*lab
	dcs     []*samba.DC
	radius  string // auth; accounting is on the next port
	service *exec.Cmd
	tokens  []*token // alice's, used in turn: none gives more than two codes in half a minute
}

const (
	domainSecret = "between-node-and-service"
	domainInside = "10.99.0.1" // the node's own address in the tunnels
)

const domainService = `node: service1
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813", deadline: 5s}
clients:
  - {name: gw1, networks: [127.0.0.0/8], secret_file: secret, allow_pap: true, coa: "127.0.0.1:3799"}
store: {path: store.db}
key_ring_file: keys
policy_file: policy.yaml
disclose: full
lockout: {user: {failures: 4}}
follow: {interval: 2s}
audit: {file: audit.json}
realms:
  - name: lab
    kind: ad
    default: true
    domain: lab.example
    netbios: LAB
    cache: 1s
    ad:
      servers: [SERVERS]
      ca_file: CA
      timeout: 1s
      machine: MACHINE
      machine_secret_file: machine
      honour_dialin: true
      workstation: GW1
      probe: {user: probe, secret_file: probe.secret}
`

const domainNode = `node: gw1
pptp: {listen: "NODE:1723", inside: INSIDE, tun: postern-ad, routes: [10.99.0.0/24]}
radius:
  timeout: 4s
  retries: 0
  servers: [{name: service1, transport: udp, address: "127.0.0.1:1812", acct_address: "127.0.0.1:1813", secret_file: secret}]
coa: {listen: "127.0.0.1:3799", clients: [{network: 127.0.0.1, secret_file: secret}]}
spool: {dir: spool}
`

const domainPolicy = `version: 1
pools:
  people: [10.99.0.10-10.99.0.250]
rules:
  - id: staff
    description: Staff need a one-time code, and may change an expired password with it.
    when: {group: vpn-users}
    then:
      permit: {factor: code, pool: people, interim: 1m, password_change: true}
  - id: admins
    when: {group: vpn-admins}
    then:
      permit: {factor: none, pool: people}
tests:
  - name: staff need a code
    user: alice
    groups: [vpn-users]
    source: 192.0.2.5
    expect: {verdict: permit, rule: staff, factor: code}
`

// newDomain makes a network with n domain controllers, a node and a service.
func newDomain(t *testing.T, n int) *domain {
	t.Helper()
	d := &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: radius}
	d.net.Bridge(t, segment, node+"/24")
	var servers []string
	for i := range n {
		dc := samba.Start(t, samba.Options{Name: fmt.Sprintf("dc%d", i+1), In: d.net.Do})
		d.dcs = append(d.dcs, dc)
		servers = append(servers, dc.Addr.String())
	}
	t.Logf("Samba %s, domain controllers at %s", samba.Version(t), strings.Join(servers, ", "))
	write := func(name, text string, old ...string) {
		text = strings.NewReplacer(old...).Replace(text)
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", domainSecret)
	write("probe.secret", "Probe-Pass1")
	// The copies of a domain do not replicate: an account made on one is not on the others,
	// but all have the fixture's.
	dc, machine := d.dcs[0], "GW1"
	if n > 1 {
		machine = strings.TrimSuffix(dc.MachineAccount, "$")
	}
	write("radiusd.yaml", domainService, "SERVERS", strings.Join(servers, ", "), "CA", dc.CAFile, "MACHINE", machine)
	write("gateway.yaml", domainNode, "NODE", node, "INSIDE", domainInside)
	write("policy.yaml", domainPolicy)
	d.tool(t, "", "keyring", "create")
	if n > 1 {
		d.tool(t, dc.MachinePassword, "ad", "join", "--given")
	} else {
		d.tool(t, dc.AdminPassword, "ad", "join", "--admin", dc.AdminUser)
	}
	d.enroll(t)
	d.service = d.run(t, "postern-radiusd", "radiusd.yaml")
	d.run(t, "postern-gateway", "gateway.yaml")
	return d
}

// tool runs the operator's tool.
func (d *domain) tool(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"--config", filepath.Join(d.dir, "radiusd.yaml")}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := d.net.OutputOf(cmd)
	if err != nil {
		t.Fatalf("postern %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// enroll gives alice tokens enough for a login a second.
func (d *domain) enroll(t *testing.T) {
	t.Helper()
	for i := range 5 { // that is how many one can have
		var made struct{ URL string }
		out := d.tool(t, "", "mfa", "enroll", "alice", "-o", "json", "--add", "--label", fmt.Sprint("token ", i))
		if err := json.Unmarshal([]byte(out), &made); err != nil || made.URL == "" {
			t.Fatalf("enroll: %v\n%s", err, out)
		}
		d.tokens = append(d.tokens, newToken(t, made.URL))
	}
}

// code is one of alice's.
func (d *domain) code(t *testing.T) string {
	t.Helper()
	k := d.tokens[0]
	d.tokens = append(d.tokens[1:], k)
	return k.code(t)
}

// run runs one of our daemons until the end of the test.
func (d *domain) run(t *testing.T, program, config string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, program), "-config", filepath.Join(d.dir, config))
	var said bytes.Buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := d.net.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		up := false
		for {
			n, err := r.Read(b)
			said.Write(b[:n])
			if !up && strings.Contains(said.String(), `"msg":"running"`) {
				up = true
				close(ready)
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said.String())
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("%s does not start:\n%s", program, said.String())
	case <-time.After(30 * time.Second):
		t.Fatalf("%s is not ready", program)
	}
	return cmd
}

// event is a line of the audit log.
type event struct {
	Msg, User, Typed, Realm, SID, Verdict, Reason, Error, Session string
}

// events reads the audit log.
func (d *domain) events(t *testing.T) []event {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []event
	for line := range strings.Lines(string(text)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("audit line %q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// last is the last line about a login.
func (d *domain) last(t *testing.T) event {
	t.Helper()
	all := slices.DeleteFunc(d.events(t), func(e event) bool { return e.Msg != "login" })
	if len(all) == 0 {
		t.Fatal("no audit line")
	}
	return all[len(all)-1]
}

// chap logs in by MS-CHAPv2 through radclient.
func (d *domain) chap(t *testing.T, name, password string) answer {
	t.Helper()
	hashed := name
	if _, behind, found := strings.Cut(name, `\`); found {
		hashed = behind
	}
	x := newChap(hashed, password)
	return d.ask(t, d.radius, "auth", domainSecret, append([]string{signed, quoted("User-Name", name), "NAS-Identifier = \"gw1\"",
		"Calling-Station-Id = \"192.0.2.9\"", "Acct-Session-Id = \"" + fmt.Sprint(time.Now().UnixNano()) + "\""}, x.attrs...)...)
}

// Every way to write a name leads to one person, in every state to its own reason.
func TestActiveDirectory(t *testing.T) {
	d := newDomain(t, 1)
	dc := d.dcs[0]

	t.Run("doctor", func(t *testing.T) {
		out := d.tool(t, "", "ad", "doctor", "--group", "vpn-mixed")
		for _, want := range []string{"kate", "dave", "erin"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s is not named:\n%s", want, out)
			}
		}
		t.Logf("%s", out)
	})

	t.Run("user show", func(t *testing.T) {
		out := d.tool(t, "", "user", "show", `LAB\ALICE`)
		for _, want := range []string{"alice@lab.example", "S-1-5-21-", "active", "PASSWORD EXPIRES", "in 4", "vpn-users", "vpn-leaf"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	})

	t.Run("names", func(t *testing.T) {
		sids := map[string]bool{}
		for _, form := range []string{"alice+%s", "ALICE+%s", `LAB\alice+%s`, "alice@lab.example+%s", "alice+%s@lab.example", `lab\ALICE+%s`} {
			name := fmt.Sprintf(form, d.code(t))
			if a := d.chap(t, name, "Alice-Pass1"); a.code != "Access-Accept" {
				t.Errorf("%s: %s\n%s", form, a.code, a.text)
			}
			e := d.last(t)
			if e.User != "alice@lab.example" || e.Realm != "lab" || e.Verdict != "accept" {
				t.Errorf("%s: %+v", form, e)
			}
			sids[e.SID] = true
		}
		if len(sids) != 1 || sids[""] {
			t.Errorf("one person has the SIDs %v", sids)
		}
		for _, name := range []string{"alice", "ALICE", `LAB\alice`, "alice@lab.example"} {
			if a := d.chap(t, name, "Alice-Pass1"); a.code != "Access-Reject" || d.last(t).Reason != "code missing" {
				t.Errorf("%s without a code: %s, %+v", name, a.code, d.last(t))
			}
		}
	})

	t.Run("states", func(t *testing.T) {
		for _, tt := range []struct {
			user   string
			code   int
			reason string
		}{
			{"carol", 0, "permitted"},
			{"dave", 647, "account disabled"}, {"erin", 647, "account expired"}, {"locked", 647, "account locked"},
			{"grace", 648, "password must change"}, {"judy", 648, "password expired"}, {"ivan", 646, "outside logon hours"},
			{"heidi", 649, "workstation not allowed"}, {"kate", 691, "account restricted"}, {"nora", 649, "no dial-in right"},
			{"nobody", 691, "no such user"}, {"GW1$", 691, "no such user"}, {"mike", 649, "no policy matched"},
		} {
			password := strings.ToUpper(tt.user[:1]) + tt.user[1:] + "-Pass1"
			a := d.chap(t, tt.user, password)
			e := d.last(t)
			if e.Reason != tt.reason {
				t.Errorf("%s: %+v, want %s", tt.user, e, tt.reason)
			}
			if tt.code == 0 {
				if a.code != "Access-Accept" {
					t.Errorf("%s: %s", tt.user, a.text)
				}
			} else if want := fmt.Sprintf("E=%d", tt.code); a.code != "Access-Reject" || !strings.Contains(a.get("MS-CHAP-Error"), want) {
				t.Errorf("%s: %s %s, want %s", tt.user, a.code, a.get("MS-CHAP-Error"), want)
			}
		}
		if a := d.chap(t, "bob", "guess"); !strings.Contains(a.get("MS-CHAP-Error"), "E=691") || d.last(t).Reason != "wrong password" {
			t.Errorf("a wrong password: %s, %+v", a.text, d.last(t))
		}
	})

	t.Run("PAP", func(t *testing.T) {
		pap := func(name, password string) string {
			return d.ask(t, d.radius, "auth", domainSecret, signed, quoted("User-Name", name), quoted("User-Password", password),
				"NAS-Identifier = \"switch\"").code
		}
		if code := pap("carol", "Carol-Pass1"); code != "Access-Accept" {
			t.Errorf("carol: %s", code)
		}
		if code := pap("dave", "Dave-Pass1"); code != "Access-Reject" || d.last(t).Reason != "account disabled" {
			t.Errorf("dave: %s, %+v", code, d.last(t))
		}
	})

	vm := d.guest(t)
	dial := func(name, password string) clientvm.Dial {
		return clientvm.Dial{Server: node, User: name, Password: password, Routes: []string{domainInside + "/32"}}
	}
	t.Run("kernel client", func(t *testing.T) {
		for _, form := range []string{`LAB\alice+%s`, "alice@lab.example+%s"} {
			links := up(t, vm, dial(fmt.Sprintf(form, d.code(t)), "Alice-Pass1"))
			if links[0].MPPE != "128-bit stateless" {
				t.Errorf("link %+v", links[0])
			}
			echoed(t, vm, clientvm.Ping{To: domainInside, Sizes: []int{56, 1372}})
			hangUp(t, vm)
		}
		refused(t, vm, dial("dave", "Dave-Pass1"), authFailed)
		refused(t, vm, dial("carol", "guess"), authFailed)
	})

	t.Run("disabled meanwhile", func(t *testing.T) {
		up(t, vm, dial("alice+"+d.code(t), "Alice-Pass1"))
		c := dc.LDAP(t)
		disable := ldap.NewModifyRequest(dc.DN(t, c, "alice"), nil)
		disable.Replace("userAccountControl", []string{"514"})
		if err := c.Modify(disable); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ended, err := vm.Await(20 * time.Second)
		if err != nil {
			t.Fatalf("the session lives on: %v", err)
		}
		t.Logf("ended after %v with status %d: %q", time.Since(began), ended[0].Status, ended[0].Why)
		if !slices.ContainsFunc(d.events(t), func(e event) bool {
			return e.Msg == "session ended" && e.User == "alice@lab.example" && e.Reason == "account disabled"
		}) {
			t.Errorf("no such line in the audit log: %+v", d.last(t))
		}
	})
}

// A frozen controller costs a login the time-out of one question; without any the
// service is silent, sessions go on, and all is well when one is back.
func TestDirectoryAway(t *testing.T) {
	d := newDomain(t, 2)
	one, two := d.dcs[0], d.dcs[1]
	vm := d.guest(t)
	up(t, vm, clientvm.Dial{Server: node, User: "carol", Password: "Carol-Pass1", Routes: []string{domainInside + "/32"}})

	login := func(name, password string) (string, time.Duration) {
		began := time.Now()
		return d.chap(t, name, password).code, time.Since(began)
	}
	one.Freeze()
	for range 5 {
		if code, took := login("carol", "Carol-Pass1"); code != "Access-Accept" {
			t.Errorf("with the first controller frozen: %q after %v", code, took)
		} else {
			t.Logf("with the first controller frozen: answered after %v", took)
		}
	}
	two.Kill()
	if code, _ := login("carol", "Carol-Pass1"); code != "" {
		t.Errorf("with no controller: %s", code)
	}
	if e := d.last(t); e.Verdict != "silent" || e.Reason != "directory unavailable" {
		t.Errorf("with no controller: %+v", e)
	}
	time.Sleep(5 * time.Second) // more than two looks at the directory
	echoed(t, vm, clientvm.Ping{To: domainInside, Sizes: []int{56}})

	two.Restart(t)
	for end := time.Now().Add(30 * time.Second); ; {
		code, took := login("carol", "Carol-Pass1")
		if code == "Access-Accept" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the second controller is back, and still: %q after %v", code, took)
		}
	}
	one.Resume()
	for _, dc := range d.dcs {
		if n := dc.BadPwdCount(t, "carol"); n != 0 {
			t.Errorf("%s has counted %d wrong passwords", dc.Host, n)
		}
	}
	echoed(t, vm, clientvm.Ping{To: domainInside, Sizes: []int{56}})
	hangUp(t, vm)
}
