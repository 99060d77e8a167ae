//go:build integration

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/integration/netlab"
	"postern/internal/store/redistest"
	"postern/pptp/client"
)

// machine is a node on a machine of its own: a whole postern-gateway in a network namespace.
type machine struct {
	w    *world
	name string
	addr netip.AddrPort
	net  *netlab.Namespace
	cmd  *exec.Cmd
	ends chan struct{}
}

// apartEnv names the test that runs in a network namespace of its own.
const apartEnv = "POSTERN_FAULTS_APART"

// apart runs the test once more in a network namespace that ends with it, and returns
// whether this is that run.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apartEnv) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), apartEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return false
}

const (
	bridge = "br0"
	host   = "10.77.0.1" // of services and, with others beside it, of clients
	homes  = 25          // addresses that clients dial from
)

// newMachine starts a node on the bridge.
func (w *world) newMachine(lab *netlab.Namespace, n int) *machine {
	t := w.t
	t.Helper()
	m := &machine{w: w, name: fmt.Sprintf("node%d", n), addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(10 + n)}), 1723), net: netlab.New(t)}
	lab.Join(t, bridge, m.net, "eth0", m.addr.Addr().String()+"/16")
	lab.Run(t, "ip", "link", "set", "p-eth0", "name", "p-"+m.name)
	var servers strings.Builder
	for _, p := range w.services {
		fmt.Fprintf(&servers, "    - {name: %s, transport: radsec, address: %q}\n", p.name, p.addr)
	}
	w.write(m.name+".yaml", fmt.Sprintf(`node: %[1]s
pptp:
  listen: %[2]v
  inside: 10.99.0.1
  limits: {per_source: 1000, per_source_rate: 60000}
radius:
  timeout: 1s
  retries: 1
  servers:
%[3]stls: {ca_file: tls/ca.pem, cert_file: tls/%[1]s.pem, key_file: tls/%[1]s.key}
spool: {dir: %[1]s.spool}
log: {level: info}
`, m.name, m.addr, servers.String()))
	out, err := os.OpenFile(filepath.Join(w.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	m.cmd, m.ends = exec.Command("/proc/self/exe"), make(chan struct{})
	m.cmd.Env = append(os.Environ(), nodeEnv+"="+filepath.Join(w.dir, m.name+".yaml"))
	m.cmd.Stdout, m.cmd.Stderr = out, out
	if err := m.net.Start(m.cmd); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = m.cmd.Wait()
		close(m.ends)
	}()
	t.Cleanup(func() {
		m.kill()
		if b, err := os.ReadFile(filepath.Join(w.dir, m.name+".log")); err == nil && t.Failed() {
			t.Logf("the last words of %s:\n%s", m.name, b[max(0, len(b)-4000):])
		}
	})
	return m
}

func (m *machine) kill() {
	_ = m.cmd.Process.Kill()
	<-m.ends
}

// caller is a user at a computer of his own.
type caller struct {
	*user
	host    *client.Host
	session *client.Session
	addr    netip.Addr // inside
	ended   time.Time
	back    time.Duration // from the end of his tunnel until he had another
}

// dial calls a node, with a code or without.
func (c *caller) dial(ctx context.Context, m *machine, coded bool) error {
	name := c.name
	if coded {
		code, ok := c.fresh()
		if !ok {
			return errors.New("this half minute's code is used")
		}
		name += "+" + code
	}
	s, err := c.host.Dial(ctx, client.Config{Server: m.addr, User: name, Password: password, Timeout: 30 * time.Second})
	if err == nil {
		c.session, c.addr = s, s.Local()
	}
	return err
}

// busy tells whether a node takes no calls.
func busy(err error) bool {
	var call *client.CallRefusedError
	return errors.As(err, &call)
}

// each does something for all callers, a few at a time.
func each(all []*caller, f func(i int, c *caller) error) error {
	var mu sync.Mutex
	var failed []error
	var wg sync.WaitGroup
	slots := make(chan struct{}, 20)
	for i, c := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(i, c); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("%s: %w", c.name, err))
			}
		})
	}
	wg.Wait()
	if len(failed) > 10 {
		failed = append(failed[:10:10], fmt.Errorf("and %d more", len(failed)-10))
	}
	return errors.Join(failed...)
}

// alive says that packets pass each tunnel both ways.
func alive(ctx context.Context, all []*caller) error {
	return each(all, func(_ int, c *caller) (err error) {
		for range 3 { // a packet may be lost where so many pass
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			_, err = c.session.Ping(ctx, c.session.Peer(), 56)
			cancel()
			if err == nil {
				return nil
			}
		}
		return fmt.Errorf("%v: %w", c.addr, err)
	})
}

