package pptp

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
)

// hostRoutes is a TUN device with routes of the host.
type hostRoutes struct {
	sink
	routes map[netip.Prefix]bool
}

func (h *hostRoutes) AddRoute(p netip.Prefix) error {
	if h.routes[p] {
		return syscall.EEXIST
	}
	h.routes[p] = true
	return nil
}

func (h *hostRoutes) DelRoute(p netip.Prefix) error {
	if !h.routes[p] {
		return syscall.ESRCH
	}
	delete(h.routes, p)
	return nil
}

func TestRoutedTable(t *testing.T) {
	var table routedTable
	wide, narrow, host := new(session), new(session), new(session)
	for _, row := range []struct {
		net string
		s   *session
	}{{"10.50.0.0/16", wide}, {"10.50.7.0/24", narrow}, {"10.50.7.7/32", host}, {"128.0.0.0/1", wide}} {
		if former := table.put(netip.MustParsePrefix(row.net), row.s); former != nil {
			t.Error(row.net)
		}
	}
	find := func(a string) *session { return table.find(netip.MustParseAddr(a).As4()) }
	for a, want := range map[string]*session{
		"10.50.0.0": wide, "10.50.255.255": wide, "10.51.0.0": nil, "10.49.255.255": nil, "10.50.7.0": narrow,
		"10.50.7.255": narrow, "10.50.8.0": wide, "10.50.7.7": host, "10.50.7.6": narrow, "255.255.255.255": wide, "127.0.0.1": nil,
	} {
		if find(a) != want {
			t.Errorf("%s is another's", a)
		}
	}
	n := netip.MustParsePrefix("10.50.7.0/24")
	if former := table.put(n, host); former != narrow || find("10.50.7.6") != host {
		t.Error("the newer session has it not")
	}
	if table.remove(n, narrow) || find("10.50.7.6") != host || !table.remove(n, host) || find("10.50.7.6") != wide {
		t.Error("removed")
	}
	for _, p := range []string{"10.50.0.0/16", "128.0.0.0/1"} {
		table.remove(netip.MustParsePrefix(p), wide)
	}
	if table.remove(netip.MustParsePrefix("10.50.7.7/32"), host); table.count.Load() != 0 || len(table.at) != 0 || table.lengths != [33]int{} {
		t.Error("something is left")
	}
}

// What is for a network behind a client reaches it, what comes from there passes, and
// nothing else does; nor anything at all when the session is out of the data path.
func TestNetworkBehindClient(t *testing.T) {
	r := newRig(t, true)
	h := &hostRoutes{routes: map[netip.Prefix]bool{netip.MustParsePrefix("10.51.0.0/24"): true}}
	r.node.tun = h
	for _, p := range []string{"10.50.7.0/24", "10.80.9.0/24", "10.51.0.0/24", "192.0.0.0/16", "10.80.0.0/24"} {
		r.s.grant.routes = append(r.s.grant.routes, netip.MustParsePrefix(p))
	}
	r.s.lead()
	// 10.80.9.0/24 is led here already, 10.51.0.0/24 elsewhere; the others have the
	// tunnel's own ends.
	if got := fmt.Sprint(r.s.routes, h.routes); got != "[10.50.7.0/24 10.80.9.0/24] map[10.50.7.0/24:true 10.51.0.0/24:true]" {
		t.Fatal(got)
	}
	farOff := netip.MustParseAddr("10.81.0.2")
	reaches := func(a string) bool {
		before := r.wire.count
		ip := ipPacket(farOff, netip.MustParseAddr(a), 100)
		r.tx.sizes[0] = copy(r.tx.bufs[0][headroom:], ip)
		r.tx.output(1)
		return r.wire.count > before
	}
	passes := func(a string) bool {
		before := h.count
		r.fromClient(&r.rx.ms[0], ipPacket(netip.MustParseAddr(a), farOff, 100), testPeer)
		r.node.input(r.rx, r.rx.ms[:1])
		return h.count > before
	}
	other := new(session)
	r.node.addrs.put([4]byte{10, 80, 9, 9}, other)
	for a, want := range map[string]bool{"10.50.7.1": true, "10.80.9.1": true, "10.50.8.1": false, "10.51.0.1": false} {
		if reaches(a) != want || passes(a) != want {
			t.Errorf("%s: want %v both ways", a, want)
		}
	}
	if passes("10.80.9.9") {
		t.Error("a client sends from another's address")
	}
	before := r.node.metrics.drops[DropSpoofed].Load()
	if passes("10.50.6.255"); r.node.metrics.drops[DropSpoofed].Load() != before+1 {
		t.Error("no drop was counted")
	}
	if got := testing.AllocsPerRun(100, func() { r.node.owner([4]byte{10, 50, 7, 1}) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
	// The client dials again before its old session is over.
	next := &session{node: r.node, log: r.node.log, peer: testPeer, local: testLocal, grant: grant{routes: r.s.grant.routes[:1]}}
	next.lead()
	if passes("10.50.7.1") || r.node.owner([4]byte{10, 50, 7, 1}) != next {
		t.Error("the old session has the network")
	}
	r.s.shut()
	if len(h.routes) != 2 || r.node.owner([4]byte{10, 80, 9, 1}) != nil || r.node.owner([4]byte{10, 50, 7, 1}) != next {
		t.Errorf("%v", h.routes)
	}
	next.unlead()
	if len(h.routes) != 1 || r.node.routed.count.Load() != 0 || reaches("10.50.7.1") {
		t.Errorf("left: %v", h.routes)
	}
}

// A packet filter would drop what it knows no address of, and what it let through would
// have passed no filter.
func TestNoNetworkPastTheFilter(t *testing.T) {
	r := newRig(t, true)
	r.node.fence.filter = new(FakeFilter)
	r.s.grant.routes = []netip.Prefix{netip.MustParsePrefix("10.50.7.0/24")}
	if r.s.lead(); len(r.s.routes) != 0 || r.node.owner([4]byte{10, 50, 7, 1}) != nil {
		t.Error("a network is routed past the packet filter")
	}
}
