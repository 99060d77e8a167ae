//go:build integration

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ip runs lines of iproute2 commands in one process; forks are what costs most in
// a user-mode guest.
func ip(namespace string, lines ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(lines, "; "), err, out)
	}
	return nil
}

func (g *Guest) network() error {
	lines := []string{"link set lo up", "link set " + device + " up", "addr add " + g.setup.Address + " dev " + device}
	if g.setup.Gateway != "" {
		lines = append(lines, "route add default via "+g.setup.Gateway)
	}
	return ip("", lines...)
}

// namespace is where client i dials from when each has an address of its own; the
// first has the guest's, the others those after it.
func namespace(i int) string { return fmt.Sprintf("client%d", i) }

// spread makes namespaces for clients 1 to n behind a bridge, as far as they are
// missing. The guest's own address moves into the first.
func (g *Guest) spread(n int) error {
	prefix, err := netip.ParsePrefix(g.setup.Address)
	if err != nil {
		return err
	}
	if g.members == 0 {
		if err := ip("", "addr flush dev "+device, "link add br0 type bridge forward_delay 0",
			"link set "+device+" master br0", "link set br0 up"); err != nil {
			return err
		}
	}
	addr := prefix.Addr()
	for i := 1; i <= n; i, addr = i+1, addr.Next() {
		if i <= g.members {
			continue
		}
		ns := namespace(i)
		if err := ip("", "netns add "+ns,
			fmt.Sprintf("link add v%d type veth peer name eth0 netns %s", i, ns),
			fmt.Sprintf("link set v%d master br0 up", i)); err != nil {
			return err
		}
		lines := []string{"link set lo up", "link set eth0 up",
			fmt.Sprintf("addr add %s/%d dev eth0", addr, prefix.Bits())}
		if g.setup.Gateway != "" {
			lines = append(lines, "route add default via "+g.setup.Gateway)
		}
		if err := ip(ns, lines...); err != nil {
			return err
		}
		g.members = i
	}
	return nil
}

// gather undoes spread: the guest's own address is back on its device.
func (g *Guest) gather() error {
	if g.members == 0 {
		return nil
	}
	for i := 1; i <= g.members; i++ {
		if err := ip("", "netns del "+namespace(i)); err != nil {
			return err
		}
	}
	g.members = 0
	if err := ip("", "link del br0"); err != nil {
		return err
	}
	return g.network()
}

// startIn starts cmd in a network namespace ("" is the guest's own), with an empty
// /run/pptp of its own: pptp-linux finds its peers' call managers there by server
// address, and two clients of one server would share a control connection.
func startIn(namespace string, cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		// Not unlocked: a thread that has been elsewhere ends with its goroutine.
		runtime.LockOSThread()
		started <- func() error {
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
				return err
			}
			if err := unix.Mount("tmpfs", "/run/pptp", "tmpfs", 0, ""); err != nil {
				return err
			}
			if namespace != "" {
				f, err := os.Open("/run/netns/" + namespace)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
					return err
				}
			}
			return cmd.Start()
		}()
	}()
	return <-started
}
