package simnet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	protoTCP = 6

	// streamWindow is how much may be under way or wait to be read before a
	// writer waits.
	streamWindow = 64 << 10
)

// stream is one end of a TCP-like connection, a net.Conn. The Network's lock
// guards it.
type stream struct {
	net           *Network
	local, remote netip.AddrPort
	peer          *stream
	changed       sync.Cond // anything a Read or a Write waits for

	arrived []byte // to be read
	coming  int    // octets under way to here
	eof     bool   // the peer has closed
	reset   bool   // nobody is there any more
	closed  bool   // by us
	read    deadline
	write   deadline
}

func newStreams(n *Network, a, b netip.AddrPort) (ours, theirs *stream) {
	ours = &stream{net: n, local: a, remote: b}
	theirs = &stream{net: n, local: b, remote: a, peer: ours}
	ours.peer = theirs
	ours.changed.L, theirs.changed.L = &n.mu, &n.mu
	return ours, theirs
}

// deadline wakes those who wait when it is reached.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) setLocked(s *stream, at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			s.net.mu.Lock()
			defer s.net.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
}

// sendLocked has something happen at the other end, in order, after the delay.
func (s *stream) sendLocked(payload []byte, happen func()) {
	n := s.net
	c := n.courseLocked(s.local.Addr(), s.remote.Addr(), protoTCP)
	f := n.faultsLocked(c.from, c.to)
	if f.Down {
		n.traceLocked(c, Down, time.Time{}, payload)
		c.waiting = append(c.waiting, happen)
		return
	}
	due := c.arrival(f)
	n.traceLocked(c, Passed, due, payload)
	n.atLocked(due, happen)
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, s.error("read", net.ErrClosed)
		case s.read.passed():
			return 0, s.error("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case len(s.arrived) > 0:
			n := copy(b, s.arrived)
			if s.arrived = s.arrived[n:]; len(s.arrived) == 0 {
				s.arrived = nil
			}
			s.peer.changed.Broadcast()
			return n, nil
		case s.reset:
			return 0, s.error("read", syscall.ECONNRESET)
		case s.eof:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

// Write implements net.Conn.
func (s *stream) Write(b []byte) (int, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	written := 0
	for {
		room := streamWindow - s.peer.coming - len(s.peer.arrived)
		switch {
		case s.closed:
			return written, s.error("write", net.ErrClosed)
		case s.write.passed():
			return written, s.error("write", os.ErrDeadlineExceeded)
		case s.reset:
			return written, s.error("write", syscall.EPIPE)
		case len(b) == 0:
			return written, nil
		case room > 0:
			n := min(room, len(b))
			s.octetsLocked(bytes.Clone(b[:n]))
			written, b = written+n, b[n:]
			s.net.runLocked()
			continue
		}
		s.changed.Wait()
	}
}

func (s *stream) octetsLocked(b []byte) {
	to := s.peer
	to.coming += len(b)
	s.sendLocked(b, func() {
		to.coming -= len(b)
		if to.closed {
			to.resetPeerLocked() // RFC 9293 §3.10.7.1
			return
		}
		to.arrived = append(to.arrived, b...)
		to.changed.Broadcast()
	})
}

func (s *stream) resetPeerLocked() {
	to := s.peer
	s.sendLocked(nil, func() {
		to.reset = true
		to.changed.Broadcast()
	})
}

// abortLocked closes with a reset.
func (s *stream) abortLocked() {
	s.closeLocked()
	s.resetPeerLocked()
}

func (s *stream) closeLocked() {
	s.closed = true
	s.arrived = nil
	s.read.setLocked(s, time.Time{})
	s.write.setLocked(s, time.Time{})
}

// Close implements net.Conn. The peer reads what was written, then io.EOF.
func (s *stream) Close() error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return s.error("close", net.ErrClosed)
	}
	unread := len(s.arrived) > 0
	s.closeLocked()
	to := s.peer
	if unread { // RFC 2525 §2.17, as Linux does
		s.resetPeerLocked()
	} else {
		s.sendLocked(nil, func() {
			to.eof = true
			to.changed.Broadcast()
		})
	}
	s.net.runLocked()
	return nil
}

// LocalAddr implements net.Conn; it is a *net.TCPAddr.
func (s *stream) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// RemoteAddr implements net.Conn; it is a *net.TCPAddr.
func (s *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error { return s.set("set", t, &s.read, &s.write) }

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.set("set", t, &s.read) }

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.set("set", t, &s.write) }

func (s *stream) set(op string, t time.Time, which ...*deadline) error {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.closed {
		return s.error(op, net.ErrClosed)
	}
	for _, d := range which {
		d.setLocked(s, t)
	}
	return nil
}

func (s *stream) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
