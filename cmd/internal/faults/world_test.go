//go:build integration

package faults

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/faults/history"
	"postern/cmd/internal/pki"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/store"
)

const password = "correct horse"

// most is how many sessions a plant may have.
const most = 2

// policyText has a pool that is too small for everybody, so that addresses are given
// again at once.
const policyText = `version: 1
pools:
  all: [%s]
rules:
  - id: plant
    when: {group: Plant-Devices}
    then:
      permit: {factor: none, pool: all, sessions: %d}
  - id: roaming
    when: {group: Roaming}
    then:
      permit: {carriers: [inline, remembered], remember: {for: 8h}, pool: all}
  - id: staff
    when: {group: VPN-Users}
    then:
      permit: {pool: all}
`

// world is services, NAS and users around one store, and what happened.
type world struct {
	t        *testing.T
	dir      string
	cfg      *config.Service // of the first service
	services []*process
	nases    []*nas
	people

	store    store.Store // our own, to look into in the end
	sessions *session.Registry
	shield   *lockout.Shield

	mu   sync.Mutex
	all  []*history.Session
	byID map[string]*history.Session
	code map[string]int // logins that were not let in, by what their client was told
}

// layout is what a world is made of.
type layout struct {
	services, nases       int
	nodes                 int    // real ones, which the test starts
	host                  string // where services listen; "": loopback
	plants, staff, guests int    // users; guests only guess
	roaming               int
	pool                  string
	store                 []string // lines of the store's configuration
}

func newWorld(t *testing.T, l layout) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), byID: make(map[string]*history.Session), code: make(map[string]int)}
	ca, err := pki.Open(filepath.Join(w.dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	w.write("policy.yaml", fmt.Sprintf(policyText, l.pool, most))
	w.write("users", "")
	var clients strings.Builder
	for i := range l.nases {
		name := fmt.Sprintf("gw%d", i+1)
		id, err := ca.Issue(name, pki.ForClient, name+".example.org")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&clients, "  - {name: %s, certificates: [%s.example.org]}\n", name, name)
		w.nases = append(w.nases, &nas{w: w, name: name, identity: id, dir: filepath.Join(w.dir, name)})
	}
	for i := range l.nodes {
		name := fmt.Sprintf("node%d", i+1)
		if _, err := ca.Issue(name, pki.ForClient, name+".example.org"); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&clients, "  - {name: %s, certificates: [%s.example.org], node: true}\n", name, name)
	}
	host := cmp.Or(l.host, "127.0.0.1")
	for i := range l.services {
		_, port, _ := net.SplitHostPort(cmdtest.FreeTCP(t))
		p := &process{w: w, name: fmt.Sprintf("service%d", i+1), addr: net.JoinHostPort(host, port)}
		if _, err := ca.Issue(p.name, pki.ForServer, host); err != nil {
			t.Fatal(err)
		}
		w.write(p.name+".yaml", fmt.Sprintf(`node: %s
radius:
  radsec: {listen: %q, ca_file: tls/ca.pem, cert_file: tls/%[1]s.pem, key_file: tls/%[1]s.key}
clients:
%[3]sstore:
  kind: redis
  %[4]s
key_ring_file: keys
users_file: users
policy_file: policy.yaml
audit: {file: %[1]s.audit}
disclose: full
session: {interim: 60s, start: %[5]v}
follow: {interval: 0s}
accounting: {history: 5000000}
# Each user's failures are counted, and nobody is locked out.
lockout:
  user: {failures: 200, window: 24h}
  pair: {failures: 200, window: 24h}
  code: {failures: 200, window: 24h}
  never_block: [100.64.0.0/10]
log: {level: info}
`, p.name, p.addr, clients.String(), strings.Join(l.store, "\n  "), start))
		w.services = append(w.services, p)
	}
	if w.cfg, err = quick(filepath.Join(w.dir, "service1.yaml")); err != nil {
		t.Fatal(err)
	}
	if w.store, err = service.OpenStore(w.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.sessions, w.shield = service.NewSessions(w.cfg, w.store), service.NewShield(w.cfg)
	w.populate(l)

	t.Cleanup(w.end)
	for _, p := range w.services {
		p.start()
	}
	for _, p := range w.services {
		w.await("service "+p.name, 20*time.Second, func() bool {
			c, err := net.Dial("tcp", p.addr)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	for _, n := range w.nases {
		n.start()
	}
	return w
}

// end stops what runs, and shows the services' words where the test has failed.
func (w *world) end() {
	for _, n := range w.nases {
		n.kill()
	}
	for _, p := range w.services {
		if p.cmd == nil {
			continue
		}
		p.kill()
		if b, err := os.ReadFile(filepath.Join(w.dir, p.name+".log")); err == nil && w.t.Failed() {
			w.t.Logf("the last words of %s:\n%s", p.name, b[max(0, len(b)-4000):])
		}
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// await polls until f holds, or ends the test.
func (w *world) await(what string, most time.Duration, f func() bool) {
	w.t.Helper()
	if !within(most, f) {
		w.t.Fatalf("%s: not within %v", what, most)
	}
}

// within polls until f holds, and says whether it did.
func within(most time.Duration, f func() bool) bool {
	for end := time.Now().Add(most); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// servers are the services as a NAS asks them.
func (w *world) servers(id config.Identity) ([]radius.Server, error) {
	var all []radius.Server
	for _, p := range w.services {
		conf, err := radius.ClientTLS(radius.TLSFiles{Cert: string(id.Cert), Key: string(id.Key), CA: string(id.CA)}, "127.0.0.1")
		if err != nil {
			return nil, err
		}
		all = append(all, radius.Server{Name: p.name, Network: "radsec", Addr: p.addr, TLS: conf})
	}
	return all, nil
}

// people are the users.
type people struct {
	plants, staff, roaming, guests []*user
}

// user is one account, and what is remembered for its next login.
type user struct {
	name   string
	secret string // of the token, base32
	source netip.Addr

	mu   sync.Mutex
	step int64 // the last one whose code was typed
}

// populate makes the accounts.
func (w *world) populate(l layout) {
	ring, err := service.OpenRing(w.cfg, true)
	if err != nil {
		w.t.Fatal(err)
	}
	users := &directory.Users{Path: filepath.Join(w.dir, "users"), Ring: ring}
	verifier := service.NewVerifier(w.cfg, w.store, ring)
	make := func(n int, kind, group string, token bool) (made []*user) {
		for i := range n {
			u := &user{name: fmt.Sprintf("%s%03d", kind, i), source: anywhere()}
			if err := users.Add(directory.User{Name: u.name, Groups: []string{group}}, password); err != nil {
				w.t.Fatal(err)
			}
			if token {
				w.await("a token for "+u.name, 20*time.Second, func() bool { // replicas come up one by one
					e, err := verifier.Enroll(w.t.Context(), time.Now(), u.name, "telephone")
					if err == nil {
						u.secret = e.Secret
					}
					return err == nil
				})
			}
			made = append(made, u)
		}
		return made
	}
	w.plants = make(l.plants, "plant", "Plant-Devices", false)
	w.staff = make(l.staff, "staff", "VPN-Users", true)
	w.roaming = make(l.roaming, "roam", "Roaming", true)
	w.guests = make(l.guests, "guest", "VPN-Users", false)
}

// anywhere is an address of 100.64.0.0/10 (RFC 6598).
func anywhere() netip.Addr {
	return netip.AddrFrom4([4]byte{100, 64 | byte(rand.N(64)), byte(rand.N(256)), byte(1 + rand.N(254))})
}
