package radiusd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Server is a RADIUS server. Its methods may be called from many goroutines.
//
//	New ──→ Start ──→ Stop, or a listener fails ──→ Wait returns
//
// Stopping, it takes no request any more, answers those it has, and closes what it
// opened. A stopped server stays stopped.
type Server struct {
	cfg       Config
	decider   Decider
	accounter Accounter
	forward   Forwarder // nil: none
	nodes     Nodes     // nil: nobody wants to know
	log       *slog.Logger
	metrics   *metrics

	state      atomic.Pointer[state]
	duplicates duplicates
	local      locals // NAS in this process
	access     *queue
	accounting *queue
	quiet      seldom // logins without an answer
	unstored   seldom // accounting that was not stored
	held       atomic.Int32

	halt   context.Context // ends when Stop begins: nothing new
	doHalt context.CancelFunc
	ctx    context.Context // ends with the last answer, or when Stop's patience does
	cancel context.CancelFunc

	mu      sync.RWMutex
	phase   phase
	sockets []*udpSocket
	radsec  *radsec
	err     error // the first fatal one

	calls     sync.WaitGroup // ServeRADIUS; Wait waits
	producers sync.WaitGroup // who puts into queues; supervise waits
	workers   sync.WaitGroup // supervise waits
	holding   sync.WaitGroup // answers that are held back; supervise waits
	streams   sync.WaitGroup // RadSec connections; supervise waits
	done      chan struct{}
}

// state is what a reload swaps, all at once.
type state struct {
	clients  *clients
	deadline time.Duration
	tls      *tls.Config
}

// phase of a server's life. The zero value is before Start.
type phase uint8

const (
	phaseNew phase = iota
	phaseRunning
	phaseStopped // or stopping
)

// New makes a server that asks d and a. reg may be nil.
func New(cfg Config, d Decider, a Accounter, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if d == nil || a == nil {
		return nil, errors.New("radiusd: a Decider and an Accounter must be there")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, decider: d, accounter: a, log: log.With("layer", "radiusd"), done: make(chan struct{})}
	st, err := newState(cfg, nil)
	if err != nil {
		return nil, err
	}
	s.state.Store(st)
	s.access, s.accounting = newQueue(cfg.Queue), newQueue(quarter(cfg.Queue))
	if s.metrics, err = newMetrics(reg, s); err != nil {
		return nil, err
	}
	s.halt, s.doHalt = context.WithCancel(context.Background())
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func quarter(n int) int { return max(n/4, 1) }

func newState(cfg Config, old *state) (*state, error) {
	var before *clients
	if old != nil {
		before = old.clients
	}
	table, err := newClients(cfg.Clients, before)
	if err = errors.Join(cfg.check(), err); err != nil {
		return nil, err
	}
	return &state{clients: table, deadline: cfg.Deadline, tls: cfg.RadSec.TLS}, nil
}

// Reload puts clients, the deadline and RadSec's certificates in force, at once for
// every request that comes from then on; RadSec connections of clients that are gone
// end with their next request. Everything else needs another process: a Config that
// differs in more is refused, and after an error all stays as it was.
func (s *Server) Reload(cfg Config) error {
	cfg = cfg.withDefaults()
	a, b := s.cfg, cfg
	for _, c := range []*Config{&a, &b} {
		c.Clients, c.Deadline, c.RadSec.TLS = nil, 0, nil
	}
	if a.Auth != b.Auth || a.Acct != b.Acct || a.Workers != b.Workers || a.Queue != b.Queue || a.Readers != b.Readers || a.RadSec != b.RadSec {
		return errors.New("radiusd: listeners, workers and limits change only with a restart")
	}
	st, err := newState(cfg, s.state.Load())
	if err != nil {
		return err
	}
	s.state.Store(st)
	return nil
}

// Start opens the listeners. After an error nothing of it is left, and the server is
// stopped.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseNew {
		return errors.New("radiusd: started before")
	}
	if err := s.listenLocked(); err != nil {
		s.closeLocked()
		s.stopLocked()
		close(s.done)
		return err
	}
	s.phase = phaseRunning
	for _, u := range s.sockets {
		for range s.cfg.Readers {
			s.producers.Go(u.read)
		}
	}
	if s.radsec != nil {
		s.producers.Go(s.radsec.accept)
	}
	if s.radsec != nil || len(s.sockets) > 0 { // in process the callers do the work
		for range s.cfg.Workers {
			s.workers.Go(func() { s.work(s.access) })
		}
		for range quarter(s.cfg.Workers) {
			s.workers.Go(func() { s.work(s.accounting) })
		}
	}
	go s.supervise() // Wait waits, for done
	return nil
}

func (s *Server) listenLocked() error {
	for _, l := range []struct {
		address string
		port    port
	}{{s.cfg.Auth, portAuth}, {s.cfg.Acct, portAcct}} {
		if l.address == "" {
			continue
		}
		u, err := s.listenUDP(l.address, l.port)
		if err != nil {
			return err
		}
		s.sockets = append(s.sockets, u)
	}
	if s.cfg.RadSec.Listen == "" {
		return nil
	}
	var err error
	s.radsec, err = s.listenRadSec(s.cfg.RadSec.Listen)
	return err
}

func (s *Server) closeLocked() {
	for _, u := range s.sockets {
		_ = u.conn.Close()
	}
	if s.radsec != nil {
		_ = s.radsec.listener.Close()
	}
}

// supervise ends the server in order: who reads, what waits, who answers, sockets.
func (s *Server) supervise() {
	defer close(s.done)
	<-s.halt.Done()
	// Answers on their way may take as long as ever, but the queue not a deadline for
	// each of its turns.
	patience := time.AfterFunc(s.state.Load().deadline, s.cancel)
	defer patience.Stop()
	s.producers.Wait()
	s.access.close()
	s.accounting.close()
	s.workers.Wait()
	s.holding.Wait()
	s.streams.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked()
}

// Stop begins the end; Wait waits for it.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseNew {
		close(s.done)
	}
	s.stopLocked()
}

func (s *Server) stopLocked() {
	s.phase = phaseStopped
	s.doHalt()
}

// fail ends the server because of err.
func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.stopLocked()
}

// Wait returns when the server has stopped and no goroutine of it is left, with what
// ended it if Stop did not.
func (s *Server) Wait() error {
	<-s.done
	s.calls.Wait()
	s.cancel()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.err
}

// enter lets a call in; calls.Done ends it.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.phase == phaseStopped {
		return false
	}
	s.calls.Add(1)
	return true
}

// Addrs are where a started server listens; what is not served is zero.
func (s *Server) Addrs() (auth, acct, radsec netip.AddrPort) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, u := range s.sockets {
		a := addrPort(u.conn.LocalAddr())
		if u.port == portAuth {
			auth = a
		} else {
			acct = a
		}
	}
	if s.radsec != nil {
		radsec = addrPort(s.radsec.listener.Addr())
	}
	return auth, acct, radsec
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		panic(fmt.Sprintf("listener's address %v: %v", a, err)) // the kernel's own
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
