package radiusd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/internal/radius"
)

const (
	// unsent is how many packets may wait for a client that reads slowly: replies to as
	// many requests as it can have under way (RFC 6613 §2.6.1), and as many of our own.
	unsent = 256 + 256
	// sendTime is how long one write may take.
	sendTime = 5 * time.Second
	// radsecBuffer is what is read or written at once: a TLS record's worth.
	radsecBuffer = 16 << 10
)

// radsec is the TLS listener (RFC 6614).
type radsec struct {
	s        *Server
	listener net.Listener
	conf     *tls.Config

	mu     sync.Mutex
	half   map[netip.Addr]int // connections in their handshake, by source
	halves int
	open   int
	serial uint64
	conns  map[*radsecConn]bool // those that a client has proved to be its own
}

func (s *Server) listenRadSec(address string) (*radsec, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for RadSec: %w", err)
	}
	return &radsec{s: s, listener: l, half: make(map[netip.Addr]int), conns: make(map[*radsecConn]bool), conf: &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Each connection takes what is configured when it comes: a reload renews
		// certificates.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.state.Load().tls, nil },
	}}, nil
}

// accept is the listener's goroutine. It ends with the server, or makes it end.
func (r *radsec) accept() {
	s := r.s
	stop := context.AfterFunc(s.halt, func() { _ = r.listener.Close() })
	defer stop()
	for failures := 0; ; {
		raw, err := r.listener.Accept()
		if err != nil {
			if s.halt.Err() != nil {
				return
			}
			if failures++; failures == maxFailures || errors.Is(err, net.ErrClosed) {
				s.fail(fmt.Errorf("accept RadSec connections: %w", err))
				return
			}
			s.pause(failures) // out of file descriptors, most likely
			continue
		}
		failures = 0
		addr, _ := netip.ParseAddrPort(raw.RemoteAddr().String())
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		c, refused := r.begin(raw, addr)
		if c == nil {
			s.metrics.handshakes[refused].Inc()
			_ = raw.Close()
			continue
		}
		s.producers.Add(1) // run calls Done
		s.streams.Go(c.run)
	}
}

// begin makes room for a connection, or says why there is none.
func (r *radsec) begin(raw net.Conn, addr netip.AddrPort) (*radsecConn, handshake) {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := &r.s.cfg.RadSec
	switch {
	case r.open >= limit.Conns:
		return nil, handshakeFull
	case r.halves >= limit.HalfOpen || r.half[addr.Addr()] >= limit.HalfOpenPerSource:
		return nil, handshakeBusy
	}
	r.open++
	r.halves++
	r.half[addr.Addr()]++
	r.serial++
	return &radsecConn{
		r: r, raw: raw, tls: tls.Server(raw, r.conf), out: make(chan []byte, unsent),
		from: peer{addr: addr, via: radius.RadSec, space: r.serial}, nodes: make(map[string]bool), gone: make(chan struct{}),
	}, handshakeDone
}

// settled ends a connection's handshake.
func (r *radsec) settled(c *radsecConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halves--
	if r.half[c.from.addr.Addr()]--; r.half[c.from.addr.Addr()] == 0 {
		delete(r.half, c.from.addr.Addr())
	}
}

func (r *radsec) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
}

// radsecConn is one connection: a reader, which is its goroutine, and a writer.
type radsecConn struct {
	r       *radsec
	raw     net.Conn
	tls     *tls.Conn
	from    peer
	expires time.Time // of the client's certificate
	out     chan []byte
	pending sync.WaitGroup // requests with workers, and of our own; run waits

	nodes map[string]bool // names of the NAS that have asked here; under r.mu
	asked asked
	gone  chan struct{} // closed when nothing more is read
}

var (
	errExpired    = errors.New("the client's certificate has expired")
	errStranger   = errors.New("the certificate belongs to no client")
	errMalformed  = errors.New("a packet that is not believed")
	errStopping   = errors.New("the server is stopping")
	errNoIdentity = errors.New("no certificate")
)

