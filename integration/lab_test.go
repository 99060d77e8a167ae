//go:build integration

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/integration/netlab"
)

// The segment the clients and the node meet on.
const (
	segment = "br0"
	node    = "10.78.0.1"
	radius  = "127.0.0.1:1812"
)

// binaries is where TestMain builds our programs, binary is the one named postern.
var binaries, binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "postern-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaries, binary = dir, filepath.Join(dir, "postern")
		if out, err := exec.Command("go", "build", "-o", dir, "postern/cmd/...").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build our programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// lab is a running `postern lab` in a network of its own.
type lab struct {
	net *netlab.Namespace
	env map[string]string // lab.env, names without POSTERN_
	dir string
	cmd *exec.Cmd
	end chan error // how it ended; holds one value
}

// newLab makes the network and starts the lab in it.
func newLab(t *testing.T, flags ...string) *lab {
	t.Helper()
	l := &lab{net: netlab.New(t), dir: t.TempDir()}
	l.net.Bridge(t, segment, node+"/24")
	l.start(t, flags...)
	return l
}

// start starts the lab and waits until a client could dial. It may be called again
// after stop: state is kept.
func (l *lab) start(t *testing.T, flags ...string) {
	t.Helper()
	envFile := filepath.Join(l.dir, "lab.env")
	if err := os.Remove(envFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	output, err := os.CreateTemp(l.dir, "output-")
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	l.cmd = exec.Command(binary, append([]string{"lab", "--no-tour", "--dir", l.dir, "--listen", node, "--radius", radius}, flags...)...)
	l.cmd.Stdout, l.cmd.Stderr = output, output
	if err := l.net.Start(l.cmd); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- l.cmd.Wait() }() // ended by stop or kill
	l.end = end
	t.Cleanup(func() {
		l.kill()
		if t.Failed() {
			t.Logf("the lab said:\n%s", tail(output.Name(), 80))
		}
	})

	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-end:
			end <- err
			t.Fatalf("the lab ended at once: %v", err)
		default:
		}
		if l.answers() {
			if l.env, err = readEnv(envFile); err == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lab is not ready after a minute (%v)", err)
		}
	}
}

// answers says whether the node takes control connections.
func (l *lab) answers() (ok bool) {
	l.net.Do(func() {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(node, "1723"), time.Second)
		if ok = err == nil; ok {
			c.Close()
		}
	})
	return ok
}

// stop ends the lab as an operator does and checks that it ends well.
func (l *lab) stop(t *testing.T) {
	t.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-l.end:
		l.end <- err
		if err != nil {
			t.Errorf("the lab's end on SIGTERM: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the lab is still there 30 s after SIGTERM")
	}
}

// kill ends the lab as a power cut does. Its clean-up is left to the next start.
func (l *lab) kill() {
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-l.end:
		l.end <- err
		return
	case <-time.After(15 * time.Second):
	}
	l.cut()
}

func (l *lab) cut() {
	_ = l.cmd.Process.Kill()
	l.end <- <-l.end
}

// get reads a value of lab.env.
func (l *lab) get(t *testing.T, name string) string {
	t.Helper()
	v, ok := l.env["POSTERN_"+name]
	if !ok || v == "" {
		t.Fatalf("lab.env has no POSTERN_%s", name)
	}
	return v
}

// readEnv reads NAME=VALUE lines as a shell would, quotes included.
func readEnv(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	env := make(map[string]string)
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(s.Text()), "export "), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		} else if n := len(value); n >= 2 && value[0] == '\'' && value[n-1] == '\'' {
			value = value[1 : n-1]
		}
		env[name] = value
	}
	if len(env) == 0 {
		return nil, errors.New("lab.env is empty")
	}
	return env, nil
}

// insideServer starts an iperf3 server on the host behind the node.
func (l *lab) insideServer(t *testing.T) {
	t.Helper()
	inside := netlab.Open(t, l.get(t, "INSIDE_NETNS"))
	background(t, inside, "Server listening", "iperf3", "-s", "--forceflush")
}

// background starts a program that ends with the test or with stop, and waits until
// it has printed a word.
func background(t *testing.T, ns *netlab.Namespace, word, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = w, w, time.Second
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	ended := make(chan struct{})
	drained := make(chan struct{})
	go func() { // ends with the program
		_ = cmd.Wait() // killed, as a rule
		w.Close()
		close(ended)
	}()
	var said strings.Builder // guarded by drained
	go func() {              // ends when the pipe is closed
		defer close(drained)
		seen := false
		for s := bufio.NewScanner(r); s.Scan(); {
			if !seen {
				fmt.Fprintln(&said, s.Text())
			}
			if !seen && strings.Contains(s.Text(), word) {
				seen = true
				close(ready)
			}
		}
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		<-ended
		<-drained
	}
	t.Cleanup(stop)
	select {
	case <-ready:
	case <-drained:
		t.Fatalf("%s has ended:\n%s", name, &said)
	case <-time.After(20 * time.Second):
		stop()
		t.Fatalf("%s is not ready after 20 s:\n%s", name, &said)
	}
	return stop
}

func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// The tour is the README's first command: it must do all it narrates, and leave
// nothing behind.
func TestTour(t *testing.T) {
	ns := netlab.New(t)
	before, err := filepath.Glob("/run/netns/*")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "lab", "--once", "--dir", t.TempDir())
	out, err := ns.OutputOf(cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	after, err := filepath.Glob("/run/netns/*")
	if err != nil {
		t.Fatal(err)
	}
	// One that an earlier, killed lab left is taken away by the next.
	for _, ns := range after {
		if !slices.Contains(before, ns) {
			t.Errorf("network namespace %s is left", ns)
		}
	}
	if links := ns.Run(t, "ip", "-o", "link"); strings.Count(links, "\n") != 1 {
		t.Errorf("more than the loopback interface is left:\n%s", links)
	}
	if rules := ns.Run(t, "nft", "list", "ruleset"); strings.TrimSpace(rules) != "" {
		t.Errorf("rules are left:\n%s", rules)
	}
}
