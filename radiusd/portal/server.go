package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/mfa/webauthn"
	"postern/internal/seal"
	"postern/internal/store"
)

// Server is a portal. Its methods may be called from many goroutines.
//
//	New ──→ Start ──→ Stop ──→ Wait returns
//
// A stopped server stays stopped.
type Server struct {
	backend  Backend
	store    store.Store
	ring     *seal.Ring
	log      *slog.Logger
	metrics  *metrics
	settings atomic.Pointer[settings]
	cert     *certificate
	health   health
	keys     *webauthn.Verifier // nil: none in this portal
	agents   Agents             // nil: none in this portal
	pushes   Pushes             // nil: none in this portal
	now      func() time.Time
	working  chan struct{} // a place for each request in work

	mu       sync.Mutex
	phase    phase
	http     *http.Server
	listener net.Listener
	err      error // why serving ended, if Stop is not why
	cancel   context.CancelFunc
	running  sync.WaitGroup // the listener and the watch of the files; Wait waits
	done     chan struct{}
}

// phase of a server's life. The zero value is before Start.
type phase uint8

const (
	phaseNew phase = iota
	phaseRunning
	phaseStopped // or stopping
)

// New makes a portal. Its sessions and limits are in st, sealed under ring. reg may be
// nil.
func New(c Config, b Backend, st store.Store, ring *seal.Ring, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if b == nil || st == nil || ring == nil {
		return nil, errors.New("portal: a part is missing")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	set, err := newSettings(c)
	if err != nil {
		return nil, err
	}
	s := &Server{
		backend: b, store: st, ring: ring, log: log.With("layer", "portal"), now: set.Now,
		agents: c.Agents, pushes: c.Pushes, working: make(chan struct{}, maxRequests), done: make(chan struct{}),
	}
	s.keys = openKeys(set.Config, st, ring, s.log)
	s.backend = withKeys(b, s.keys)
	s.settings.Store(set)
	s.cert = &certificate{log: s.log}
	if set.Listen != "" {
		if err := s.cert.load(set.Cert, set.Key); err != nil {
			return nil, err
		}
	}
	if s.metrics, err = newMetrics(reg, s.cert); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload puts everything but address and URL in force, certificates included, for what
// comes from then on. After an error all stays as it was.
func (s *Server) Reload(c Config) error {
	old := s.settings.Load()
	set, err := newSettings(c)
	if err != nil {
		return err
	}
	if set.Listen != old.Listen || set.URL != old.URL {
		return errors.New("portal: listen and url change only with a restart")
	}
	if set.Listen != "" {
		if err := s.cert.load(set.Cert, set.Key); err != nil {
			return err
		}
	}
	s.settings.Store(set)
	return nil
}

// Start opens the port. After an error nothing of it is left, and the server is
// stopped.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseNew {
		return errors.New("portal: started before")
	}
	l, err := net.Listen("tcp", s.settings.Load().Listen)
	if err != nil {
		s.phase = phaseStopped
		close(s.done)
		return fmt.Errorf("listen for the portal: %w", err)
	}
	s.listener = l
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.cert.get, NextProtos: []string{"h2", "http/1.1"}},
		// What clients do wrong in TLS and HTTP is for whoever looks closely.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.phase = phaseRunning
	limited := &bounded{
		Listener: l, refused: func() { s.metrics.refuse(refusedConnection) },
		limits: func() (all, each int) { c := s.settings.Load(); return c.Connections, c.PerAddress },
	}
	s.running.Go(func() { s.serve(limited) })       // Wait waits
	s.running.Go(func() { s.cert.watch(ctx) })      // Wait waits
	go func() { s.running.Wait(); close(s.done) }() // Wait waits, for done
	return nil
}

func (s *Server) serve(l net.Listener) {
	err := s.http.ServeTLS(l, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return
	}
	s.log.Error("portal's listener failed", "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = fmt.Errorf("serve the portal: %w", err)
	s.cancel()
}

// Err is why the listener ended by itself, if it did.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Addr is where a started portal listens.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Stop ends the portal: pages under way are finished, for a moment.
func (s *Server) Stop() {
	s.mu.Lock()
	before := s.phase
	s.phase = phaseStopped
	s.mu.Unlock()
	switch before {
	case phaseNew:
		close(s.done)
	case phaseRunning:
		s.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
	case phaseStopped:
	}
}

// Wait returns when the portal has stopped and no goroutine of it is left, with what
// ended it if Stop did not.
func (s *Server) Wait() error {
	<-s.done
	return s.Err()
}
