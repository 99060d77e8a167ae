//go:build integration

package balancing

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/integration/netlab"
)

const (
	shipped = "../../deploy/balancing"
	segment = "br0"
)

// gatewayBinary is built by TestMain.
var gatewayBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "postern-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		gatewayBinary = filepath.Join(dir, "postern-gateway")
		if out, err := exec.Command("go", "build", "-o", gatewayBinary, "postern/cmd/postern-gateway").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the gateway: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// process is a program in a namespace.
type process struct {
	cmd    *exec.Cmd
	output string
	done   chan struct{}
}

// start starts a program with a process group of its own, which kill ends.
func start(t *testing.T, ns *netlab.Namespace, name string, args ...string) *process {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), filepath.Base(name)+"-")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &process{cmd: exec.Command(name, args...), output: out.Name(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := ns.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }() // ended by kill
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			b, _ := os.ReadFile(p.output)
			t.Logf("%s said:\n%s", filepath.Base(name), b)
		}
	})
	return p
}

func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// node is a machine with a gateway.
type node struct {
	name    string
	net     *netlab.Namespace
	config  string
	gateway *process
}

// newNode makes one on the segment of a router; its gateway does not run yet. health is
// where its metrics are served.
func newNode(t *testing.T, router *netlab.Namespace, name, prefix, health string) *node {
	t.Helper()
	n := &node{name: name, net: netlab.New(t)}
	router.Join(t, segment, n.net, "eth0", prefix)
	// The link's name on the router's side is the device's: one of each.
	router.Run(t, "ip", "link", "set", "p-eth0", "name", "p-"+name)
	dir := t.TempDir()
	n.config = filepath.Join(dir, "gateway.yaml")
	write(t, filepath.Join(dir, "secret"), "xyzzy5461")
	write(t, n.config, `
node: `+name+`
pptp: {listen: 0.0.0.0:1723, inside: 10.99.0.1}
radius: {servers: [{name: none, transport: udp, address: 127.0.0.1:1812, acct_address: 127.0.0.1:1813, secret_file: secret}]}
filter: {enabled: false}
spool: {dir: spool}
metrics: {listen: `+health+`:9101}
`)
	return n
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve starts the gateway and waits until it is well.
func (n *node) serve(t *testing.T) {
	t.Helper()
	n.gateway = start(t, n.net, gatewayBinary, "-config", n.config)
	eventually(t, n.name+" serves", 20*time.Second, func() bool { return dials(n.net, "127.0.0.1:1723") == nil })
}

// dials opens a TCP connection from a namespace.
func dials(from *netlab.Namespace, addr string) (err error) {
	from.Do(func() {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", addr, 300*time.Millisecond); err == nil {
			_ = c.Close()
		}
	})
	return err
}

// has says whether an address is on the node.
func (n *node) has(t *testing.T, addr string) bool {
	t.Helper()
	return strings.Contains(n.net.Run(t, "ip", "-o", "addr", "show", "to", addr), addr)
}

// eventually returns how long it took.
func eventually(t *testing.T, about string, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", about, limit)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

func newRouter(t *testing.T, prefix string) *netlab.Namespace {
	t.Helper()
	r := netlab.New(t)
	r.Bridge(t, segment, prefix)
	return r
}
