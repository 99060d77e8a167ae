package scale

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/internal/node"
	"postern/internal/config"
	"postern/internal/store/redistest"
	"postern/pptp"
	"postern/pptp/tun/tuntest"
)

// dials measures whole dials: clients of ours by TCP and GRE on loopback, nodes in
// this process, one service, one Redis. With a TUN device clients ping through the
// kernel; without one the packets end in this process, and nothing is asked of them.
func dials(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for raw sockets and TUN devices")
	}
	const clients = 300
	for _, c := range []struct {
		nodes int
		tun   bool
	}{{1, false}, {2, false}, {1, true}, {2, true}} {
		t.Run(fmt.Sprintf("%d nodes, TUN %v", c.nodes, c.tun), func(t *testing.T) {
			r := redistest.Start(t, redistest.Fsync("everysec"))
			s := newSite(t, 1, clients, []string{r.URL()})
			var servers []string
			for i := range c.nodes {
				servers = append(servers, fmt.Sprintf("127.78.0.%d", i+1))
				s.node(t, servers[i], i, c.tun)
			}
			args := []string{"--server", strings.Join(servers, ","), "--clients", fmt.Sprint(clients), "--rate", "0", "--hold", "5s", "--timeout", "60s"}
			if c.tun {
				args = append(args, "--traffic", "10kbit")
			}
			before, own := s.usage(t, []*redistest.Server{r}), self(t)
			res := s.dial(t, args...).wait(t)
			used, n := s.usage(t, []*redistest.Server{r}).since(before), float64(res.Accepted)
			x := step(res, "dial")
			t.Logf("%d dials: %.0f logins/s, p50 %.0f ms, p99 %.0f ms; CPU of a dial and %v of its session: nodes %.1f ms, service %.1f ms, redis %.1f ms; traffic %+v",
				res.Accepted, res.PerSecond, x.P50, x.P99, 5*time.Second, 1000*(self(t)-own)/n, 1000*used.service/n, 1000*used.redis/n, res.Traffic)
			if x := res.Traffic; c.tun && (x == nil || x.Answered == 0) {
				t.Errorf("no ping was answered: %+v", x)
			}
		})
	}
}

// node starts a node.
func (s *site) node(t *testing.T, addr string, i int, tun bool) {
	t.Helper()
	flag := func(name string) string {
		for k, arg := range s.where {
			if arg == name {
				return s.where[k+1]
			}
		}
		return ""
	}
	cfg, err := config.ParseGateway(s.path("gateway.yaml"), fmt.Appendf(nil, `
node: gw%d
pptp:
  listen: "%s:1723"
  inside: 10.127.0.%[1]d
  tun: scale%[1]d
  limits: {per_source_rate: 60000, per_source: 1000, half_open: 1000}
  timers: {drain: 1s}
filter: {enabled: false}
radius:
  timeout: 5s
  servers: [{name: service1, transport: udp, address: %[3]q, acct_address: %[4]q, secret_file: secret}]
spool: {dir: %[5]q}
`, i+1, addr, flag("--server"), flag("--acct"), t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	var deps pptp.Deps
	if !tun {
		near, far := tuntest.Pair(1400, 1024)
		deps.TUN = near
		t.Cleanup(func() { _ = far.Close() })
	}
	g, err := node.New(cfg, node.Options{Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Deps: deps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Stop()
		_ = g.Wait()
	})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
}

// self is what this process has used of CPUs, in seconds.
func self(t *testing.T) float64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
