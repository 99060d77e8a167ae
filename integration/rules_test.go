//go:build integration

package integration

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	be "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"postern/integration/netlab"
	"postern/integration/samba"
	wire "postern/internal/radius"
)

// A service of a site with Active Directory and a portal, over Redis, that knows where
// addresses are and what devices report.
const rulesService = `node: service1
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813", deadline: 10s}
clients:
  - {name: gw1, networks: [127.0.0.0/8], secret_file: secret, node: true, coa: "127.0.0.1:3799"}
store: {kind: redis, urls: ["REDIS"], timeout: 3s}
key_ring_file: keys
policy_file: policy.yaml
geo: {country_file: country.mmdb}
inputs: {dir: inputs}
follow: {interval: 60s}
portal: {listen: "127.0.0.1:8443", url: "https://127.0.0.1:8443", cert_file: portal.pem, key_file: portal.key}
audit: {file: audit.json}
realms:
  - name: lab
    kind: ad
    default: true
    domain: lab.example
    netbios: LAB
    cache: 1s
    ad: {servers: [SERVER], ca_file: CA, machine: GW1, machine_secret_file: machine, timeout: 5s}
`

const rulesPolicy = `version: 1
lists:
  bad-places: [192.0.2.128/25]
  home: {countries: [DE, AT]}
pools: {people: [10.99.0.10-10.99.0.250]}
rules:
  - id: bad-places
    when: {source: bad-places}
    then: deny
  - id: abroad
    description: Nobody works there. What the database does not know is decided below.
    when: {group: vpn-users}
    unless: {any: [{country: home}, {country: none}]}
    then: deny
  - id: edge # EDGE
    description: The hour that the clocks skip is nobody's.
    when: {user: bob@lab.example, time: {from: "01:50", to: "02:30", zone: Test/Edge}}
    then: {permit: {factor: none, pool: people}}
  - id: ends
    expires: ENDS
    when: {user: frank@lab.example}
    then: {permit: {factor: none, pool: people}}
  - id: healthy
    when: {group: vpn-admins, device.confidence: attested, device.report_age: "<= 5s"}
    then: {permit: {factor: none, pool: people}}
  - id: unhealthy
    when: {group: vpn-admins}
    then: {permit: {factor: none, isolate: true, quarantine: 10m, pool: people, banner: Report first.}}
  - id: nested
    when: {group: vpn-users}
    unless: {user: [bob@lab.example, frank@lab.example]}
    then: {permit: {factor: none, pool: people}}
`

// rules is that service, and a NAS that does what it is asked.
type rules struct{ *portal }

