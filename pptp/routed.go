package pptp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"postern/pptp/filter"
	"postern/pptp/tun"
)

// RouteFault says why a network is not routed to its client. The session goes on without
// it.
//
// Handled in: routeFaultNames; the metric's label.
type RouteFault uint8

const (
	RouteUnknown    RouteFault = iota
	RouteUnreadable            // no IPv4 network, or one that no client can have behind it
	RouteInside                // it has an address of the tunnel's own ends
	RouteLocal                 // it overlaps a network that this host is in
	RouteTaken                 // it overlaps another session's
	RouteTooMany               // the session has as many as one may have, or all have
	RouteHost                  // the host's routes would not take it
	numRouteFaults
)

var routeFaultNames = [numRouteFaults]string{
	RouteUnknown: "unknown", RouteUnreadable: "unreadable", RouteInside: "own address", RouteLocal: "local network",
	RouteTaken: "another session", RouteTooMany: "too many", RouteHost: "host route",
}

// String returns the metric's label.
func (f RouteFault) String() string {
	if f < numRouteFaults {
		return routeFaultNames[f]
	}
	return routeFaultNames[RouteUnknown]
}

// unrouted is a network that is left out.
type unrouted struct {
	fault RouteFault
	err   error
}

// routedTable finds sessions by the networks behind their clients (Framed-Route, RFC 2865
// §5.22). No two of its networks overlap. A session has its networks from when a service
// accepts it until it has left the packet filter; the host's routes lead there while it
// is up.
type routedTable struct {
	count    atomic.Int32 // spares nodes without networks the lock
	changing sync.Mutex   // keeps the host's routes in the order of the changes here

	mu   sync.RWMutex
	nets []routedNet // in order
	turn uint64      // of the last session that came
}

type routedNet struct {
	first, last uint32
	s           *session
	user        string
	led         bool // changing, too: the host's route is there
}

func routedOf(p netip.Prefix) routedNet {
	a := p.Addr().As4()
	first := binary.BigEndian.Uint32(a[:])
	return routedNet{first: first, last: first | uint32(1<<(32-p.Bits())-1)}
}

func (r *routedNet) prefix() netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], r.first)
	bits := 32
	for size := r.last - r.first; size > 0; size >>= 1 {
		bits--
	}
	return netip.PrefixFrom(netip.AddrFrom4(a), bits)
}

func (t *routedTable) find(a [4]byte) *session {
	if t.count.Load() == 0 {
		return nil
	}
	number := binary.BigEndian.Uint32(a[:])
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i := t.search(number); i < len(t.nets) && t.nets[i].first <= number {
		return t.nets[i].s
	}
	return nil
}

// search is the first network that ends at number or behind it. mu is held.
func (t *routedTable) search(number uint32) int {
	i, _ := slices.BinarySearchFunc(t.nets, number, func(r routedNet, n uint32) int { return cmp.Compare(r.last, n) })
	return i
}

// at is where s has a network; nil: it has not. mu is held.
func (t *routedTable) at(p netip.Prefix, s *session) *routedNet {
	want := routedOf(p)
	if i := t.search(want.first); i < len(t.nets) && t.nets[i].s == s && t.nets[i].first == want.first && t.nets[i].last == want.last {
		return &t.nets[i]
	}
	return nil
}

// put gives a network to a session. The same network of another session is taken from
// it: a client that dials again is at the other end of its new session, however long the
// old one takes to end, and so is the second router of a site whose first has failed.
// Other networks that overlap are taken from sessions of the same user only.
func (t *routedTable) put(p netip.Prefix, s *session, user string) (from []routedNet, ok bool) {
	want := routedOf(p)
	want.s, want.user = s, user
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.search(want.first)
	j := i
	for ; j < len(t.nets) && t.nets[j].first <= want.last; j++ {
		r := &t.nets[j]
		same := r.first == want.first && r.last == want.last
		if !same && (user == "" || r.user != user) {
			return nil, false
		}
		want.led = same && r.led
	}
	if i == j && len(t.nets) >= filter.MaxRouted {
		return nil, false
	}
	from = slices.Clone(t.nets[i:j])
	t.nets = slices.Replace(t.nets, i, j, want)
	t.count.Store(int32(len(t.nets)))
	return from, true
}

// held are those of the networks that s still has.
func (t *routedTable) held(nets []netip.Prefix, s *session) (left []netip.Prefix) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, p := range nets {
		if t.at(p, s) != nil {
			left = append(left, p)
		}
	}
	return left
}

// remove takes a network back from s, if it has it.
func (t *routedTable) remove(p netip.Prefix, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at(p, s) != nil {
		i := t.search(routedOf(p).first)
		t.nets = slices.Delete(t.nets, i, i+1)
		t.count.Store(int32(len(t.nets)))
	}
}

