package simnet

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// backlog is how many datagrams wait at an endpoint, as in a socket's buffer.
const backlog = 4096

// Endpoint receives a host's datagrams of one IP protocol and sends such. Where a
// host has several for a protocol each gets a copy, as raw sockets do: two clients
// behind one address are two endpoints of one host.
type Endpoint struct {
	host   *Host
	proto  uint8
	queue  chan datagram // closed under the Network's lock
	closed atomic.Bool
}

type datagram struct {
	from    netip.Addr
	payload []byte
}

// Datagrams opens an endpoint for an IP protocol.
func (h *Host) Datagrams(proto uint8) *Endpoint {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	e := &Endpoint{host: h, proto: proto, queue: make(chan datagram, backlog)}
	h.endpoints = append(h.endpoints, e)
	return e
}

// Host is whose endpoint it is.
func (e *Endpoint) Host() *Host { return e.host }

// Send copies a payload and sends it. The only error is net.ErrClosed.
func (e *Endpoint) Send(to netip.Addr, payload []byte) error {
	n := e.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.closed.Load() {
		return net.ErrClosed
	}
	n.sendLocked(n.courseLocked(e.host.addr, to, e.proto), payload)
	n.runLocked()
	return nil
}

func (n *Network) sendLocked(c *course, payload []byte) {
	f := n.faultsLocked(c.from, c.to)
	if c.faults != f {
		c.faults, c.sent = f, 0
	}
	c.sent++
	luck := c.draw()
	switch {
	case f.Down:
		n.traceLocked(c, Down, time.Time{}, payload)
		return
	case f.Drop != nil && f.Drop(c.sent, payload):
		n.traceLocked(c, Dropped, time.Time{}, payload)
		return
	case luck.loss < f.Loss:
		n.traceLocked(c, Lost, time.Time{}, payload)
		return
	}
	fate := Passed
	delay, late := luck.delay(f, 0)
	if late {
		fate = Late
	}
	n.passLocked(c, fate, delay, payload)
	if luck.duplicate < f.Duplicate {
		delay, _ := luck.delay(f, 1)
		n.passLocked(c, Copied, delay, payload)
	}
}

func (n *Network) passLocked(c *course, fate Fate, delay time.Duration, payload []byte) {
	due := time.Now().Add(delay)
	n.traceLocked(c, fate, due, payload)
	payload = bytes.Clone(payload)
	n.atLocked(due, func() { n.arriveLocked(c, payload) })
}

func (n *Network) arriveLocked(c *course, payload []byte) {
	fate := Nobody
	if h := n.hosts[c.to]; h != nil {
		for _, e := range h.endpoints {
			if e.proto != c.proto {
				continue
			}
			if fate == Nobody {
				fate = Passed
			}
			select {
			case e.queue <- datagram{c.from, bytes.Clone(payload)}:
			default:
				fate = Overflow
			}
		}
	}
	if fate != Passed {
		n.traceLocked(c, fate, time.Time{}, payload)
	}
}

// Receive waits for a datagram. The payload is the caller's. The only error is
// net.ErrClosed.
func (e *Endpoint) Receive() (from netip.Addr, payload []byte, err error) {
	d, ok := <-e.queue
	if !ok || e.closed.Load() {
		return netip.Addr{}, nil, net.ErrClosed
	}
	return d.from, d.payload, nil
}

// TryReceive is Receive if that would not wait.
func (e *Endpoint) TryReceive() (from netip.Addr, payload []byte, ok bool) {
	select {
	case d, open := <-e.queue:
		return d.from, d.payload, open && !e.closed.Load()
	default:
		return netip.Addr{}, nil, false
	}
}

// Close ends it, also for a Receive that waits.
func (e *Endpoint) Close() error {
	e.host.net.mu.Lock()
	defer e.host.net.mu.Unlock()
	if e.closed.Swap(true) {
		return net.ErrClosed
	}
	e.host.endpoints = slices.DeleteFunc(e.host.endpoints, func(o *Endpoint) bool { return o == e })
	close(e.queue)
	return nil
}
