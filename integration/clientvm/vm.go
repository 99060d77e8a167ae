//go:build integration

package clientvm

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/integration/netlab"
)

// How long a guest may take over what is not the peer's business. A boot takes 2 to
// 3 s, 7 s were seen on a busy machine.
const (
	bootTime  = 90 * time.Second
	closeTime = 10 * time.Second
	margin    = 60 * time.Second // on top of what a verb allows itself
)

// Config places a guest.
type Config struct {
	Net     *netlab.Namespace
	Bridge  string // in Net; the guest's tap joins it
	Address string // the guest's, with prefix length
	Gateway string // empty: none
	Memory  int    // MiB; 0 means 256
}

// VM is a running guest. Its methods may be called from several goroutines; the
// guest works on them at the same time.
type VM struct {
	dir    string // what host and guest share: /job in the guest
	cmd    *exec.Cmd
	exited chan struct{}
	client *rpc.Client
}

var taps atomic.Int32

// Boot starts a guest, which ends with t. Its logs are kept where t's log says,
// if t fails.
func Boot(t testing.TB, cfg Config) *VM {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	img, err := Build(ctx)
	if err != nil {
		t.Fatalf("guest image: %v", err)
	}
	vm, err := boot(t, img, cfg)
	if err != nil {
		t.Fatalf("boot a guest: %v", err)
	}
	return vm
}

func boot(t testing.TB, img *Image, cfg Config) (*VM, error) {
	tap := fmt.Sprintf("guest%d", taps.Add(1))
	cfg.Net.Tap(t, tap, cfg.Bridge)

	// Short: user-mode Linux keeps a socket in it.
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	vm := &VM{dir: dir, exited: make(chan struct{})}
	t.Cleanup(func() {
		vm.keepLogs(t)
		os.RemoveAll(dir)
		if out, err := cfg.Net.Output("ip", "link", "del", tap); err != nil {
			t.Logf("remove %s: %v: %s", tap, err, out)
		}
	})
	setup, err := json.Marshal(Setup{Address: cfg.Address, Gateway: cfg.Gateway})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "setup.json"), setup, 0o644); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, err
	}
	console, err := os.Create(filepath.Join(dir, "logs", "console"))
	if err != nil {
		return nil, err
	}
	defer console.Close()

	// The serial line: two pipes, descriptors 3 and 4 of the guest's process.
	toGuest, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer toGuest.Close()
	theirs, fromGuest, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer fromGuest.Close()
	// A console whose input has ended is hung up, so it gets one that never speaks.
	silent, held, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer silent.Close()

	memory := cfg.Memory
	if memory == 0 {
		memory = 256
	}
	vm.cmd = exec.Command(img.root+"/usr/bin/linux.uml",
		"umid=vm", "uml_dir="+dir+"/", fmt.Sprintf("mem=%dM", memory),
		"rootfstype=hostfs", "rootflags="+img.root, "ro", "init="+img.init, "quiet", "panic=-1",
		"con=null", "con0=fd:0,fd:1", "con1=null", "ssl=null", "ssl0=fd:3,fd:4",
		"vec0:transport=tap,ifname="+tap+",depth=128,gro=1", "jobdir="+dir)
	vm.cmd.Stdin, vm.cmd.Stdout, vm.cmd.Stderr = silent, console, console
	vm.cmd.ExtraFiles = []*os.File{toGuest, fromGuest}
	// First process of its pid namespace: when it goes, all of the guest goes.
	vm.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cfg.Net.Start(vm.cmd); err != nil {
		return nil, err
	}
	go func() { // ended by the process, which close ends; waited for on vm.exited
		_ = vm.cmd.Wait()
		held.Close()
		close(vm.exited)
	}()
	line := &serial{in: theirs, out: ours}
	greeted := line.greeted() // before the client, which reads from the start
	vm.client = jsonrpc.NewClient(line)
	t.Cleanup(vm.close)
	if greeted != nil {
		return nil, fmt.Errorf("no sign of life: %w\n%s", greeted, vm.consoleTail())
	}
	return vm, nil
}

// serial is the guest's ttyS0 as seen from outside.
type serial struct {
	in, out *os.File
}

func (s *serial) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *serial) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *serial) Close() error {
	s.in.Close()
	return s.out.Close()
}

// greeted waits for the guest's first line.
func (s *serial) greeted() error {
	if err := s.in.SetReadDeadline(time.Now().Add(bootTime)); err != nil {
		return err
	}
	line := make([]byte, len(Greeting))
	if _, err := io.ReadFull(s.in, line); err != nil {
		return err
	}
	if string(line) != Greeting {
		return fmt.Errorf("the guest began with %q", line)
	}
	return s.in.SetReadDeadline(time.Time{})
}

