package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/authz/directory"
	"postern/authz/nodes"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	whole "postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/simnet"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/tun/tuntest"
)

// many is a service and two nodes in one process, on a simulated network.
type many struct {
	net     *simnet.Network
	service *whole.Service
	nodes   [2]*node.Node
	at      [2]netip.Addr
	secrets []string // of the users' tokens
}

func userName(i int) string { return fmt.Sprintf("user%03d", i) }

func manyAt(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(100 + i/200), byte(1 + i%200)})
}

func newMany(t *testing.T, users int) *many {
	t.Helper()
	m := &many{net: simnet.New(1), at: [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("users", "")
	write("secret", "shared-by-test")
	write("policy.yaml", `version: 1
pools:
  all: [203.0.113.0-203.0.113.255, 198.18.0.0/23]
rules:
  - id: staff
    when: {group: VPN-Users}
    then:
      permit: {carriers: [inline, remembered], remember: {for: 8h}, pool: all}
`)
	cfg, err := config.LoadService(write("radiusd.yaml", `node: service1
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813"}
clients: [{name: local, networks: [127.0.0.0/8], secret_file: secret}]
store: {path: state/store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
`))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := whole.OpenRing(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	list := &directory.Users{Path: filepath.Join(dir, "users"), Ring: ring}
	for i := range users {
		if err := list.Add(directory.User{Name: userName(i), Groups: []string{"VPN-Users"}}, cmdtest.Password); err != nil {
			t.Fatal(err)
		}
	}
	// It answers without being started, and without a port: those would stop the clock.
	if m.service, err = whole.New(cfg, whole.Options{Audit: io.Discard, Local: []netip.Prefix{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.service.Stop)
	m.secrets = make([]string, users)
	var all sync.WaitGroup
	for i := range users {
		all.Go(func() { // together they need few commits
			e, err := m.service.MFA().Enroll(t.Context(), time.Now(), userName(i), "telephone")
			if err != nil {
				t.Error(err)
			}
			m.secrets[i] = e.Secret
		})
	}
	all.Wait()
	for i := range m.nodes {
		cfg, err := config.ParseGateway("gateway.yaml", fmt.Appendf(nil, `
node: gw%d
pptp: {listen: "%v:1723", inside: 10.99.0.%[1]d}
radius:
  servers: [{name: s, transport: udp, address: "127.0.0.1:1812", acct_address: "127.0.0.1:1813", secret_env: UNUSED}]
`, i+1, m.at[i]))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Spool.Dir = ""
		host := m.net.Host(m.at[i])
		near, far := tuntest.Pair(1400, 64)
		t.Cleanup(func() { _ = far.Close() })
		m.nodes[i], err = node.New(cfg, node.Options{Local: m.service.Handler(), Log: slog.New(slog.DiscardHandler), Deps: pptp.Deps{
			Listen:    func(_ context.Context, a netip.AddrPort) (net.Listener, error) { return host.Listen(a.Port()) },
			ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
			TUN:       near,
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.nodes[i].Stop)
		if err := m.nodes[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// dial logs user i in at a node.
func (m *many) dial(ctx context.Context, i, at int, name string) (*client.Session, error) {
	host := m.net.Host(manyAt(i))
	return client.Dial(ctx, client.Config{
		Server: netip.AddrPortFrom(m.at[at], client.Port), Local: manyAt(i), User: name, Password: cmdtest.Password, Timeout: 30 * time.Second,
		DialTCP: func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
			return host.Dial(ctx, to)
		},
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
	})
}

// A node with 200 tunnels is drained: none is cut before its turn, and all come back at
// the other node, with the address that they had and without a new code.
func TestDrainMany(t *testing.T) {
	const users, rate, wait = 200, 600, 20 * time.Second
	synctest.Test(t, func(t *testing.T) {
		m := newMany(t, users)
		up := make([]*client.Session, users)
		var all sync.WaitGroup
		for i := range up {
			all.Go(func() {
				code, err := totp.GenerateCode(m.secrets[i], time.Now())
				if err != nil {
					t.Error(err)
				}
				if up[i], err = m.dial(t.Context(), i, 0, userName(i)+"+"+code); err != nil {
					t.Errorf("%s: %v", userName(i), err)
				}
			})
		}
		all.Wait()
		if n := m.nodes[0].Sessions(); n != users {
			t.Fatalf("%d sessions", n)
		}
		asked := time.Now()
		if err := nodes.New(m.service.Store()).Drain(t.Context(), "gw1", nodes.Drain{Rate: rate, Wait: wait}); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var ended, back []time.Duration
		var refusals int
		for i := range up {
			all.Go(func() {
				<-up[i].Done()
				mu.Lock()
				ended = append(ended, time.Since(asked))
				mu.Unlock()
				var how *client.EndedError
				if err := up[i].Err(); !errors.As(err, &how) {
					t.Errorf("%s was cut: %v", userName(i), err)
				}
				// Whoever calls the node that drains is told that it is busy, and takes the other.
				time.Sleep(rand.N(time.Second))
				_, err := m.dial(t.Context(), i, 0, userName(i))
				var refused *client.CallRefusedError
				if !errors.As(err, &refused) || refused.Result != control.CallBusy {
					t.Errorf("%s at the node that drains: %v", userName(i), err)
				}
				s, err := m.dial(t.Context(), i, 1, userName(i))
				if err != nil {
					t.Errorf("%s at the other node: %v", userName(i), err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				refusals++
				back = append(back, time.Since(asked))
				if s.Local() != up[i].Local() {
					t.Errorf("%s had %v, and has %v", userName(i), up[i].Local(), s.Local())
				}
			})
		}
		all.Wait()
		slices.Sort(ended)
		for k, at := range ended { // the node cannot have heard before it was asked
			if turn := wait + time.Duration(k)*time.Minute/rate; at < turn {
				t.Errorf("the %dth was cut %v before its turn", k, turn-at)
			}
		}
		if len(ended) != users || len(back) != users || refusals != users || m.nodes[1].Sessions() != users || m.nodes[0].Sessions() != 0 {
			t.Fatalf("%d ended, %d came back, %d and %d sessions", len(ended), len(back), m.nodes[0].Sessions(), m.nodes[1].Sessions())
		}
		time.Sleep(15 * time.Second) // the last stops, and a report
		n, err := nodes.New(m.service.Store()).Look(t.Context(), "gw1")
		if err != nil || n.State != radius.NodeDrained.String() {
			t.Errorf("%+v, %v", n, err)
		}
		live, err := m.service.Sessions().All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(live) != users {
			t.Errorf("%d sessions in the registry", len(live))
		}
		for _, rec := range live {
			if rec.Node != "gw2" {
				t.Errorf("%s is at %s", rec.User, rec.Node)
			}
		}
		slices.Sort(back)
		t.Logf("%d tunnels at %d a minute after %v: first ended after %v, last after %v; the last was back after %v",
			users, rate, wait, ended[0], ended[users-1], back[users-1])
		for _, s := range up {
			_ = s.Close()
		}
	})
}