func newRules(t *testing.T) *rules {
	t.Helper()
	d := &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: "127.0.0.1:1812"}
	r := &rules{&portal{domain: d}}
	dc := samba.Start(t, samba.Options{In: d.net.Do})
	d.dcs = []*samba.DC{dc}
	r.certify(t)
	service := strings.NewReplacer("REDIS", redis(t, d.net), "SERVER", dc.Addr.String(), "CA", dc.CAFile).Replace(rulesService)
	r.write(t, "secret", domainSecret)
	r.write(t, "radiusd.yaml", service)
	locate(t, filepath.Join(d.dir, "country.mmdb"), map[string]string{"81.2.69.0/24": "DE", "89.160.20.0/24": "SE"})
	if err := os.MkdirAll(filepath.Join(d.dir, "Test"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ZONEINFO", d.dir)
	tomorrow := time.Now().Add(24 * time.Hour)
	r.until(t, tomorrow, tomorrow)
	d.tool(t, "", "keyring", "create")
	d.tool(t, dc.AdminPassword, "ad", "join", "--admin", dc.AdminUser)
	r.serveNAS(t)
	d.service = d.run(t, "postern-radiusd", "radiusd.yaml")
	return r
}

func (r *rules) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// until writes a policy in which frank's rule expires at an instant, and a zone whose
// clocks skip an hour at another, and returns the policy's version.
func (r *rules) until(t *testing.T, ends, edge time.Time) string {
	t.Helper()
	r.write(t, "Test/Edge", string(skip(edge)))
	text := strings.NewReplacer("ENDS", ends.UTC().Format(time.RFC3339), "EDGE", edge.UTC().Format(time.RFC3339)).Replace(rulesPolicy)
	r.write(t, "policy.yaml", text)
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// reload has the service decide by them.
func (r *rules) reload(t *testing.T, ends, edge time.Time) {
	t.Helper()
	version := r.until(t, ends, edge)
	if err := r.service.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r.outcome(t, "alice", "81.2.69.160")
		if r.lastLine(t)["policy"] == version {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("policy %s is not in force", version)
		}
	}
}

// locate writes a database of countries.
func locate(t *testing.T, name string, countries map[string]string) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, code := range countries {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// skip is a time zone (RFC 8536) whose clocks go from 01:59:59 to 03:00:00 at an instant.
func skip(at time.Time) []byte {
	wall := at.UTC()
	// Before: what makes the instant two o'clock.
	offset := int32((2*3600 - (wall.Hour()*3600 + wall.Minute()*60 + wall.Second()))) //nolint:gosec // a day's seconds
	if offset > 43200 {
		offset -= 86400
	}
	if offset < -43200 {
		offset += 86400
	}
	b := []byte("TZif2")
	b = append(b, make([]byte, 15)...)
	header := func(transitions uint32) {
		for _, n := range []uint32{0, 0, 0, transitions, 2, 8} { // isut, isstd, leap, time, type, char
			b = be.BigEndian.AppendUint32(b, n)
		}
	}
	types := func() {
		for i, off := range []int32{offset, offset + 3600} {
			b = be.BigEndian.AppendUint32(b, uint32(off)) //nolint:gosec // two's complement is what is wanted
			b = append(b, byte(i), byte(4*i))
		}
		b = append(b, "STD\x00DST\x00"...)
	}
	header(1)
	b = be.BigEndian.AppendUint32(b, uint32(at.Unix())) //nolint:gosec // until 2106
	b = append(b, 1)
	types()
	b = append(b, "TZif2"...)
	b = append(b, make([]byte, 15)...)
	header(1)
	b = be.BigEndian.AppendUint64(b, uint64(at.Unix())) //nolint:gosec // after 1970
	b = append(b, 1)
	types()
	return append(b, "\n\n"...)
}

// enter logs in and, where that succeeds, tells that the session has begun. It returns
// the answer, and what the audit line says of it: reason and rule.
func (r *rules) enter(t *testing.T, name, source string) (answer, string) {
	t.Helper()
	r.calls++
	x := newChap(name, strings.ToUpper(name[:1])+name[1:]+"-Pass1")
	nas := []string{signed, quoted("User-Name", name), `NAS-Identifier = "gw1"`, quoted("Calling-Station-Id", source),
		quoted("Acct-Session-Id", fmt.Sprintf("00%06x", r.calls)), "Tunnel-Type:0 = PPTP"}
	a := r.ask(t, r.radius, "auth", domainSecret, append(nas, x.attrs...)...)
	if a.code == "Access-Accept" {
		start := append(nas[1:], "Acct-Status-Type = Start", "Class = "+a.get("Class"), "Framed-IP-Address = "+a.get("Framed-IP-Address"))
		if got := r.ask(t, "127.0.0.1:1813", "acct", domainSecret, start...); got.code != "Accounting-Response" {
			t.Fatalf("accounting: %s", got.text)
		}
	}
	e := r.lastLine(t)
	return a, fmt.Sprintf("%s, %v, %v", a.code, e["reason"], e["rule"])
}

func (r *rules) outcome(t *testing.T, name, source string) string {
	t.Helper()
	_, said := r.enter(t, name, source)
	return said
}

// lastLine is the last line of the audit log about a login.
func (r *rules) lastLine(t *testing.T) (last map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e["msg"] == "login" {
			last = e
		}
	}
	return last
}

// TestRules has a real service decide by what the rules look at: addresses, countries,
// nested groups, the clock and its edges, an expiry, and what a device reports.
func TestRules(t *testing.T) {
	r := newRules(t)
	for _, c := range []struct{ name, source, want string }{
		{"alice", "81.2.69.160", "Access-Accept, permitted, nested"},  // vpn-leaf in vpn-mid in vpn-users
		{"alice", "198.51.100.7", "Access-Accept, permitted, nested"}, // of no country that is known
		{"alice", "89.160.20.112", "Access-Reject, policy denied, abroad"},
		{"alice", "192.0.2.127", "Access-Accept, permitted, nested"},
		{"alice", "192.0.2.128", "Access-Reject, source denied, bad-places"},
		{"mike", "81.2.69.160", "Access-Reject, no policy matched, "}, // of no such group
	} {
		if got := r.outcome(t, c.name, c.source); got != c.want {
			t.Errorf("%s from %s: %s, want %s", c.name, c.source, got, c.want)
		}
	}
	t.Run("expiry and edge", r.testInstants)
	t.Run("posture", r.testPosture)
}

// testInstants: at the very second in which frank's rule expires, and at that in which
// bob's clock goes from two to three, logins are refused and the sessions of before end.
func (r *rules) testInstants(t *testing.T) {
	ends := time.Now().Add(8 * time.Second).Truncate(time.Second)
	edge := ends.Add(4 * time.Second)
	r.reload(t, ends, edge)
	for _, c := range []struct {
		name, before, after string
		at                  time.Time
	}{
		{"frank", "Access-Accept, permitted, ends", "Access-Reject, no policy matched, ", ends},
		{"bob", "Access-Accept, permitted, edge", "Access-Reject, no policy matched, ", edge},
	} {
		if got := r.outcome(t, c.name, "81.2.69.160"); got != c.before {
			t.Fatalf("%s before: %s, want %s", c.name, got, c.before)
		}
		if time.Now().After(c.at) {
			t.Fatal("this machine is too slow: the instant has passed")
		}
		r.wasAsked(t, wire.CodeDisconnectRequest)
		late := time.Since(c.at)
		if late < 0 {
			t.Errorf("%s's session ended %v before the instant", c.name, -late)
		}
		t.Logf("%s's session was ended %v after the instant", c.name, late.Round(time.Millisecond))
		if got := r.outcome(t, c.name, "81.2.69.160"); got != c.after {
			t.Errorf("%s after: %s, want %s", c.name, got, c.after)
		}
	}
}

// testPosture: carol's laptop has not reported, and so her session sees the portal only;
// one report lets it through. It is silent for too long, and reports again.
func (r *rules) testPosture(t *testing.T) {
	a, said := r.enter(t, "carol", "81.2.69.160")
	if said != "Access-Accept, isolated, unhealthy" || strings.Trim(a.get("Filter-Id"), `"`) != "quarantine" {
		t.Fatalf("without a report: %s\n%s", said, a.text)
	}
	var ticket struct{ Code string }
	if err := json.Unmarshal([]byte(r.tool(t, "", "device", "ticket", "carol", "-o", "json")), &ticket); err != nil {
		t.Fatal(err)
	}
	r.agent(t, "enrol", "--server", "https://127.0.0.1:8443", "--pin", r.pin(t), "--ticket", ticket.Code)
	lifted := func(what string) {
		began := time.Now()
		if filter := r.wasAsked(t, wire.CodeCoARequest); filter != wire.FilterNone {
			t.Errorf("%s gives filter %q", what, filter)
		}
		t.Logf("let through %v after %s", time.Since(began).Round(time.Millisecond), what)
	}
	lifted("the first report")
	if filter := r.wasAsked(t, wire.CodeCoARequest); filter != "quarantine" {
		t.Errorf("a report that is too old gives filter %q", filter)
	}
	r.agent(t, "report")
	lifted("another report")
	if _, said := r.enter(t, "carol", "81.2.69.160"); said != "Access-Accept, permitted, healthy" {
		t.Errorf("with a report: %s", said)
	}
}

// agent runs the posture agent on carol's laptop.
func (r *rules) agent(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "postern-agent"), append(args, "--dir", filepath.Join(r.dir, "laptop"))...)
	out, err := r.net.OutputOf(cmd)
	if err != nil {
		t.Fatalf("postern-agent %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// pin is the portal's key, as the agent knows it.
func (r *rules) pin(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(r.cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}
