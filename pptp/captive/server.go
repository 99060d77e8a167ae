package captive

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Standing is what a client is to the node. The zero value is nobody.
type Standing uint8

const (
	Stranger Standing = iota // no session has this address
	Free                     // a session that is not held back
	Held                     // a session that is
)

// Limits, ours. A client that is held back has a browser, and one that looks for the
// network every few seconds.
const (
	requestTime = 5 * time.Second  // from the connection to the end of the header
	replyTime   = 5 * time.Second  // to take the answer
	lingerTime  = time.Second      // for the client to close after it
	lingerMost  = 64 << 10         // octets that are thrown away meanwhile
	readSize    = 1 << 10          // of one read
	maxClient   = 32               // connections of one client at a time
	maxAll      = 1024             // connections at a time
	acceptPause = time.Second / 10 // when no descriptor is free
)

// Config is what a Server works with.
type Config struct {
	// Lookup says what the client of an inner address is and, if it is Held, where to
	// send it. It is called from many goroutines.
	Lookup  func(client netip.Addr) (Standing, string)
	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Server answers. Serve and Close work once.
type Server struct {
	cfg     Config
	answers *prometheus.CounterVec

	mu     sync.Mutex
	closed bool
	listen net.Listener
	conns  map[net.Conn]struct{}
	of     map[netip.Addr]int
	work   sync.WaitGroup
}

// New makes a Server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, conns: make(map[net.Conn]struct{}), of: make(map[netip.Addr]int),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_captive_answers_total",
			Help: "HTTP connections of clients to the node's own port, by answer: redirect, free, stranger, malformed, too long, silent, busy, undelivered.",
		}, []string{"answer"}),
	}
	for a := AnswerRedirect; a < numAnswers; a++ {
		s.answers.WithLabelValues(a.String())
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(s.answers)
	}
	return s
}

// Serve answers the connections of l until Close, which closes l. The error is nil
// then.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listen = l
	s.mu.Unlock()
	for {
		conn, err := l.Accept()
		if err == nil {
			s.take(conn)
			continue
		}
		if s.over() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		s.cfg.Log.Error("accept", "error", err)
		time.Sleep(acceptPause)
	}
}

// Close ends Serve and every connection, and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	if s.listen != nil {
		_ = s.listen.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}

func (s *Server) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// take begins a connection, if its client may have one more.
func (s *Server) take(conn net.Conn) {
	client := addrOf(conn.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxAll || s.of[client] >= maxClient {
		s.count(AnswerBusy)
		_ = conn.Close()
		return
	}
	s.conns[conn] = struct{}{}
	s.of[client]++
	s.work.Go(func() { // Close waits
		a := s.serve(conn, client)
		s.count(a)
		linger(conn, a)
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
		if s.of[client]--; s.of[client] == 0 {
			delete(s.of, client)
		}
	})
}

func (s *Server) count(a Answer) { s.answers.WithLabelValues(a.String()).Inc() }

func addrOf(a net.Addr) netip.Addr {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{}
}

// serve reads one request and answers it.
func (s *Server) serve(conn net.Conn, client netip.Addr) Answer {
	if conn.SetReadDeadline(time.Now().Add(requestTime)) != nil {
		return AnswerSilent
	}
	var r request
	a := read(conn, &r)
	if a == AnswerSilent {
		return a
	}
	url := ""
	// Whoever asks: what is wrong with his request is for our clients only.
	switch standing, to := s.cfg.Lookup(client); {
	case standing == Stranger, standing == Held && CheckURL(to) != nil:
		a = AnswerStranger
	case a != AnswerUnknown:
	case standing == Held:
		a, url = AnswerRedirect, to
	default:
		a = AnswerFree
	}
	now := time.Now()
	if conn.SetWriteDeadline(now.Add(replyTime)) != nil {
		return AnswerUndelivered
	}
	if _, err := conn.Write(appendReply(nil, now, a, url, r.head())); err != nil {
		return AnswerUndelivered
	}
	return a
}

// read reads a request to the end of its header: AnswerUnknown, if there was one.
func read(conn net.Conn, r *request) Answer {
	buf := make([]byte, readSize)
	for {
		n, err := conn.Read(buf)
		done, bad := r.input(buf[:n])
		switch {
		case errors.Is(bad, errTooLong):
			return AnswerTooLong
		case bad != nil:
			return AnswerMalformed
		case done:
			return AnswerUnknown
		case err != nil:
			return AnswerSilent
		}
	}
}

// linger lets the client read the answer: to close a connection with octets unread, a
// request's content for one, is to reset it, and a reset takes the answer away (RFC
// 9112 §9.6).
func linger(conn net.Conn, a Answer) {
	if a == AnswerSilent || a == AnswerUndelivered {
		return
	}
	if c, ok := conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() != nil {
		return
	}
	if conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, conn, lingerMost)
	}
}
