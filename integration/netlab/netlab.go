//go:build integration

// Package netlab makes network namespaces for tests and starts programs in them.
//
// A namespace made here has no name under /run/netns: this process and what it
// started are all that hold it. When they are gone, so are its bridges, taps and
// addresses, also after a panic or a kill. Programs started in it get SIGKILL with
// the test, for the same reason.
package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace and the one thread of this process that lives
// in it. Safe for concurrent use.
type Namespace struct {
	do chan func()
}

// New makes an empty namespace with its loopback interface up, and lets go of it
// when t ends.
func New(t testing.TB) *Namespace {
	t.Helper()
	ns := enter(t, func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	ns.Run(t, "ip", "link", "set", "lo", "up")
	return ns
}

// Here is the namespace that this process is in.
func Here(t testing.TB) *Namespace {
	t.Helper()
	return enter(t, func() error { return nil })
}

// Open enters a namespace that somebody else has named.
func Open(t testing.TB, name string) *Namespace {
	t.Helper()
	return enter(t, func() error {
		f, err := os.Open(filepath.Join("/run/netns", name))
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
	})
}

func enter(t testing.TB, move func() error) *Namespace {
	t.Helper()
	ns := &Namespace{do: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread is spoilt for others and ends with this goroutine.
		// It must outlive what it starts, for a child's Pdeathsig follows its thread.
		runtime.LockOSThread()
		err := move()
		ready <- err
		if err != nil {
			return
		}
		for f := range ns.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("network namespace: %v (root is needed)", err)
	}
	t.Cleanup(func() { close(ns.do) })
	return ns
}

// Do runs f on a thread in the namespace: sockets opened by f belong to it.
func (ns *Namespace) Do(f func()) {
	done := make(chan struct{})
	ns.do <- func() { defer close(done); f() }
	<-done
}

// Start starts cmd in the namespace. The caller waits for it.
func (ns *Namespace) Start(cmd *exec.Cmd) (err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	ns.Do(func() { err = cmd.Start() })
	return err
}

// Output runs a program in the namespace to its end and returns what it printed,
// standard error included.
func (ns *Namespace) Output(name string, args ...string) (string, error) {
	return ns.OutputOf(exec.Command(name, args...))
}

// OutputOf is Output for a command with an environment, a standard input or a
// context of its own.
func (ns *Namespace) OutputOf(cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

// Run is Output for what must succeed.
func (ns *Namespace) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := ns.Output(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Bridge makes a bridge with an address: the segment on which guests meet a node. Its
// hardware address is given, since it would change with the ports that are plugged in, and
// hosts that know the one before would talk to nobody.
func (ns *Namespace) Bridge(t testing.TB, name, prefix string) {
	t.Helper()
	ns.Run(t, "ip", "link", "add", name, "address", "02:00:00:00:00:01", "type", "bridge", "forward_delay", "0")
	ns.Run(t, "ip", "addr", "add", prefix, "dev", name)
	ns.Run(t, "ip", "link", "set", name, "up")
}

// Tap makes a tap device on a bridge, for a guest to plug into.
func (ns *Namespace) Tap(t testing.TB, name, bridge string) {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Fatal(fmt.Errorf("tap device: %w", err))
	}
	ns.Run(t, "ip", "tuntap", "add", name, "mode", "tap")
	ns.Run(t, "ip", "link", "set", name, "master", bridge, "up")
}

// Join makes a device in another namespace that is plugged into this one's bridge:
// a host on the segment.
func (ns *Namespace) Join(t testing.TB, bridge string, host *Namespace, device, prefix string) {
	t.Helper()
	port := "p-" + device
	ns.Run(t, "ip", "link", "add", port, "type", "veth", "peer", "name", device)
	ns.Run(t, "ip", "link", "set", port, "master", bridge, "up")
	ns.Give(t, device, host)
	host.Run(t, "ip", "addr", "add", prefix, "dev", device)
	host.Run(t, "ip", "link", "set", device, "up")
}

// Give moves a device into another namespace.
func (ns *Namespace) Give(t testing.TB, device string, to *Namespace) {
	t.Helper()
	var pid int
	to.Do(func() { pid = unix.Gettid() })
	ns.Run(t, "ip", "link", "set", device, "netns", fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), pid))
}
