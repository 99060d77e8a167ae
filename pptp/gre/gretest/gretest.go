// Package gretest has a gre.Conn (RFC 2637 §4) on a simulated network, so that
// whole logins run in one process and on virtual time. Left out: the IPv4 header,
// which the real one takes off.
package gretest

import (
	"net"
	"net/netip"

	"postern/internal/simnet"
	"postern/pptp/gre"
)

const protocol = 47

// Conn is a gre.Conn. Several of one host each get every packet that comes for it,
// as raw sockets do.
type Conn struct {
	endpoint *simnet.Endpoint
}

// Listen opens GRE on a host.
func Listen(h *simnet.Host) *Conn { return &Conn{h.Datagrams(protocol)} }

// ReadBatch implements gre.Conn. A packet longer than its buffer is dropped.
func (c *Conn) ReadBatch(ms []gre.Message) (int, error) {
	for len(ms) > 0 {
		from, b, err := c.endpoint.Receive()
		if err != nil {
			return 0, err
		}
		n := 0
		for ok := true; ok; {
			if fill(&ms[n], from, b) {
				n++
			}
			if n == len(ms) {
				break
			}
			from, b, ok = c.endpoint.TryReceive()
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

func fill(m *gre.Message, from netip.Addr, b []byte) bool {
	if len(b) > len(m.Buf) {
		return false
	}
	m.N, m.Addr = copy(m.Buf, b), from
	return true
}

// WriteBatch implements gre.Conn.
func (c *Conn) WriteBatch(ms []gre.Message) (int, error) {
	for i := range ms {
		if c.endpoint.Send(ms[i].Addr, ms[i].Buf[:ms[i].N]) != nil {
			return i, net.ErrClosed
		}
	}
	return len(ms), nil
}

// Close implements gre.Conn.
func (c *Conn) Close() error { return c.endpoint.Close() }
