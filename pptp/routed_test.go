package pptp

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/pptp/filter"
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

// prefixes are networks by their texts.
func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestRoutedTable(t *testing.T) {
	var table routedTable
	one, two, three := new(session), new(session), new(session)
	put := func(n string, s *session, user string, want bool, from ...*session) {
		t.Helper()
		former, ok := table.put(netip.MustParsePrefix(n), s, user)
		var got []*session
		for _, r := range former {
			got = append(got, r.s)
		}
		if ok != want || !slices.Equal(got, from) {
			t.Errorf("%s: %v, from %d sessions", n, ok, len(got))
		}
		for i := 1; i < len(table.nets); i++ {
			if table.nets[i-1].last >= table.nets[i].first {
				t.Fatalf("%s: %v and %v overlap", n, table.nets[i-1].prefix(), table.nets[i].prefix())
			}
		}
	}
	put("10.50.0.0/16", one, "alice", true)
	put("10.51.7.0/24", two, "bob", true)
	put("10.51.6.0/24", one, "alice", true)
	put("10.51.7.7/32", three, "carol", false) // within bob's
	put("10.51.6.0/23", three, "carol", false) // over alice's and bob's
	put("10.51.6.0/23", two, "bob", false)
	put("10.0.0.0/8", three, "carol", false)
	put("10.50.0.0/17", two, "", false)
	put("128.0.0.0/1", three, "", true)
	put("255.255.255.255/32", one, "", false) // without a name nobody is the same user
	put("127.255.255.255/32", one, "alice", true)
	find := func(a string) *session { return table.find(netip.MustParseAddr(a).As4()) }
	for a, want := range map[string]*session{
		"10.50.0.0": one, "10.50.255.255": one, "10.51.0.0": nil, "10.49.255.255": nil, "10.51.7.0": two, "10.51.6.255": one,
		"10.51.7.255": two, "10.51.8.0": nil, "10.51.5.255": nil, "255.255.255.255": three, "127.0.0.1": nil, "127.255.255.255": one,
		"128.0.0.0": three, "0.0.0.0": nil,
	} {
		if find(a) != want {
			t.Errorf("%s is another's", a)
		}
	}
	put("10.51.7.0/24", three, "carol", true, two) // the same network: the other router of a site
	put("10.48.0.0/13", two, "alice", false)       // carol has one in it
	put("10.50.128.0/17", two, "alice", true, one) // alice dials again, and has less by now
	if find("10.50.1.1") != nil || find("10.50.200.1") != two {
		t.Error("what is left of a network is somebody's")
	}
	put("10.50.0.0/15", two, "alice", false)
	table.remove(netip.MustParsePrefix("10.51.7.0/24"), two) // not its own any more
	table.remove(netip.MustParsePrefix("10.51.0.0/16"), three)
	if find("10.51.7.1") != three {
		t.Error("removed by another one, or as another network")
	}
	table.remove(netip.MustParsePrefix("10.51.7.0/24"), three)
	put("10.50.0.0/15", two, "alice", true, two, one)
	if got := table.held(prefixes("10.50.0.0/15", "10.51.6.0/24", "128.0.0.0/1"), two); len(got) != 1 {
		t.Errorf("has %v", got)
	}
	for n, s := range map[string]*session{"10.50.0.0/15": two, "128.0.0.0/1": three, "127.255.255.255/32": one} {
		if got := table.nets[table.search(routedOf(netip.MustParsePrefix(n)).first)].prefix(); got.String() != n {
			t.Errorf("%v is called %v", n, got)
		}
		table.remove(netip.MustParsePrefix(n), s)
	}
	if table.count.Load() != 0 || len(table.nets) != 0 {
		t.Errorf("left: %v", table.nets)
	}
	for i := range uint32(filter.MaxRouted) {
		table.nets = append(table.nets, routedNet{first: i, last: i, s: one})
	}
	put("10.50.0.0/15", two, "alice", false)
}

