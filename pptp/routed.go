package pptp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"postern/pptp/tun"
)

// routedTable finds sessions by the networks behind their clients (Framed-Route, RFC 2865
// §5.22). Of several networks with an address the longest has it.
type routedTable struct {
	count    atomic.Int32 // spares nodes without networks the lock
	changing sync.Mutex   // keeps the host's routes in the order of the changes here

	mu      sync.RWMutex
	at      map[routedNet]*session
	lengths [33]int // how many networks of each
}

type routedNet struct {
	number uint32
	bits   uint8
}

func (r routedNet) mask() uint32 { return ^uint32(0) << (32 - r.bits) }

func routedOf(p netip.Prefix) routedNet {
	a := p.Addr().As4()
	return routedNet{binary.BigEndian.Uint32(a[:]), uint8(p.Bits())}
}

func (t *routedTable) find(a [4]byte) *session {
	if t.count.Load() == 0 {
		return nil
	}
	number := binary.BigEndian.Uint32(a[:])
	t.mu.RLock()
	defer t.mu.RUnlock()
	for bits := uint8(32); bits > 0; bits-- {
		if t.lengths[bits] == 0 {
			continue
		}
		key := routedNet{bits: bits}
		key.number = number & key.mask()
		if s := t.at[key]; s != nil {
			return s
		}
	}
	return nil
}

// put gives a network to s, also where another session has it: a client that dials again
// is at the other end of its new session, however long the old one takes to end.
func (t *routedTable) put(p netip.Prefix, s *session) (former *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = make(map[routedNet]*session)
	}
	key := routedOf(p)
	former = t.at[key]
	t.at[key] = s
	if former == nil {
		t.lengths[key.bits]++
		t.count.Add(1)
	}
	return former
}

// remove takes a network back from s; false if another session has it by now.
func (t *routedTable) remove(p netip.Prefix, s *session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := routedOf(p)
	if t.at[key] != s {
		return false
	}
	delete(t.at, key)
	t.lengths[key.bits]--
	t.count.Add(-1)
	return true
}

// owner is the session that packets to an address go to, and the only one that they may
// come from.
func (n *Node) owner(a [4]byte) *session {
	if s := n.addrs.find(a); s != nil {
		return s
	}
	return n.routed.find(a)
}

// Why a network is not routed to its client. The session goes on without it.
var (
	errRouteFiltered = errors.New("this node has a packet filter, which knows clients by their addresses only")
	errRouteInside   = errors.New("it has an address of the tunnel's own ends")
)

// lead routes the networks behind the client to it. s.routes are those that it has then.
// shard.mu is held.
func (s *session) lead() {
	for _, p := range s.grant.routes {
		if err := s.leadOne(p); err != nil {
			s.log.Error("network not routed to the client", "user", redact(s.user), "network", p, "error", err)
			continue
		}
		s.routes = append(s.routes, p)
	}
}

func (s *session) leadOne(p netip.Prefix) error {
	n := s.node
	switch {
	case n.fence.filter != nil:
		return errRouteFiltered
	case p.Contains(s.peer), p.Contains(s.local), p.Contains(n.settings.Load().Inside):
		return errRouteInside // the tunnel would be led into itself
	}
	n.routed.changing.Lock()
	defer n.routed.changing.Unlock()
	if former := n.routed.put(p, s); former != nil {
		s.log.Warn("network taken over from another session", "user", redact(s.user), "network", p, "from", former.id)
		return nil // the host's route is there
	}
	if err := n.route(p, true); err != nil {
		n.routed.remove(p, s)
		return fmt.Errorf("the host's routes: %w", err)
	}
	return nil
}

// unlead takes the networks back. shard.mu is held.
func (s *session) unlead() {
	n := s.node
	n.routed.changing.Lock()
	defer n.routed.changing.Unlock()
	for _, p := range s.routes {
		if !n.routed.remove(p, s) {
			continue
		}
		if err := n.route(p, false); err != nil {
			s.log.Error("route to the client's network left behind", "network", p, "error", err)
		}
	}
	s.routes = nil
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