// run serves the connection until either side ends it.
func (c *radsecConn) run() {
	s := c.r.s
	defer c.r.ended()
	defer func() { _ = c.raw.Close() }()
	err := c.shake()
	c.r.settled(c)
	if err != nil {
		s.producers.Done()
		outcome := handshakeFailed
		if errors.Is(err, errStranger) {
			outcome = handshakeUnknown
		}
		s.metrics.handshakes[outcome].Inc()
		s.log.Debug("RadSec connection refused", "peer", c.from.addr.String(), "error", err)
		return
	}
	s.metrics.handshakes[handshakeDone].Inc()
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	s.log.Debug("RadSec connection opened", "peer", c.from.addr.String(), "names", c.from.names)

	var writing sync.WaitGroup
	writing.Go(c.write) // waited for below
	c.r.joined(c)
	err = c.read()
	c.r.left(c)
	if s.halt.Err() == nil { // nobody is there to take the answers; stopping, we give them
		s.giveUp(s.access.lose(c))
		s.giveUp(s.accounting.lose(c))
	}
	s.producers.Done()
	c.pending.Wait()
	close(c.out)
	writing.Wait()
	_ = c.tls.Close() // says goodbye, if the other side still listens
	s.log.Debug("RadSec connection ended", "peer", c.from.addr.String(), "names", c.from.names, "error", err)
}

// shake does the TLS handshake, and finds out whose connection it is.
func (c *radsecConn) shake() error {
	s := c.r.s
	ctx, cancel := context.WithTimeout(s.halt, s.cfg.RadSec.Handshake)
	defer cancel()
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("RadSec handshake: %w", err)
	}
	leaf := leafOf(c.tls.ConnectionState())
	if leaf == nil {
		return errNoIdentity
	}
	c.from.names, c.expires = certNames(leaf), leaf.NotAfter
	if s.state.Load().clients.certified(c.from.names...) == nil {
		return fmt.Errorf("%w: %q", errStranger, c.from.names)
	}
	return nil
}

func leafOf(st tls.ConnectionState) *x509.Certificate {
	if len(st.PeerCertificates) == 0 {
		return nil
	}
	return st.PeerCertificates[0]
}

// read takes requests until the connection ends, and says why it did.
func (c *radsecConn) read() error {
	s := c.r.s
	stop := context.AfterFunc(s.halt, func() { _ = c.tls.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	in := bufio.NewReaderSize(c.tls, radsecBuffer)
	buf := make([]byte, radius.MaxPacket)
	for {
		if err := c.tls.SetReadDeadline(time.Now().Add(s.cfg.RadSec.Idle)); err != nil {
			return err
		}
		if s.halt.Err() != nil { // after the line above, which may have undone stop's
			return errStopping
		}
		b, err := radius.ReadPacket(in, buf)
		if err != nil {
			var fault radius.Fault
			if errors.As(err, &fault) {
				s.drop(&c.from, fault)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		now := time.Now()
		if now.After(c.expires) {
			return errExpired
		}
		if isReply(b) {
			if err := c.asked.answered(b); err != nil { // too late, most likely
				s.drop(&c.from, err)
			}
			continue
		}
		t, reply, err := s.tryAdmit(now, b, c.from)
		if err != nil {
			s.drop(&c.from, err)
			if fatal(err) {
				return errMalformed
			}
			continue
		}
		if t == nil {
			c.send(reply)
			continue
		}
		c.learn(t)
		t.via = c
		c.pending.Add(1)
		ok, gone := s.queue(t).push(s.halt, t)
		s.giveUp(gone)
		if !ok {
			s.refuse(t, dropOverload)
			c.pending.Done()
		}
	}
}

// fatal says whether a connection ends over a packet: RFC 6613 §2.6.4 wants so where
// it is malformed or not signed with the secret, for then either side has lost its
// way in the stream, and where the client is none any more. A request that is merely
// unwelcome is dropped.
func fatal(why error) bool {
	var fault radius.Fault
	if errors.As(why, &fault) {
		return fault != radius.FaultUnsigned
	}
	return errors.Is(why, dropNoClient)
}

// answer implements answerer.
func (c *radsecConn) answer(_ *ticket, reply []byte) {
	if reply != nil {
		c.send(reply)
	}
	c.pending.Done()
}

// send hands a packet to the writer. A client that lets what we send lie is given up,
// rather than have workers wait for it.
func (c *radsecConn) send(b []byte) {
	select {
	case c.out <- b:
	default:
		c.r.s.drop(&c.from, dropSlowReader)
		_ = c.raw.Close()
	}
}

// write is the writer's goroutine. Replies that wait go out together.
func (c *radsecConn) write() {
	w := bufio.NewWriterSize(c.tls, radsecBuffer)
	broken := false
	for reply := range c.out {
		if broken {
			c.r.s.drop(&c.from, dropWriteFailed)
			continue
		}
		err := c.tls.SetWriteDeadline(time.Now().Add(sendTime))
		if err == nil {
			err = radius.WritePacket(w, reply)
		}
		if err == nil && len(c.out) == 0 {
			err = w.Flush()
		}
		if err != nil {
			broken = true
			c.r.s.drop(&c.from, dropWriteFailed)
			_ = c.raw.Close() // the reader ends the connection
		}
	}
}
