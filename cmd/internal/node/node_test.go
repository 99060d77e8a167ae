package node_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/cmd/internal/pki"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/simnet"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/tun/tuntest"
)

func TestMain(m *testing.M) { os.Exit(cmdtest.Main(m, "postern-radiusd", "postern")) }

var (
	nodeAddr   = netip.MustParseAddr("192.0.2.1")
	clientAddr = netip.MustParseAddr("198.51.100.7")
	inside     = netip.MustParseAddr("203.0.113.1") // as the site's configuration has it
)

// network is what a node needs of the world, made of memory: no test here needs root.
type network struct {
	*simnet.Network
	deps pptp.Deps
	far  *tuntest.Device
}

func newNetwork(t *testing.T) *network {
	n := &network{Network: simnet.New(1)}
	host := n.Host(nodeAddr)
	near, far := tuntest.Pair(1400, 64)
	t.Cleanup(func() { _ = far.Close() })
	n.far = far
	n.deps = pptp.Deps{
		Listen: func(_ context.Context, a netip.AddrPort) (net.Listener, error) {
			if a.Addr() == inside { // for the HTTP of clients in quarantine
				return n.Host(inside).Listen(a.Port())
			}
			return host.Listen(client.Port)
		},
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
		TUN:       near,
	}
	return n
}

// dial logs in from the network.
func (n *network) dial(t *testing.T, user, password string) (*client.Session, error) {
	t.Helper()
	return client.Dial(t.Context(), n.config(user, password))
}

// config is a client's in the network.
func (n *network) config(user, password string) client.Config {
	return n.configAt(clientAddr, user, password)
}

func (n *network) configAt(addr netip.Addr, user, password string) client.Config {
	host := n.Host(addr)
	return client.Config{
		Server: netip.AddrPortFrom(nodeAddr, client.Port), Local: addr, User: user, Password: password, Timeout: 30 * time.Second,
		DialTCP: func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
			return host.Dial(ctx, to)
		},
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
	}
}

// load reads the node's configuration.
func load(t *testing.T, s *cmdtest.Site) *config.Gateway {
	t.Helper()
	cfg, err := config.LoadGateway(s.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func start(t *testing.T, cfg *config.Gateway, o node.Options) *node.Node {
	t.Helper()
	o.Log = logger(t)
	n, err := node.New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	if err := n.Healthy(t.Context()); err == nil {
		t.Error("healthy before it runs")
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	return n
}

// A whole login: our client, a node on a simulated network, RadSec with certificates
// over loopback, the service's binary.
func TestLoginOverRadSec(t *testing.T) {
	s := cmdtest.NewSite(t)
	service := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	service.Await(t, `"msg":"running"`, 1)
	w := newNetwork(t)
	n := start(t, load(t, s), node.Options{Deps: w.deps})
	service.Await(t, `"msg":"nas restarted"`, 1) // Accounting-On

	if _, err := w.dial(t, "plant", "wrong"); !refusedWith(err, 691) {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err := w.dial(t, "alice", cmdtest.Password); !refusedWith(err, 691) {
		t.Errorf("without a code: %v", err)
	}
	up, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	if a := up.Local(); a.Compare(netip.MustParseAddr("203.0.113.10")) < 0 || a.Compare(netip.MustParseAddr("203.0.113.99")) > 0 {
		t.Errorf("address %v is not of the pool", a)
	}
	// The client's end is up when it has acknowledged ours, ours when that has come.
	for end := time.Now().Add(10 * time.Second); n.Sessions() != 1 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if up.Peer() != netip.MustParseAddr("203.0.113.1") || n.Sessions() != 1 {
		t.Errorf("peer %v, %d sessions", up.Peer(), n.Sessions())
	}

	t.Log("new certificates on both sides, while the session stays")
	if err := os.RemoveAll(filepath.Join(s.Dir, "tls")); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.Open(filepath.Join(s.Dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := ca.Issue("service1", pki.ForServer, "127.0.0.1")
	_, err2 := ca.Issue("gw1", pki.ForClient, cmdtest.NodeName)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	service.Signal(t, syscall.SIGHUP)
	service.Await(t, `"msg":"reloaded"`, 1)
	if err := n.Reload(load(t, s)); err != nil {
		t.Fatal(err)
	}
	second, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatalf("after a reload: %v", err)
	}
	if second.Local() == up.Local() {
		t.Error("both sessions have one address")
	}

	t.Log("a broken configuration changes nothing")
	broken := load(t, s)
	broken.TLS.Key = config.File(filepath.Join(s.Dir, "gone"))
	if err := n.Reload(broken); err == nil {
		t.Error("a node without a key")
	}
	third, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatalf("after a reload that failed: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}

	n.Stop()
	if err := n.Wait(); err != nil {
		t.Error(err)
	}
	for _, x := range []*client.Session{up, second} {
		select {
		case <-x.Done():
		case <-time.After(10 * time.Second):
			t.Error("a session outlives its node")
		}
	}
	if err := n.Reload(load(t, s)); err == nil {
		t.Error("a node that has ended was reloaded")
	}
	service.Await(t, `"msg":"nas restarted"`, 2) // Accounting-Off
	service.Signal(t, syscall.SIGTERM)
	if status := service.End(t); status != 0 {
		t.Errorf("the service ended with %d", status)
	}
	out := cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "session", "history", "--events")
	if starts, stops := strings.Count(out, "start  plant"), strings.Count(out, "stop   plant"); starts != 3 || stops != 3 {
		t.Errorf("%d starts and %d stops of 3 sessions:\n%s", starts, stops, out)
	}
	if out := cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "session", "list"); strings.Contains(out, "plant") {
		t.Errorf("sessions are left:\n%s", out)
	}
}

func refusedWith(err error, code int) bool {
	var refused *client.RefusedError
	return errors.As(err, &refused) && refused.Verdict.Code == code
}

// In one process the configured services are not looked at, nor their certificates.
func TestLocalService(t *testing.T) {
	s := cmdtest.NewSite(t)
	cfg := load(t, s)
	cfg.TLS = config.Identity{}
	w := newNetwork(t)
	asked := make(chan struct{}, 100)
	start(t, cfg, node.Options{Deps: w.deps, Local: radius.HandlerFunc(func(context.Context, []byte, radius.Peer) []byte {
		asked <- struct{}{}
		return nil
	})})
	select {
	case <-asked: // Accounting-On
	case <-time.After(10 * time.Second):
		t.Error("the service in this process was not asked")
	}
}

// What does not start leaves nothing behind.
func TestStartFails(t *testing.T) {
	s := cmdtest.NewSite(t)
	before := runtime.NumGoroutine()
	cfg := load(t, s)
	cfg.TLS.Cert = "/nonexistent"
	w := newNetwork(t)
	if _, err := node.New(cfg, node.Options{Deps: w.deps}); err == nil || !strings.Contains(err.Error(), "server service1: ") {
		t.Errorf("without a certificate: %v", err)
	}
	cfg = load(t, s)
	cfg.Spool.Dir = config.File(s.Radiusd) // no directory
	if _, err := node.New(cfg, node.Options{Deps: w.deps}); err == nil {
		t.Error("a node without a spool")
	}
	w = newNetwork(t)
	w.deps.Listen = func(context.Context, netip.AddrPort) (net.Listener, error) { return nil, errors.New("taken") }
	n, err := node.New(load(t, s), node.Options{Deps: w.deps})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("listening where somebody else does: %v", err)
	}
	n.Stop()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}
