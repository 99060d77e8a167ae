package node_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/directory/ad"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/integration/samba"
	"postern/internal/config"
	"postern/internal/ldapc"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
	"postern/pptp/client"
	"postern/radiusd"
)

// domainPolicy lets vpn-users change an expired password, with a code. Others may come
// in, too, but not change anything.
const domainPolicy = `version: 1
pools: {staff: [203.0.113.10-203.0.113.99]}
rules:
  - {id: staff, when: {group: vpn-users}, then: {permit: {pool: staff, password_change: true}}}
  - {id: fixed, when: {user: grace@lab.example}, then: {permit: {pool: staff, factor: none}}}
`

// service is one in this process.
type service struct {
	handler *radiusd.Server
	secrets map[string]string // TOTP

	mu    sync.Mutex
	audit bytes.Buffer
}

func (d *service) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.audit.Write(b)
}

// newService runs one over a directory; the users named have a token.
func newService(t *testing.T, dir directory.Directory, users ...string) *service {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := &service{secrets: map[string]string{}}
	ring, err := seal.CreateFile(filepath.Join(t.TempDir(), "keys"))
	must(err)
	p, err := policy.Load("policy.yaml", []byte(domainPolicy))
	must(err)
	st, err := store.OpenEmbedded(store.EmbeddedConfig{Path: filepath.Join(t.TempDir(), "store.db")})
	must(err)
	t.Cleanup(func() { _ = st.Close() })
	tokens, sessions := mfa.New(st, ring, mfa.Config{}), session.New(st, session.Config{})
	for _, user := range users {
		e, err := tokens.Enroll(context.Background(), time.Now(), user, "phone")
		must(err)
		d.secrets[user] = e.Secret
	}
	decider, err := authz.New(authz.Config{
		Directory: dir, Store: st, Shield: lockout.New(lockout.Config{}), MFA: tokens, Sessions: sessions,
		Policy: p, Audit: authz.NewAudit(d),
	})
	must(err)
	d.handler, err = radiusd.New(radiusd.Config{}, decider, authz.NewBookkeeper(sessions, nil, logger(t)), logger(t), nil)
	must(err)
	must(d.handler.Start())
	t.Cleanup(func() {
		d.handler.Stop()
		if err := d.handler.Wait(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// domain is a realm of a real domain controller.
func domain(t *testing.T, dc *samba.DC) *directory.Realms {
	t.Helper()
	pem, err := os.ReadFile(dc.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	cas := x509.NewCertPool()
	cas.AppendCertsFromPEM(pem)
	back, err := ad.New(ad.Config{
		Domain: dc.Domain, NetBIOS: dc.NetBIOS, Machine: strings.TrimSuffix(dc.MachineAccount, "$"),
		Secret:  func() (*ad.Secret, error) { return &ad.Secret{Password: []byte(dc.MachinePassword)}, nil },
		Servers: []string{dc.Addr.String()}, TLS: ldapc.LDAPS, CA: cas, Timeout: 5 * time.Second, Cache: time.Minute, Log: logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(back.Close)
	realms, err := directory.NewRealms(directory.Realm{
		Name: "lab", Directory: back, Before: []string{dc.NetBIOS}, Behind: []string{dc.Domain}, Default: true, Suffix: dc.Domain,
	})
	if err != nil {
		t.Fatal(err)
	}
	return realms
}

// code is a user's code, of this period of 30 s or the next.
func (d *service) code(t *testing.T, user string, next int) string {
	t.Helper()
	c, err := totp.GenerateCode(d.secrets[user], time.Now().Add(time.Duration(next)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// last are reason and change of the decisions since it was called before.
func (d *service) last(t *testing.T) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for line := range strings.Lines(d.audit.String()) {
		var r struct {
			Msg, Reason, Factor string
			Change              bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Msg != "login" { // what the shield has found, besides
			continue
		}
		all = append(all, fmt.Sprintf("%s/%s/%v", r.Reason, r.Factor, r.Change))
	}
	d.audit.Reset()
	return strings.Join(all, ", ")
}

// TestPasswordChange: people of a real domain whose passwords have expired change them
// in the login dialogue: our client, a node on a simulated network, a service over
// Samba.
func TestPasswordChange(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	t.Log(samba.Version(t))
	const zoe, judy = "zoe@lab.example", "judy@lab.example"
	d := newService(t, domain(t, dc), zoe, judy)
	cfg := load(t, cmdtest.NewSite(t))
	cfg.TLS = config.Identity{}
	w := newNetwork(t)
	n := start(t, cfg, node.Options{Deps: w.deps, Local: d.handler})
	go w.echo() // ends with the network
	behind := netip.MustParseAddr("203.0.113.200")
	const fresh = "Neu-Pass1-€-😀"
	dial := func(user, password, newPassword string) (*client.Session, error) {
		c := w.config(user, password)
		c.NewPassword = newPassword
		return client.Dial(t.Context(), c)
	}
	refused := func(what string, err error, code int, audit string) {
		t.Helper()
		if got := d.last(t); !refusedWith(err, code) || got != audit {
			t.Errorf("%s: %v (%s), want %d (%s)", what, err, got, code, audit)
		}
	}
	session := func(what string, s *client.Session, err error, changed bool, audit string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v (%s)", what, err, d.last(t))
		}
		if send, recv := s.MPPE(); send != "128-bit stateless" || recv != send || s.PasswordChanged() != changed {
			t.Errorf("%s: MPPE %s, %s, changed %v", what, send, recv, s.PasswordChanged())
		}
		if got := d.last(t); got != audit {
			t.Errorf("%s: %s, want %s", what, got, audit)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := s.Ping(ctx, behind, 500); err != nil {
			t.Errorf("%s: ping: %v", what, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}

	// zoe must change her password at the next logon.
	_, err := dial("zoe", "Zoe-Pass1", fresh)
	refused("without a code", err, 648, "password must change/none/false")
	_, err = dial("zoe+"+d.code(t, zoe, 0), "guess", fresh)
	refused("with a wrong password", err, 691, "wrong password/none/false")
	if bad := dc.BadPwdCount(t, "zoe"); bad != 1 {
		t.Errorf("the domain counts %d wrong passwords, want that one", bad)
	}
	s, err := dial(`LAB\zoe+`+d.code(t, zoe, 0), "Zoe-Pass1", fresh)
	session("zoe", s, err, true, "password must change/code/false, permitted/code/true")
	_, err = dial("zoe+"+d.code(t, zoe, 1), "Zoe-Pass1", "")
	refused("the old password", err, 691, "wrong password/none/false")
	s, err = dial("zoe@lab.example+"+d.code(t, zoe, 1), fresh, "")
	session("zoe, with the new password", s, err, false, "permitted/code/false")

	// judy's password is too old. What the domain thinks of the new one is its own.
	typed := "judy+" + d.code(t, judy, 0)
	_, err = dial(typed, "Judy-Pass1", "weak")
	refused("a weak password", err, 709, "password expired/code/false, new password refused/code/true")
	_, err = dial(typed, "Judy-Pass1", fresh)
	refused("the same code again", err, 691, "code replayed/none/false")
	s, err = dial("judy+"+d.code(t, judy, 1), "Judy-Pass1", fresh)
	session("judy", s, err, true, "password expired/code/false, permitted/code/true")

	// grace must change hers, and may not do so here.
	_, err = dial("grace", "Grace-Pass1", fresh)
	refused("against the policy", err, 648, "password must change/none/false")
	if bad := dc.BadPwdCount(t, "grace"); bad != 0 {
		t.Errorf("%d wrong passwords of grace", bad)
	}
	for late := time.Now().Add(10 * time.Second); n.Sessions() != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d sessions are left", n.Sessions())
		}
	}
}

// echo answers the pings that arrive behind the node, until the device closes. Where
// an answer comes back, both ends have the same keys.
func (n *network) echo() {
	bufs, sizes := [][]byte{make([]byte, 2048)}, make([]int, 1)
	for {
		if _, err := n.far.ReadBatch(bufs, sizes, 0); err != nil {
			return
		}
		b := bufs[0][:sizes[0]]
		if len(b) < 28 || b[9] != 1 || b[20] != 8 {
			continue
		}
		src := [4]byte(b[12:16])
		copy(b[12:], b[16:20])
		copy(b[16:], src[:])
		// An Echo Reply, and a checksum that grows by as much as the type shrinks (RFC 1624).
		sum := uint32(b[22])<<8 | uint32(b[23])
		sum += 8 << 8
		sum = sum>>16 + sum&0xffff
		b[20], b[22], b[23] = 0, byte(sum>>8), byte(sum)
		if _, err := n.far.WriteBatch([][]byte{b}, 0); err != nil {
			return
		}
	}
}
