package cmdtest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/internal/pki"
	"postern/internal/config"
)

// Site is a directory with the configuration of a service and of a node, and all
// they point to. Users are alice (group VPN-Users) and plant (Plant-Devices, which
// needs no code), both with password Password.
type Site struct {
	Dir                      string
	Radiusd, Gateway, Policy string // files
	Auth, Acct, RadSec       string // addresses of the service
	Metrics, Portal          string // addresses of the service, too
	PPTP                     string // address of the node
	Node                     config.Identity
	Secret                   string // of clients by UDP
}

// Password is everybody's.
const Password = "correct horse"

// NodeName is in the node's certificate.
const NodeName = "gw1.example.org"

// PolicyText permits plant devices without a code and everybody else with one. The
// pool is of TEST-NET-3: no machine is in it.
const PolicyText = `version: 1
pools:
  staff: [203.0.113.10-203.0.113.99]
rules:
  - id: plant
    when: {group: Plant-Devices}
    then:
      permit: {factor: none, pool: staff}
  - id: staff
    when: {group: VPN-Users}
    then:
      permit: {pool: staff, session_timeout: 8h}
tests:
  - name: staff need a code
    user: alice
    groups: [VPN-Users]
    source: 192.0.2.5
    expect: {verdict: permit, rule: staff, factor: code}
`

// NewSite makes a Site. With the program postern among Main's it has a key ring and
// users, too.
func NewSite(t testing.TB) *Site {
	t.Helper()
	dir := t.TempDir()
	s := &Site{
		Dir: dir, Radiusd: filepath.Join(dir, "radiusd.yaml"), Gateway: filepath.Join(dir, "gateway.yaml"), Policy: filepath.Join(dir, "policy.yaml"),
		Auth: FreeUDP(t), Acct: FreeUDP(t), RadSec: FreeTCP(t), Metrics: FreeTCP(t), Portal: FreeTCP(t), PPTP: FreeTCP(t), Secret: "shared-by-test",
	}
	ca, err := pki.Open(filepath.Join(dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue("service1", pki.ForServer, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if s.Node, err = ca.Issue("gw1", pki.ForClient, NodeName); err != nil {
		t.Fatal(err)
	}
	s.Write(t, "secret", s.Secret+"\n")
	s.Write(t, "policy.yaml", PolicyText)
	s.Write(t, "radiusd.yaml", fmt.Sprintf(`node: service1
radius:
  auth_listen: %s
  acct_listen: %s
  radsec: {listen: %q, ca_file: tls/ca.pem, cert_file: tls/service1.pem, key_file: tls/service1.key}
clients:
  - {name: gw1, certificates: [%s]}
  - {name: local, networks: [127.0.0.0/8], secret_file: secret, allow_pap: true}
store: {path: state/store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
audit: {file: audit.json}
inputs: {dir: inputs}
portal: {listen: %q, url: "https://%s", cert_file: tls/service1.pem, key_file: tls/service1.key}
metrics: {listen: %q}
log: {level: debug}
`, s.Auth, s.Acct, s.RadSec, NodeName, s.Portal, s.Portal, s.Metrics))
	s.Write(t, "gateway.yaml", fmt.Sprintf(`node: gw1
pptp: {listen: %q, inside: 203.0.113.1, tun: %s, timers: {drain: 2s}}
radius:
  timeout: 1s
  servers: [{name: service1, address: %q}]
tls: {ca_file: tls/ca.pem, cert_file: tls/gw1.pem, key_file: tls/gw1.key}
spool: {dir: spool}
log: {level: debug}
`, s.PPTP, fmt.Sprintf("pt%d", os.Getpid()), s.RadSec))
	if _, err := os.Stat(Path("postern")); err == nil {
		Must(t, "", "postern", "--config", s.Radiusd, "keyring", "create")
		Must(t, Password, "postern", "--config", s.Radiusd, "user", "add", "alice", "--group", "VPN-Users")
		Must(t, Password, "postern", "--config", s.Radiusd, "user", "add", "plant", "--group", "Plant-Devices")
	}
	return s
}

// Write writes a file of the site.
func (s *Site) Write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Read reads a file of the site.
func (s *Site) Read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Edit replaces old, which must be there, by now in a file of the site.
func (s *Site) Edit(t testing.TB, name, old, now string) {
	t.Helper()
	text := s.Read(t, name)
	if !strings.Contains(text, old) {
		t.Fatalf("%s has no %q", name, old)
	}
	s.Write(t, name, strings.Replace(text, old, now, 1))
}

// FreeTCP is an address of loopback where nobody listens, the test's own until its end.
func FreeTCP(t testing.TB) string {
	t.Helper()
	return free(t, func(addr string) (io.Closer, error) { return net.Listen("tcp", addr) })
}

// FreeUDP is FreeTCP for UDP.
func FreeUDP(t testing.TB) string {
	t.Helper()
	return free(t, func(addr string) (io.Closer, error) { return net.ListenPacket("udp", addr) })
}

// free finds a port below the kernel's ephemeral ones (net.ipv4.ip_local_port_range, from
// 32768 on), so that no connection takes it while nobody listens, and below those of
// redistest. A name of a socket keeps tests of other processes away from it.
func free(t testing.TB, listen func(addr string) (io.Closer, error)) string {
	t.Helper()
	for range 1000 {
		port := 3000 + rand.IntN(9000)
		mine, err := net.Listen("unix", fmt.Sprintf("@postern-test-port-%d", port))
		if err != nil {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := listen(addr); err == nil && l.Close() == nil {
			t.Cleanup(func() { _ = mine.Close() })
			return addr
		}
		_ = mine.Close()
	}
	t.Fatal("no free port")
	return ""
}
