// Package simnet is a network in memory for tests of whole logins: hosts that
// exchange datagrams, as raw IP sockets do (RFC 791: lost, repeated and late as
// the test asks), and streams that behave as TCP's do (RFC 9293). It blocks on
// channels and condition variables and waits on timers only, so that inside a
// testing/synctest bubble all of it passes on virtual time; it works on real time
// as well.
//
// The same seed gives the same fates: those of a direction depend on the seed, on
// the two addresses and on how many datagrams went before, not on what goroutines
// of other hosts do.
//
// Left out: routing, address translation, MTU, bandwidth; a stream loses nothing
// and has no retransmission, it waits while its direction is down.
package simnet

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"
)

// Network joins hosts. Under testing/synctest it and all that it makes must be
// made inside the bubble.
type Network struct {
	seed  uint64
	mu    sync.Mutex // guards all below, and all that hosts have
	trace func(Event)

	hosts      map[netip.Addr]*Host
	faults     map[pair]*Faults
	directions map[direction]*course

	queue events
	order uint64 // of events made
	timer *time.Timer
}

// pair is a direction as faults are set for: the zero address is any.
type pair struct{ from, to netip.Addr }

// New makes a network without hosts and faults: all arrives at once.
func New(seed uint64) *Network {
	return &Network{
		seed: seed, hosts: map[netip.Addr]*Host{}, faults: map[pair]*Faults{}, directions: map[direction]*course{},
	}
}

// Host returns the host of an address and makes it where it is new.
func (n *Network) Host(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addr]
	if h == nil {
		h = &Host{net: n, addr: addr, listeners: map[uint16]*listener{}, lastPort: firstPort - 1}
		n.hosts[addr] = h
	}
	return h
}

// Host is one address on the network.
type Host struct {
	net       *Network
	addr      netip.Addr
	endpoints []*Endpoint
	listeners map[uint16]*listener
	lastPort  uint16
}

// Addr is the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// event is something that arrives. Those due at the same time happen in the order
// they were made.
type event struct {
	due    time.Time
	order  uint64
	happen func() // under the Network's lock
}

type events []event

func (q events) Len() int      { return len(q) }
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q events) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].order < q[j].order
}

func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// atLocked makes an event. The caller calls runLocked before he unlocks.
func (n *Network) atLocked(due time.Time, happen func()) {
	n.order++
	heap.Push(&n.queue, event{due, n.order, happen})
}

// runLocked lets happen what is due and waits for what is not. There is no
// goroutine: one that outlives its test would never let a bubble end.
func (n *Network) runLocked() {
	now := time.Now()
	for len(n.queue) > 0 && !n.queue[0].due.After(now) {
		heap.Pop(&n.queue).(event).happen()
	}
	if len(n.queue) == 0 {
		return
	}
	wait := n.queue[0].due.Sub(now)
	if n.timer == nil {
		n.timer = time.AfterFunc(wait, n.fire)
		return
	}
	n.timer.Reset(wait)
}

func (n *Network) fire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runLocked()
}