func (vm *VM) call(verb string, limit time.Duration, args, reply any) error {
	call := vm.client.Go("Guest."+verb, args, reply, make(chan *rpc.Call, 1))
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("%s: %w", verb, call.Error)
		}
		return nil
	case <-vm.exited:
		return fmt.Errorf("%s: the guest has ended", verb)
	case <-timeout.C:
		return fmt.Errorf("%s: no answer from the guest within %v", verb, limit)
	}
}

func (vm *VM) close() {
	_ = vm.call("PowerOff", closeTime, None{}, &None{}) // it does not answer: it is gone
	select {
	case <-vm.exited:
	case <-time.After(closeTime):
		_ = vm.cmd.Process.Kill()
		<-vm.exited
	}
	vm.client.Close()
}

// Dial dials and returns when every client is up or has given up, in their order.
func (vm *VM) Dial(d Dial) ([]Link, error) {
	d.Clients = max(d.Clients, 1)
	if d.Parallel == 0 || d.Parallel > d.Clients {
		d.Parallel = d.Clients
	}
	if d.Timeout == 0 {
		d.Timeout = time.Minute
	}
	rounds := (d.Clients + d.Parallel - 1) / d.Parallel
	var links []Link
	err := vm.call("Dial", time.Duration(rounds)*d.Timeout+margin, d, &links)
	return links, err
}

// Ping pings from every client that is up.
func (vm *VM) Ping(p Ping) ([]Echoed, error) {
	if p.Count == 0 {
		p.Count = 3
	}
	var sizes []Echoed
	err := vm.call("Ping", time.Duration(len(p.Sizes)*(p.Count+5))*time.Second+margin, p, &sizes)
	return sizes, err
}

// Transfer moves data over TCP.
func (vm *VM) Transfer(x Transfer) (Moved, error) {
	var m Moved
	err := vm.call("Transfer", time.Duration(x.Seconds)*time.Second+margin, x, &m)
	return m, err
}

// Exec runs a shell command in the guest.
func (vm *VM) Exec(e Exec) (Done, error) {
	if e.Timeout == 0 {
		e.Timeout = time.Minute
	}
	var d Done
	err := vm.call("Exec", e.Timeout+margin, e, &d)
	return d, err
}

// Await waits until the clients that are up have ended by themselves.
func (vm *VM) Await(limit time.Duration) ([]Link, error) {
	var links []Link
	err := vm.call("Await", limit+margin, Await{limit}, &links)
	return links, err
}

// Hangup ends all clients as their users would, and tells how they ended.
func (vm *VM) Hangup() ([]Link, error) {
	var links []Link
	err := vm.call("Hangup", margin, None{}, &links)
	return links, err
}

// Serve starts pptpd.
func (vm *VM) Serve(s Serve) error {
	return vm.call("Serve", margin, s, &None{})
}

// Log is what pppd wrote for a client in the last Dial.
func (vm *VM) Log(client int) string {
	text, err := os.ReadFile(filepath.Join(vm.dir, "logs", fmt.Sprintf("client%d", client)))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (vm *VM) consoleTail() string {
	text, err := os.ReadFile(filepath.Join(vm.dir, "logs", "console"))
	if err != nil {
		return err.Error()
	}
	return lastLines(text)
}

func (vm *VM) keepLogs(t testing.TB) {
	if !t.Failed() {
		return
	}
	kept, err := os.MkdirTemp("", "postern-guest")
	if err == nil {
		err = os.CopyFS(kept, os.DirFS(filepath.Join(vm.dir, "logs")))
	}
	if err != nil {
		t.Logf("keep the guest's logs: %v", err)
		return
	}
	t.Logf("the guest's logs are in %s", kept)
}

// Share lets other hosts of the segment use the tunnel of the one client that is up:
// whoever takes the guest for a router goes out under the client's address. A browser
// is too big for a guest, and so sits on the host.
func (vm *VM) Share(l Link) error {
	// This kernel's nftables has no chains that translate addresses.
	return vm.shell("echo 1 >/proc/sys/net/ipv4/ip_forward && iptables-legacy -t nat -A POSTROUTING -o " + l.Interface + " -j MASQUERADE")
}

func (vm *VM) shell(script string) error {
	d, err := vm.Exec(Exec{Command: script})
	if err == nil && d.Status != 0 {
		err = fmt.Errorf("status %d: %s", d.Status, d.Output)
	}
	return err
}
