package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// plan is the lab's addresses: none may be in use on this host.
type plan struct {
	pool   netip.Prefix // clients and the node's own end
	node   netip.Addr   // the node inside the tunnels
	first  netip.Addr   // of the leased addresses
	last   netip.Addr
	inside netip.Prefix // the network behind the node
	router netip.Addr   // the node there
	host   netip.Addr   // the host behind the node
}

func newPlan(pool, inside netip.Prefix) plan {
	at := func(p netip.Prefix, last byte) netip.Addr {
		a := p.Addr().As4()
		a[3] = last
		return netip.AddrFrom4(a)
	}
	return plan{
		pool: pool, node: at(pool, 1), first: at(pool, 10), last: at(pool, 250),
		inside: inside, router: at(inside, 1), host: at(inside, 2),
	}
}

// plans are tried in this order.
var plans = []plan{
	newPlan(netip.MustParsePrefix("10.80.0.0/24"), netip.MustParsePrefix("10.81.0.0/24")),
	newPlan(netip.MustParsePrefix("10.180.80.0/24"), netip.MustParsePrefix("10.180.81.0/24")),
	newPlan(netip.MustParsePrefix("172.30.180.0/24"), netip.MustParsePrefix("172.30.181.0/24")),
	newPlan(netip.MustParsePrefix("192.168.180.0/24"), netip.MustParsePrefix("192.168.181.0/24")),
}

// choosePlan clears away what killed labs left and returns the first plan that no
// local route overlaps. The kernel takes a moment to take a namespace down, so that
// after a clearance the first plan gets one.
func choosePlan() (plan, error) {
	if sweepStale() {
		for end := time.Now().Add(sweepWait); time.Now().Before(end); time.Sleep(sweepPoll) {
			if p, err := freePlan(); err == nil && p == plans[0] {
				return p, nil
			}
		}
	}
	return freePlan()
}

const (
	sweepWait = 3 * time.Second
	sweepPoll = 50 * time.Millisecond
)

func freePlan() (plan, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return plan{}, fmt.Errorf("list routes: %w", err)
	}
	var used []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				used = append(used, netip.PrefixFrom(a.Unmap(), ones))
			}
		}
	}
	return firstFree(used)
}

// firstFree returns the first plan that overlaps none of the networks in use.
func firstFree(used []netip.Prefix) (plan, error) {
	free := func(p netip.Prefix) bool { return !slices.ContainsFunc(used, p.Overlaps) }
	for _, p := range plans {
		if free(p.pool) && free(p.inside) {
			return p, nil
		}
	}
	var tried []string
	for _, p := range plans {
		tried = append(tried, p.pool.String()+" with "+p.inside.String())
	}
	return plan{}, fmt.Errorf("every network the lab would use is in use on this host already: %s", strings.Join(tried, ", "))
}

const (
	netnsPrefix = "postern-lab-"
	netnsDir    = "/run/netns"
	forwarding  = "/proc/sys/net/ipv4/conf/%s/forwarding"
)

// network is a namespace with the host behind the node, joined to ours by a pair
// of virtual Ethernet devices.
type network struct {
	name  string // of the namespace, for `ip netns exec`
	outer string // our end of the pair
}

// claimNetwork chooses a plan and makes its network. Labs that start at once take
// turns, by the lock that ip-netns(8) takes, so that each finds the others' routes.
func claimNetwork() (plan, *network, error) {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return plan{}, nil, err
	}
	unlock, err := lockDir(netnsDir, 0)
	if err != nil {
		return plan{}, nil, err
	}
	defer unlock()
	p, err := choosePlan()
	if err != nil {
		return plan{}, nil, err
	}
	n, err := openNetwork(p)
	return p, n, err
}

// lockDir locks a directory; how is 0 or unix.LOCK_NB.
func lockDir(dir string, how int) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil // closing unlocks
}

// openNetwork makes it.
func openNetwork(p plan) (_ *network, err error) {
	pid := os.Getpid()
	n := &network{name: netnsPrefix + strconv.Itoa(pid), outer: fmt.Sprintf("pl%d", pid)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("the lab's network: %w", err)
			n.close()
		}
	}()
	ns, err := newNamed(n.name)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	const inner = "eth0"
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: n.outer}, PeerName: inner, PeerNamespace: netlink.NsFd(ns),
	}); err != nil {
		return nil, err
	}
	if err := setUp(&netlink.Handle{}, n.outer, netip.PrefixFrom(p.router, p.inside.Bits())); err != nil {
		return nil, err
	}
	if err := loopbackUp(&netlink.Handle{}); err != nil { // a fresh namespace has it down
		return nil, err
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if err := loopbackUp(h); err != nil {
		return nil, err
	}
	if err := setUp(h, inner, netip.PrefixFrom(p.host, p.inside.Bits())); err != nil {
		return nil, err
	}
	pool := net.IPNet{IP: p.pool.Addr().AsSlice(), Mask: net.CIDRMask(p.pool.Bits(), 32)}
	if err := h.RouteAdd(&netlink.Route{Dst: &pool, Gw: p.router.AsSlice()}); err != nil {
		return nil, err
	}
	return n, forward(n.outer)
}

// newNamed makes a namespace under /run/netns without leaving our own.
func newNamed(name string) (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours, err := netns.Get()
	if err != nil {
		return netns.None(), err
	}
	defer ours.Close()
	ns, err := netns.NewNamed(name)
	return ns, errors.Join(err, netns.Set(ours))
}

// within runs f on a thread in a namespace: sockets and devices opened by f belong to it.
func within(ns netns.NsHandle, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours, err := netns.Get()
	if err != nil {
		return err
	}
	defer ours.Close()
	if err := netns.Set(ns); err != nil {
		return err
	}
	return errors.Join(f(), netns.Set(ours))
}

func loopbackUp(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.LinkSetUp(lo)
}

func setUp(h *netlink.Handle, name string, addr netip.Prefix) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}}
	return errors.Join(h.AddrAdd(l, a), h.LinkSetUp(l))
}

// forward lets the kernel route what comes in by a device of ours. The host's own
// ip_forward stays as it is: it outlives us, and other labs would fight over it.
func forward(device string) error {
	return os.WriteFile(fmt.Sprintf(forwarding, device), []byte("1\n"), 0)
}

// close leaves the host as it was. The veth pair goes with the namespace.
func (n *network) close() {
	_ = netns.DeleteNamed(n.name)
	if l, err := netlink.LinkByName(n.outer); err == nil {
		_ = netlink.LinkDel(l)
	}
}

// sweepStale removes namespaces of labs that were killed, and says whether there
// were any.
func sweepStale() (found bool) {
	names, _ := filepath.Glob(filepath.Join(netnsDir, netnsPrefix+"*"))
	for _, f := range names {
		name := filepath.Base(f)
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, netnsPrefix), "-")
		pid, err := strconv.Atoi(digits)
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			found = netns.DeleteNamed(name) == nil || found
		}
	}
	return found
}
