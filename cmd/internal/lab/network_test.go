package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestPlansAreApart(t *testing.T) {
	var all []netip.Prefix
	for _, p := range plans {
		all = append(all, p.pool, p.inside)
		for _, a := range []netip.Addr{p.node, p.first, p.last} {
			if !p.pool.Contains(a) {
				t.Errorf("%v is not in %v", a, p.pool)
			}
		}
		if !p.inside.Contains(p.router) || !p.inside.Contains(p.host) || p.router == p.host || !p.first.Less(p.last) || p.node.Compare(p.first) >= 0 {
			t.Errorf("%+v", p)
		}
		if !p.pool.Addr().IsPrivate() || !p.inside.Addr().IsPrivate() {
			t.Errorf("%+v is of the Internet", p)
		}
	}
	for i, p := range all {
		for _, q := range all[:i] {
			if p.Overlaps(q) {
				t.Errorf("%v overlaps %v", p, q)
			}
		}
	}
}

func TestFirstFree(t *testing.T) {
	for _, c := range []struct {
		used string
		want int // index of the plan; -1: none
	}{
		{"", 0},
		{"192.0.2.0/24 10.82.0.0/16", 0},
		{"10.80.0.0/24", 1},
		{"10.81.0.2/32", 1}, // a part of it, and of the other network of the pair
		{"10.0.0.0/8", 2},
		{"10.0.0.0/8 172.16.0.0/12", 3},
		{"10.80.0.7/32 172.30.181.0/30 10.180.0.0/16", 3},
		{"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", -1},
	} {
		var used []netip.Prefix
		for _, s := range strings.Fields(c.used) {
			used = append(used, netip.MustParsePrefix(s))
		}
		p, err := firstFree(used)
		switch {
		case c.want < 0 && (err == nil || !strings.Contains(err.Error(), "10.80.0.0/24 with 10.81.0.0/24")):
			t.Errorf("%s: %v, %v", c.used, p, err)
		case c.want >= 0 && (err != nil || p != plans[c.want]):
			t.Errorf("%s: %v, %v, want %v", c.used, p, err, plans[c.want])
		}
	}
}

// alone runs the rest of the test in a network namespace of its own.
func alone(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// device makes a device with an address, up.
func device(t *testing.T, name, addr string) {
	t.Helper()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-peer"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	if err := setUp(&netlink.Handle{}, name, netip.MustParsePrefix(addr)); err != nil {
		t.Fatal(err)
	}
}

func TestPlanAvoidsRoutes(t *testing.T) {
	alone(t)
	if p, err := freePlan(); err != nil || p != plans[0] {
		t.Fatalf("%v, %v", p, err)
	}
	device(t, "d0", "10.80.0.9/28")
	if p, err := freePlan(); err != nil || p != plans[1] {
		t.Errorf("%v, %v", p, err)
	}
	// A default route overlaps everything and says nothing.
	d0, err := netlink.LinkByName("d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: d0.Attrs().Index, Gw: net.IPv4(10, 80, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	if p, err := freePlan(); err != nil || p != plans[1] {
		t.Errorf("with a default route: %v, %v", p, err)
	}
}

// A lab's network is what its plan says, another lab would take another plan, and
// nothing is left.
func TestNetworks(t *testing.T) {
	alone(t)
	p, n, err := claimNetwork()
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	if p != plans[0] {
		t.Errorf("%v", p)
	}
	if b, err := os.ReadFile(fmt.Sprintf(forwarding, n.outer)); err != nil || string(b) != "1\n" {
		t.Errorf("forwarding of %s: %q, %v", n.outer, b, err)
	}
	ns, err := netns.GetFromName(n.name)
	if err != nil {
		t.Fatal(err)
	}
	h, err := netlink.NewHandleAt(ns)
	ns.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	inner, err := h.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := h.AddrList(inner, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 || addrs[0].IP.String() != p.host.String() {
		t.Errorf("the host has %v, %v", addrs, err)
	}
	if q, err := freePlan(); err != nil || q != plans[1] {
		t.Errorf("a second lab would take %v, %v", q, err)
	}

	n.close()
	if _, err := netlink.LinkByName(n.outer); err == nil {
		t.Errorf("%s is left", n.outer)
	}
	if _, err := os.Stat(filepath.Join(netnsDir, n.name)); err == nil {
		t.Errorf("%s is left", n.name)
	}
}

// What a killed lab left goes with the next start; what a live one has stays.
func TestSweep(t *testing.T) {
	alone(t)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	left, mine := fmt.Sprint(netnsPrefix, dead.Process.Pid), fmt.Sprint(netnsPrefix, os.Getpid())
	for _, name := range []string{left, mine} {
		ns, err := newNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		ns.Close()
		defer func() { _ = netns.DeleteNamed(name) }()
	}
	if p, err := choosePlan(); err != nil || p != plans[0] {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := os.Stat(filepath.Join(netnsDir, left)); err == nil {
		t.Error("a dead lab's namespace is left")
	}
	if _, err := os.Stat(filepath.Join(netnsDir, mine)); err != nil {
		t.Errorf("a live lab's namespace: %v", err)
	}
}
