package simnet

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// As Linux has them.
const (
	firstPort     = 49152 // of those a dialling host takes
	acceptBacklog = 128
)

// listener is a net.Listener.
type listener struct {
	host   *Host
	addr   netip.AddrPort
	queue  chan *stream
	done   chan struct{}
	closed bool
}

// Listen opens a port for streams.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addr := netip.AddrPortFrom(h.addr, port)
	if h.listeners[port] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, addr: addr, queue: make(chan *stream, acceptBacklog), done: make(chan struct{})}
	h.listeners[port] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.error(net.ErrClosed)
	default:
	}
	select {
	case s := <-l.queue:
		return s, nil
	case <-l.done:
		return nil, l.error(net.ErrClosed)
	}
}

// Close implements net.Listener. Who waits to be accepted is reset.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return l.error(net.ErrClosed)
	}
	l.closed = true
	delete(l.host.listeners, l.addr.Port())
	close(l.done)
	for {
		select {
		case s := <-l.queue:
			s.abortLocked()
		default:
			n.runLocked()
			return nil
		}
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

func (l *listener) error(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
}

// Dial opens a stream, from a port of its own choice. It takes a delay there and
// one back, and while a direction is down it waits for ctx to end.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return h.DialFrom(ctx, 0, to)
}

// DialFrom is Dial from a port; 0 is any.
func (h *Host) DialFrom(ctx context.Context, port uint16, to netip.AddrPort) (net.Conn, error) {
	answer := make(chan error, 1)
	s := h.connect(port, to, answer)
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = ctx.Err()
		h.net.mu.Lock()
		s.abortLocked()
		h.net.runLocked()
		h.net.mu.Unlock()
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
	}
	return s, nil
}

func (h *Host) connect(port uint16, to netip.AddrPort, answer chan<- error) *stream {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		if h.lastPort++; h.lastPort < firstPort {
			h.lastPort = firstPort
		}
		port = h.lastPort
	}
	ours, theirs := newStreams(n, netip.AddrPortFrom(h.addr, port), to)
	ours.sendLocked(nil, func() {
		err := n.offerLocked(theirs)
		if err != nil {
			theirs.closed = true
		}
		theirs.sendLocked(nil, func() { answer <- err })
	})
	n.runLocked()
	return ours
}

func (n *Network) offerLocked(s *stream) error {
	h := n.hosts[s.local.Addr()]
	if h == nil {
		return syscall.EHOSTUNREACH
	}
	l := h.listeners[s.local.Port()]
	if l == nil {
		return syscall.ECONNREFUSED
	}
	select {
	case l.queue <- s:
		return nil
	default:
		return syscall.ECONNREFUSED
	}
}
