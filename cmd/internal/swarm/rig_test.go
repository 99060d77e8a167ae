package swarm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/seal"
	"postern/internal/simnet"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/tun/tuntest"
)

// rig is a service in this process with users for a swarm: load-0 and on, who need no
// code, and coded-0 and on, who do.
type rig struct {
	*service.Service
	server       radius.Server
	plain, coded []User
}

const rigPolicy = `version: 1
pools:
  wide: [10.60.0.0/16]
  narrow: [10.61.0.1-10.61.0.4]
rules:
  - id: coded
    when: {group: Coded}
    then:
      permit: {pool: wide}
  - id: narrow
    when: {group: Narrow}
    then:
      permit: {factor: none, pool: narrow}
  - id: load
    when: {group: Load}
    then:
      permit: {factor: none, pool: wide, interim: 1m}
`

func newRig(t *testing.T, plain, coded int) *rig {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"policy.yaml": rigPolicy, "secret": "shared-by-test\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ring, err := seal.CreateFile(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	var accounts []directory.User
	var passwords []string
	for i := range plain {
		accounts, passwords = append(accounts, directory.User{Name: fmt.Sprint("load-", i), Groups: []string{"Load"}}), append(passwords, fmt.Sprint("password ", i))
	}
	for i := range coded {
		accounts, passwords = append(accounts, directory.User{Name: fmt.Sprint("coded-", i), Groups: []string{"Coded"}}), append(passwords, fmt.Sprint("password ", i))
	}
	for i := range 8 {
		accounts, passwords = append(accounts, directory.User{Name: fmt.Sprint("narrow-", i), Groups: []string{"Narrow"}}), append(passwords, "password")
	}
	if err := (&directory.Users{Path: filepath.Join(dir, "users"), Ring: ring}).AddAll(accounts, passwords); err != nil {
		t.Fatal(err)
	}
	auth, acct := cmdtest.FreeUDP(t), cmdtest.FreeUDP(t)
	cfg, err := config.ParseService(filepath.Join(dir, "radiusd.yaml"), fmt.Appendf(nil, `
radius: {auth_listen: %q, acct_listen: %q}
clients: [{name: local, networks: [127.0.0.0/8], secret_file: secret}]
store: {path: state/store.db}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
audit: {file: audit.json}
`, auth, acct))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{server: radius.Server{Name: "here", Network: "udp", Addr: auth, AcctAddr: acct, Secret: radius.NewSecret("shared-by-test")}}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	if r.Service, err = service.New(cfg, service.Options{Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for i, a := range accounts {
		totp := ""
		if a.Groups[0] == "Coded" {
			e, err := r.MFA().Enroll(t.Context(), time.Now(), a.Name, "swarm")
			if err != nil {
				t.Fatal(err)
			}
			totp = enrolled(e)
		}
		u, err := parseUser([]string{a.Name, passwords[i], totp})
		if err != nil {
			t.Fatal(err)
		}
		if totp == "" {
			r.plain = append(r.plain, u)
		} else {
			r.coded = append(r.coded, u)
		}
	}
	return r
}

func enrolled(e *mfa.Enrolment) string { return e.URL }

// narrow are the users of a pool of four addresses.
func (r *rig) narrow() []User { return r.plain[len(r.plain)-8:] }

// node is a node in this process on a simulated network, with the rig for its service.
func (r *rig) node(t *testing.T, n *simnet.Network, addr netip.Addr) *node.Node {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret") // of a service that nobody asks: there is one here
	if err := os.WriteFile(secret, []byte("shared-by-test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.ParseGateway("gateway.yaml", fmt.Appendf(nil, `
node: %s
pptp: {listen: "%v:1723", inside: 10.59.0.1, limits: {per_source_rate: 60000, per_source: 1000, half_open: 1000}, timers: {drain: 1s}}
radius: {servers: [{name: x, transport: udp, address: "127.0.0.1:1", acct_address: "127.0.0.1:2", secret_file: %q}]}
spool: {dir: %q}
`, "gw-"+addr.String(), addr, secret, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	host := n.Host(addr)
	near, far := tuntest.Pair(1400, 1024)
	deps := pptp.Deps{
		Listen:    func(context.Context, netip.AddrPort) (net.Listener, error) { return host.Listen(client.Port) },
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
		TUN:       near,
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	g, err := node.New(cfg, node.Options{Log: log, Local: r.Handler(), Deps: deps})
	if err != nil {
		t.Fatal(err)
	}
	echoes := make(chan struct{})
	go func() { // ends with far
		defer close(echoes)
		echo(far)
	}()
	t.Cleanup(func() {
		g.Stop()
		_ = g.Wait()
		_ = far.Close()
		<-echoes
	})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

// echo answers pings as the kernel behind a TUN device does.
func echo(d *tuntest.Device) {
	bufs, sizes := make([][]byte, 32), make([]int, 32)
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	for {
		n, err := d.ReadBatch(bufs, sizes, 0)
		if err != nil {
			return
		}
		for i := range n {
			b := bufs[i][:sizes[i]]
			if len(b) < 28 || b[0] != 0x45 || b[9] != 1 || b[20] != 8 {
				continue
			}
			src, dst := [4]byte(b[12:16]), [4]byte(b[16:20])
			copy(b[12:], dst[:])
			copy(b[16:], src[:])
			b[20] = 0
			sum := uint32(binary.BigEndian.Uint16(b[22:])) + 0x0800 // RFC 1624: the type was 8
			binary.BigEndian.PutUint16(b[22:], uint16(sum+sum>>16))
			if _, err := d.WriteBatch([][]byte{b}, 0); err != nil && errors.Is(err, os.ErrClosed) {
				return
			}
		}
	}
}