// What is for a network behind a client reaches it, what comes from there passes, and
// nothing else does; nor anything at all when the session is out of the data path.
func TestNetworkBehindClient(t *testing.T) {
	r := newRig(t, true)
	reg := prometheus.NewRegistry()
	r.node.metrics.unrouted = newMetrics(reg).unrouted
	h := &hostRoutes{routes: map[netip.Prefix]bool{netip.MustParsePrefix("10.51.0.0/24"): true}}
	r.node.tun = h
	r.node.deps.Locals = func() []netip.Prefix { return prefixes("172.16.0.0/24", "10.53.1.0/24") }
	stranger := &session{node: r.node, log: r.node.log, peer: testPeer, local: testLocal}
	theirs := grant{user: "bob", routes: prefixes("10.54.0.0/16")}
	stranger.claim(&theirs)
	r.s.grant.user = "alice"
	r.s.grant.routes = prefixes("10.50.7.0/24", "10.80.9.0/24", "10.51.0.0/24", "192.0.0.0/16", "10.80.0.0/24", "10.53.0.0/16",
		"172.16.0.128/25", "10.54.3.0/24", "10.50.7.9/32")
	r.s.claim(&r.s.grant)
	r.s.tellUnrouted(r.s.grant.unrouted...)
	if h.count != 0 || len(h.routes) != 1 {
		t.Error("routed before the session is up")
	}
	r.s.lead()
	// 10.80.9.0/24 is led here already, 10.51.0.0/24 elsewhere; 10.50.7.9 is in another one.
	held := func() string { return fmt.Sprint(r.node.routed.held(r.s.grant.routes, r.s)) }
	if got := held() + fmt.Sprint(h.routes); got != "[10.50.7.0/24 10.80.9.0/24]map[10.50.7.0/24:true 10.51.0.0/24:true]" {
		t.Fatal(got)
	}
	for fault, want := range map[RouteFault]float64{RouteInside: 2, RouteLocal: 2, RouteTaken: 1, RouteHost: 1, RouteUnreadable: 0, RouteTooMany: 0} {
		if got := testutil.ToFloat64(r.node.metrics.unrouted.WithLabelValues(fault.String())); got != want {
			t.Errorf("%v left out of %v, want %v", got, fault, want)
		}
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
	for a, want := range map[string]bool{"10.50.7.1": true, "10.50.7.9": true, "10.80.9.1": true, "10.50.8.1": false, "10.51.0.1": false} {
		if reaches(a) != want || passes(a) != want {
			t.Errorf("%s: want %v both ways", a, want)
		}
	}
	for _, a := range []string{"10.80.9.9", "10.54.3.1", "10.50.6.255"} {
		before := r.node.metrics.drops[DropSpoofed].Load()
		if passes(a) || r.node.metrics.drops[DropSpoofed].Load() != before+1 {
			t.Errorf("a client sends from %s, or no drop was counted", a)
		}
	}
	if got := testing.AllocsPerRun(100, func() { r.node.owner([4]byte{10, 50, 7, 1}) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
	// IPCP is negotiated anew: the networks are still the session's.
	r.s.unlead(r.s.grant.routes)
	if len(h.routes) != 1 || r.node.owner([4]byte{10, 50, 7, 1}) != r.s {
		t.Errorf("meanwhile %v", h.routes)
	}
	r.s.lead()
	// The client dials again before its old session is over.
	next := &session{node: r.node, log: r.node.log, peer: testPeer, local: testLocal}
	next.grant = grant{user: "alice", routes: prefixes("10.50.7.0/24", "10.80.0.0/23")}
	next.claim(&next.grant)
	if passes("10.50.7.1") || r.node.owner([4]byte{10, 50, 7, 1}) != next || len(h.routes) != 2 {
		t.Error("the old session has the network")
	}
	if next.grant.turn <= r.s.grant.turn || held() != "[10.80.9.0/24]" {
		t.Errorf("turn %d after %d; the old session has %s", next.grant.turn, r.s.grant.turn, held())
	}
	next.lead()
	r.s.shut()
	r.s.disclaim(r.s.grant.routes)
	if len(h.routes) != 2 || r.node.owner([4]byte{10, 80, 9, 1}) != nil || r.node.owner([4]byte{10, 50, 7, 1}) != next {
		t.Errorf("%v", h.routes)
	}
	// Again, with less: what was there goes.
	last := &session{node: r.node, log: r.node.log, peer: testPeer, local: testLocal}
	last.grant = grant{user: "alice", routes: prefixes("10.50.7.128/25")}
	last.claim(&last.grant)
	if len(h.routes) != 1 || r.node.owner([4]byte{10, 50, 7, 1}) != nil || r.node.owner([4]byte{10, 50, 7, 200}) != last {
		t.Errorf("after less: %v", h.routes)
	}
	for _, s := range []*session{next, last, stranger} {
		s.disclaim(append(s.grant.routes, theirs.routes...))
	}
	if len(h.routes) != 1 || r.node.routed.count.Load() != 0 || reaches("10.50.7.1") {
		t.Errorf("left: %v", h.routes)
	}
}

// A session has no more networks than the packet filter takes of one client.
func TestTooManyNetworks(t *testing.T) {
	r := newRig(t, true)
	g := grant{}
	for i := range filter.MaxRoutes + 3 {
		g.routes = append(g.routes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 90, byte(i), 0}), 24))
	}
	r.s.claim(&g)
	if len(g.routes) != filter.MaxRoutes || len(g.unrouted) != 3 || g.unrouted[0].fault != RouteTooMany {
		t.Errorf("%d networks, %v", len(g.routes), g.unrouted)
	}
}

func TestRouteFault(t *testing.T) {
	seen := map[string]bool{}
	for f := RouteUnknown; f < numRouteFaults; f++ {
		if f.String() == "" || seen[f.String()] {
			t.Errorf("%d is called %q", f, f)
		}
		seen[f.String()] = true
	}
	if numRouteFaults.String() != "unknown" {
		t.Error("what is none has a name")
	}
}