// led notes whether the host's route is there. It says what was noted before, and
// whether s has the network at all.
func (t *routedTable) led(p netip.Prefix, s *session, now bool) (before, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.at(p, s)
	if r == nil {
		return false, false
	}
	before, r.led = r.led, now
	return before, true
}

// owner is the session that packets to an address go to, and the only one that they may
// come from.
func (n *Node) owner(a [4]byte) *session {
	if s := n.addrs.find(a); s != nil {
		return s
	}
	return n.routed.find(a)
}

var (
	errRouteInside  = errors.New("it has an address of the tunnel's own ends")
	errRouteTaken   = errors.New("it overlaps another session's")
	errRouteTooMany = fmt.Errorf("one client may have %d, and all %d", filter.MaxRoutes, filter.MaxRouted)
)

// claim takes the networks that a service grants. g.routes are those that s has then,
// g.unrouted the others. No shard is held.
func (s *session) claim(g *grant) {
	if len(g.routes) == 0 {
		return
	}
	t := &s.node.routed
	t.changing.Lock()
	defer t.changing.Unlock()
	t.turn++
	g.turn = t.turn
	var locals []netip.Prefix
	if f := s.node.deps.Locals; f != nil {
		locals = f()
	}
	wanted := g.routes
	g.routes = nil
	for _, p := range wanted {
		if slices.ContainsFunc(wanted, func(q netip.Prefix) bool { return q.Bits() < p.Bits() && q.Contains(p.Addr()) }) {
			continue // routed with the other
		}
		if fault, err := s.claimOne(p, g, locals); err != nil {
			g.unrouted = append(g.unrouted, unrouted{fault, fmt.Errorf("%v: %w", p, err)})
			continue
		}
		g.routes = append(g.routes, p)
	}
}

// claimOne is for one network. changing is held.
func (s *session) claimOne(p netip.Prefix, g *grant, locals []netip.Prefix) (RouteFault, error) {
	n := s.node
	if p.Contains(s.peer) || p.Contains(s.local) || p.Contains(n.settings.Load().Inside) {
		return RouteInside, errRouteInside // the tunnel would be led into itself
	}
	if i := slices.IndexFunc(locals, p.Overlaps); i >= 0 {
		return RouteLocal, fmt.Errorf("this host is in %v", locals[i])
	}
	if len(g.routes) >= filter.MaxRoutes || n.routed.count.Load() >= filter.MaxRouted {
		return RouteTooMany, errRouteTooMany
	}
	from, ok := n.routed.put(p, s, g.user)
	if !ok {
		return RouteTaken, errRouteTaken
	}
	for _, r := range from {
		s.log.Warn("network taken over from another session", "user", redact(g.user), "network", r.prefix(), "from", r.s.id)
		if r.prefix() != p && r.led { // else the route is the new session's
			s.unroute(r.prefix())
		}
	}
	return RouteUnknown, nil
}

// tellUnrouted says which networks are left out.
func (s *session) tellUnrouted(all ...unrouted) {
	for _, u := range all {
		s.node.metrics.unrouted.WithLabelValues(u.fault.String()).Inc()
		s.log.Error("network not routed to the client", "user", redact(s.user), "reason", u.fault.String(), "error", u.err)
	}
}

// lead routes the session's networks to it. shard.mu is held.
func (s *session) lead() {
	t := &s.node.routed
	t.changing.Lock()
	defer t.changing.Unlock()
	for _, p := range s.grant.routes {
		before, ok := t.led(p, s, true)
		if !ok || before {
			continue
		}
		if err := s.node.route(p, true); err != nil {
			t.remove(p, s)
			s.tellUnrouted(unrouted{RouteHost, fmt.Errorf("%v: the host's routes: %w", p, err)})
		}
	}
}

// unlead takes the host's routes to the session's networks away.
func (s *session) unlead(nets []netip.Prefix) {
	t := &s.node.routed
	t.changing.Lock()
	defer t.changing.Unlock()
	for _, p := range nets {
		if before, _ := t.led(p, s, false); before {
			s.unroute(p)
		}
	}
}

func (s *session) unroute(p netip.Prefix) {
	if err := s.node.route(p, false); err != nil {
		s.log.Error("route to the client's network left behind", "network", p, "error", err)
	}
}

// disclaim lets others have the networks.
func (s *session) disclaim(nets []netip.Prefix) {
	if len(nets) == 0 {
		return
	}
	s.unlead(nets)
	for _, p := range nets {
		s.node.routed.remove(p, s)
	}
}

// route leads addresses of clients to the TUN device, unless a configured route does.
func (n *Node) route(p netip.Prefix, add bool) error {
	for _, r := range n.settings.Load().Routes {
		if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			return nil
		}
	}
	r, ok := n.tun.(tun.Router)
	switch {
	case !ok:
		return nil
	case add:
		return r.AddRoute(p)
	}
	return r.DelRoute(p)
}