// Four nodes, two services and a Redis Cluster, with MPPE tunnels of our client's. A primary
// is killed, and no tunnel falls. A node with five hundred tunnels is killed: within three
// interims the registry has none of them, and their users get in elsewhere, with the
// addresses that they had and without a new code. Another with two hundred is drained: it
// takes no calls, ends each tunnel in its turn, and their users, who dial again at once, are
// back elsewhere with their addresses and without a code.
func TestNodes(t *testing.T) {
	if !apart(t) {
		return
	}
	const crowd, others, bystanders = 500, 200, 20
	lab := netlab.Here(t)
	lab.Run(t, "ip", "link", "set", "lo", "up")
	lab.Bridge(t, bridge, host+"/16")
	cluster := redistest.StartCluster(t, 1)
	w := newWorld(t, layout{
		services: 2, nodes: 4, host: host, roaming: crowd + others + bystanders, pool: "198.18.0.0/21",
		store: []string{"urls: [" + strings.Join(cluster.URLs(), ", ") + "]", "timeout: 2s", "replicas_ack: 1"},
	})
	var nodes []*machine
	for i := range 4 {
		nodes = append(nodes, w.newMachine(lab, i+1))
	}
	var callers []*caller
	var hosts []*client.Host
	for i := range homes {
		home := netip.AddrFrom4([4]byte{10, 77, 1, byte(1 + i)})
		lab.Run(t, "ip", "addr", "add", home.String()+"/16", "dev", bridge)
		h, err := client.NewHost(home, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		hosts = append(hosts, h)
	}
	for i, u := range w.roaming {
		callers = append(callers, &caller{user: u, host: hosts[i%homes]})
	}
	first, second, third := callers[:crowd], callers[crowd:crowd+others], callers[crowd+others:]
	ctx := t.Context()
	w.await("all nodes are known to the services", 30*time.Second, func() bool {
		out := cmdtest.Run(t, "", "postern", "--config", filepath.Join(w.dir, "service1.yaml"), "node", "list").Out
		return strings.Count(out, "serving") == len(nodes)
	})

	began := time.Now()
	if err := each(callers, func(i int, c *caller) error {
		switch {
		case i < crowd:
			return c.dial(ctx, nodes[0], true)
		case i < crowd+others:
			return c.dial(ctx, nodes[1], true)
		}
		return c.dial(ctx, nodes[2], true)
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tunnels, up after %v", len(callers), time.Since(began).Round(time.Millisecond))
	had := make(map[*caller]netip.Addr)
	for _, c := range callers {
		had[c] = c.addr
		if send, recv := c.session.MPPE(); !strings.HasPrefix(send, "128-bit") || !strings.HasPrefix(recv, "128-bit") {
			t.Fatalf("MPPE %q and %q, want 128 bits", send, recv)
		}
	}
	if err := alive(ctx, callers); err != nil {
		t.Fatal(err)
	}
	on := func(node string) int {
		recs, err := w.sessions.ByNode(ctx, node)
		if err != nil {
			return -1
		}
		return len(recs)
	}
	w.await("the registry has them all", 20*time.Second, func() bool { return on("node1") == crowd && on("node2") == others && on("node3") == bystanders })

	p := cluster.Primary(0)
	p.Kill()
	time.Sleep(2 * interim) // each tunnel is reported meanwhile, or tried to be
	if err := alive(ctx, callers); err != nil {
		t.Errorf("after a primary was killed: %v", err)
	}
	p.Restart()
	cluster.WaitOK()

	nodes[0].kill()
	killed := time.Now()
	w.await("the registry has none of the killed node's", silence+5*time.Second, func() bool { return on("node1") == 0 })
	t.Logf("%d sessions gone from the registry %v after their node was killed", crowd, time.Since(killed).Round(100*time.Millisecond))
	if two, three := on("node2"), on("node3"); two != others || three != bystanders {
		t.Errorf("%d and %d sessions of nodes that live", two, three)
	}
	if err := alive(ctx, slices.Concat(second, third)); err != nil {
		t.Errorf("after another node was killed: %v", err)
	}
	if err := each(first, func(i int, c *caller) error { return c.dial(ctx, nodes[2+i%2], false) }); err != nil {
		t.Fatalf("at the other nodes, without a code: %v", err)
	}
	same(t, "after the kill", first, had)
	if err := alive(ctx, callers); err != nil {
		t.Error(err)
	}

	w.drained(nodes, second, had)

	if err := alive(ctx, callers); err != nil {
		t.Error(err)
	}
	if err := each(callers, func(_ int, c *caller) error { return c.session.Close() }); err != nil {
		t.Error(err)
	}
	w.await("the registry is empty, and no address is leased", 60*time.Second, func() bool {
		live, err := w.sessions.AllIDs(ctx)
		return err == nil && len(live) == 0 && w.leased() == 0
	})
	w.once(2*crowd+2*others+bystanders, crowd)
}

// same counts who has the address that he had.
func same(t *testing.T, when string, all []*caller, had map[*caller]netip.Addr) {
	t.Helper()
	n := 0
	for _, c := range all {
		if c.addr == had[c] {
			n++
		}
	}
	t.Logf("%s %d of %d are in without a code, %d with the address they had", when, len(all), len(all), n)
	if n != len(all) {
		t.Errorf("%s %d of %d have another address", when, len(all)-n, len(all))
	}
}

// drained drains the second node, whose callers dial again as soon as they are cut.
func (w *world) drained(nodes []*machine, all []*caller, had map[*caller]netip.Addr) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	const rate, wait = 10, 5 * time.Second
	var wg sync.WaitGroup
	failed := make([]error, len(all))
	refused := make([]int, len(all))
	for i, c := range all {
		wg.Go(func() { // waited for below
			select {
			case <-c.session.Done():
			case <-ctx.Done():
				return
			}
			c.ended = time.Now()
			for try := range 20 {
				// First where he has always been.
				m := nodes[1+try%3]
				if failed[i] = c.dial(ctx, m, false); failed[i] == nil {
					break
				}
				if !busy(failed[i]) {
					return
				}
				refused[i]++
			}
			c.back = time.Since(c.ended)
		})
	}
	asked := time.Now()
	node := func(args ...string) string {
		return cmdtest.Must(t, "", "postern", append([]string{"--config", filepath.Join(w.dir, "service2.yaml"), "node"}, args...)...)
	}
	node("drain", "node2", "--rate", fmt.Sprint(rate), "--wait", wait.String())
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Error(err)
	}
	var ends []time.Time
	var backs []time.Duration
	for i, c := range all {
		ends, backs = append(ends, c.ended), append(backs, c.back)
		if refused[i] == 0 {
			t.Errorf("%s was let in where it was cut", c.name)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	slices.Sort(backs)
	if early := ends[0].Sub(asked); early < wait {
		t.Errorf("the first was cut after %v", early)
	}
	for i, e := range ends {
		// None before its turn; a client may hear of an earlier one's end late.
		if turn := time.Duration(i) * time.Second / rate; e.Sub(ends[0]) < turn-time.Second {
			t.Errorf("number %d was cut %v after the first", i, e.Sub(ends[0]))
			break
		}
	}
	t.Logf("%d tunnels drained: the first was cut %v after the command, the last after %v; back in %v (p50), %v (p99), %v at most",
		len(all), ends[0].Sub(asked).Round(time.Millisecond), ends[len(ends)-1].Sub(asked).Round(time.Millisecond),
		backs[len(backs)/2].Round(time.Millisecond), backs[len(backs)*99/100].Round(time.Millisecond), backs[len(backs)-1].Round(time.Millisecond))
	same(t, "after the drain", all, had)

	w.await("the node says that it has drained", 30*time.Second, func() bool { return strings.Contains(node("show", "node2"), "drained") })
	node("undrain", "node2")
	guest := &caller{user: all[0].user, host: all[0].host}
	w.await("it takes calls again", 30*time.Second, func() bool { return guest.dial(ctx, nodes[1], false) == nil })
	if err := guest.session.Close(); err != nil {
		t.Error(err)
	}
}

// once says that each session in the history has one start and one stop, and that so many
// stops are of our making.
func (w *world) once(least, lost int) {
	t := w.t
	t.Helper()
	count := make(map[string][2]int)
	carrier := 0
	within(30*time.Second, func() bool {
		events, err := w.sessions.History(t.Context(), 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		clear(count)
		carrier = 0
		for _, e := range events {
			n := count[e.ID]
			switch e.Kind {
			case session.EventStart:
				n[0]++
			case session.EventStop:
				n[1]++
				if e.Cause == session.LostCarrier {
					carrier++
				}
			}
			count[e.ID] = n
		}
		for _, n := range count {
			if n != [2]int{1, 1} {
				return false
			}
		}
		return len(count) >= least
	})
	wrong := 0
	for id, n := range count {
		if n != [2]int{1, 1} {
			if wrong++; wrong <= 5 {
				t.Errorf("session %s has %d starts and %d stops", id, n[0], n[1])
			}
		}
	}
	t.Logf("%d sessions in the history, %d of them without one start and one stop; %d ended by Lost-Carrier", len(count), wrong, carrier)
	if carrier != lost {
		t.Errorf("%d ended by Lost-Carrier, want those of the killed node: %d", carrier, lost)
	}
	if len(count) < least {
		t.Errorf("the history has %d sessions, want %d", len(count), least)
	}
}
