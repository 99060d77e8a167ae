//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/integration/netlab"
)

// tour runs `postern lab --once` and returns its narration; status says how it ended.
func tour(t *testing.T, ns *netlab.Namespace, flags ...string) (said string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"lab", "--once"}, flags...)...)
	said, err := ns.OutputOf(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said, cmd.ProcessState.ExitCode()
}

// right runs a tour that must do all it should and say all of this.
func right(t *testing.T, ns *netlab.Namespace, words []string, flags ...string) string {
	t.Helper()
	said, status := tour(t, ns, flags...)
	if status != 0 || !strings.Contains(said, "Every step did what it should.") {
		t.Fatalf("lab --once %q: status %d\n%s", flags, status, said)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("lab --once %q does not say %q:\n%s", flags, w, said)
		}
	}
	return said
}

// redis starts a server on the namespace's loopback and returns its URL.
func redis(t *testing.T, ns *netlab.Namespace) string {
	t.Helper()
	background(t, ns, "Ready to accept connections", "redis-server",
		"--bind", "127.0.0.1", "--port", "6390", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	return "redis://127.0.0.1:6390/2"
}

func TestLabOnRedis(t *testing.T) {
	ns := netlab.New(t)
	url := redis(t, ns)
	keys := func() string {
		return strings.TrimSpace(ns.Run(t, "redis-cli", "-p", "6390", "-n", "2", "--scan", "--pattern", "{user:alice}*"))
	}
	dir := t.TempDir()
	right(t, ns, []string{"store: Redis"}, "--dir", dir, "--redis", url)
	if _, err := os.Stat(filepath.Join(dir, "store.db")); err == nil {
		t.Error("an embedded store beside Redis")
	}
	if k := keys(); !strings.Contains(k, "{user:alice}:tokens") || !strings.Contains(k, "{user:alice}:steps") {
		t.Errorf("Redis keeps %q", k)
	}

	// Another lab's token is in there now, and what the first tour locked is locked.
	right(t, ns, []string{"guess 1: locked out"}, "--redis", url)
	// The first comes back and finds a token that is not its own.
	right(t, ns, nil, "--dir", dir, "--redis", url)

	said, status := tour(t, ns, "--redis", "redis://127.0.0.1:6391/0")
	if status != 1 || !strings.Contains(said, "store unavailable") {
		t.Errorf("without Redis: status %d\n%s", status, said)
	}
	said, status = tour(t, ns, "--redis", "127.0.0.1:6390")
	if status != 1 || !strings.Contains(said, "not a Redis URL") {
		t.Errorf("a URL that is none: status %d\n%s", status, said)
	}
}

// The second tour in a directory meets what the first has left: its token, whose
// code of this half-minute is used, and its lockout.
func TestLabKeepsItsState(t *testing.T) {
	ns := netlab.New(t)
	dir := filepath.Join(t.TempDir(), "state", "lab")
	right(t, ns, []string{"guess 1: the client sees"}, "--dir", dir, "--listen", "127.0.0.9")
	before := secretsOf(t, dir)
	said := right(t, ns, []string{"guess 1: locked out"}, "--dir", dir, "--listen", "127.0.0.9:1999")
	if after := secretsOf(t, dir); after != before {
		t.Error("secrets were made anew")
	}
	if !strings.Contains(said, "PPTP on 127.0.0.9:1999") {
		t.Errorf("where it listens:\n%s", said)
	}
}

// secretsOf are the files that outlive a lab.
func secretsOf(t *testing.T, dir string) (text string) {
	t.Helper()
	for _, name := range []string{"secrets/keys", "secrets/radius", "users", "tls/ca.pem", "tls/node.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	return text
}

// A conformance tool sends wrong passwords and codes as often as it likes.
func TestLabWithoutLockout(t *testing.T) {
	right(t, netlab.New(t), []string{"skipped: --no-lockout"}, "--no-lockout")

	l := newLab(t, "--no-lockout")
	auth, secret, user := l.get(t, "RADIUS_ADDR"), l.get(t, "RADIUS_SECRET"), l.get(t, "USER_NO_MFA")
	login := func(password string) string {
		return l.ask(t, auth, "auth", secret, signed, quoted("User-Name", user), quoted("User-Password", password),
			"NAS-IP-Address = 127.0.0.1", `Calling-Station-Id = "10.78.0.9"`).code
	}
	for i := range 40 {
		if got := login(fmt.Sprint("guess ", i)); got != "Access-Reject" {
			t.Fatalf("guess %d: %q", i, got)
		}
	}
	if got := login(l.get(t, "PASSWORD_NO_MFA")); got != "Access-Accept" {
		t.Errorf("the right password after 40 wrong ones: %q", got)
	}
}

func TestTwoLabs(t *testing.T) {
	first := newLab(t)
	const second = "10.78.0.3"
	first.net.Run(t, "ip", "addr", "add", second+"/24", "dev", segment)
	inside := first.get(t, "INSIDE_ADDR")

	said := right(t, first.net, nil, "--listen", second)
	if strings.Contains(said, inside) {
		t.Errorf("two hosts %s:\n%s", inside, said)
	}
	// The first is as it was, and routes as it did.
	for _, d := range []string{fmt.Sprintf("plt%d", first.cmd.Process.Pid), fmt.Sprintf("pl%d", first.cmd.Process.Pid)} {
		if got := first.net.Run(t, "cat", "/proc/sys/net/ipv4/conf/"+d+"/forwarding"); got != "1\n" {
			t.Errorf("forwarding of %s: %q", d, got)
		}
	}
	first.net.Run(t, "ping", "-c", "1", "-W", "2", "-I", "10.80.0.1", inside)
	if routes := first.net.Run(t, "ip", "route"); strings.Count(routes, "dev pl") != 2 {
		t.Errorf("routes of the first and of none else:\n%s", routes)
	}

	for want, flags := range map[string][]string{
		"another lab is using it": {"--dir", first.dir, "--listen", second},
		"address already in use":  {"--listen", node},
	} {
		if said, status := tour(t, first.net, flags...); status != 1 || !strings.Contains(said, want) {
			t.Errorf("%q: status %d, want 1 and %q:\n%s", flags, status, want, said)
		}
	}
	for _, net := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} {
		first.net.Run(t, "ip", "route", "add", "unreachable", net)
	}
	if said, status := tour(t, first.net, "--listen", second); status != 1 || !strings.Contains(said, "in use on this host already: 10.80.0.0/24 with 10.81.0.0/24, ") {
		t.Errorf("no network is left: status %d\n%s", status, said)
	}
	first.stop(t)
}

// host is all that a lab could leave behind on one.
func host(t *testing.T, ns *netlab.Namespace) (text string) {
	t.Helper()
	for _, cmd := range []string{
		"ip -o link", "ip -o addr", "ip rule", "ip route show table all", "nft list ruleset",
		"cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/forwarding",
	} {
		words := strings.Fields(cmd)
		text += cmd + "\n" + ns.Run(t, words[0], words[1:]...)
	}
	return text
}

// However it is ended, and whenever, nothing of a lab stays but what --dir asked for.
func TestLabLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		at     string // what it says before it is ended
		flags  []string
		status int
	}{
		{"idle, SIGTERM", syscall.SIGTERM, "Ctrl-C ends it.", []string{"--no-tour"}, 0},
		{"idle, SIGINT", syscall.SIGINT, "Ctrl-C ends it.", []string{"--no-tour"}, 0},
		{"idle, the terminal is closed", syscall.SIGHUP, "Ctrl-C ends it.", []string{"--no-tour"}, 0},
		{"after the tour", syscall.SIGTERM, "Ctrl-C ends it.", nil, 0},
		{"in the tour", syscall.SIGINT, "guess 1: ", nil, 0},
		{"in the one tour", syscall.SIGTERM, "alice dials in", []string{"--once"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := netlab.New(t)
			before := host(t, ns)
			tmp := t.TempDir()
			cmd := exec.Command(binary, append([]string{"lab"}, c.flags...)...)
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			r, w := io.Pipe()
			cmd.Stdout, cmd.Stderr = w, w
			if err := ns.Start(cmd); err != nil {
				t.Fatal(err)
			}
			seen := make(chan string, 1)
			go func() { // ends with the program
				var said strings.Builder
				found := false
				for b := make([]byte, 4096); ; {
					n, err := r.Read(b)
					said.Write(b[:n])
					if !found && strings.Contains(said.String(), c.at) {
						found = true
						_ = cmd.Process.Signal(c.signal)
					}
					if err != nil {
						seen <- said.String()
						return
					}
				}
			}()
			late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait() // the status says how
			late.Stop()
			w.Close()
			said := <-seen
			if strings.Contains(said, "Every step did what it should.") {
				c.status = 0 // it was over before the signal came
			}
			if status := cmd.ProcessState.ExitCode(); status != c.status || !strings.Contains(said, c.at) {
				t.Errorf("status %d (%v), want %d\n%s", status, cmd.ProcessState, c.status, said)
			}
			if left, _ := filepath.Glob(filepath.Join(tmp, "*")); left != nil {
				t.Errorf("left behind %q", left)
			}
			if _, err := os.Stat(fmt.Sprint("/run/netns/postern-lab-", cmd.Process.Pid)); err == nil {
				t.Error("its network namespace is left")
			}
			// The kernel takes devices down after the last descriptor is closed.
			after := host(t, ns)
			for range 100 {
				if after == before {
					break
				}
				time.Sleep(20 * time.Millisecond)
				after = host(t, ns)
			}
			if after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}
