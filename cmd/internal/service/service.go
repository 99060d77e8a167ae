// Package service builds a whole service from its configuration: key ring, store,
// directory, second factor, lockout shield, sessions, policy and pools, audit log,
// and the RADIUS server in front of them. It is what postern-radiusd runs, and what
// the lab runs beside a node in one process.
//
// The constructors of the parts are exported as well: the operator's tool works on
// the same state without a server.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/authz/follow"
	"postern/authz/grant"
	"postern/authz/inputs"
	"postern/authz/mfa"
	"postern/authz/nodes"
	"postern/authz/pool"
	"postern/authz/posture/computers"
	"postern/authz/session"
	"postern/internal/config"
	"postern/internal/geo"
	"postern/internal/radius"
	"postern/internal/store"
	"postern/radiusd"
	"postern/radiusd/portal"
)

// sweepEvery is how often sessions that fell silent are written down as ended. They
// count as ended by themselves; this is for the history and for the next lease.
const sweepEvery = 15 * time.Second

// Options is what a configuration file does not say.
type Options struct {
	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: no metrics

	NoLockout     bool        // count and refuse nothing, for conformance tools
	CreateKeyRing bool        // make the key ring if there is none
	Audit         io.Writer   // nil: as configured
	Store         store.Store // nil: as configured; the Service closes it
	// Local are networks that pools must not overlap; nil: those this host is in.
	Local []netip.Prefix
}

// Service is a service with all it is made of. Start, Stop and Wait work once.
type Service struct {
	log   *slog.Logger
	local []netip.Prefix
	cfg   *config.Service // of the start; a reload does not change it

	store     store.Store
	directory *Directory
	verifier  *mfa.Verifier
	sessions  *session.Registry
	audit     *auditFile     // nil: elsewhere
	inputs    *inputs.Keeper // nil: none are kept
	forward   *forwarding    // nil: nothing is
	decider   *authz.Decider
	policies  *policies
	server    *radiusd.Server
	follower  *follow.Follower
	geo       *geo.Databases
	portal    *portal.Server    // nil: none here
	computers *computers.Poller // nil: none are read

	poolAlarms *pool.Alarms

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	wg     sync.WaitGroup // the sweeper and the follower; Stop waits
	once   sync.Once      // Stop
	done   chan struct{}  // closed when nothing is left
	reload sync.Mutex
}

// New builds a service. The store is opened, no port is.
func New(cfg *config.Service, opts Options) (_ *Service, err error) {
	s := &Service{log: opts.Log, local: opts.Local, cfg: cfg, store: opts.Store, done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.local == nil {
		s.local = localNetworks()
	}
	s.poolAlarms = pool.NewAlarms(cfg.Session.PoolAlarm, s.log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.cancel()
			err = errors.Join(err, s.close())
		}
	}()
	if opts.NoLockout {
		open := *cfg
		open.Lockout.Disabled = true
		cfg = &open
	}
	if cfg.Lockout.Disabled {
		s.log.Warn("lockout is disabled: passwords can be guessed without limit")
	}

	ring, err := OpenRing(cfg, opts.CreateKeyRing)
	if err != nil {
		return nil, err
	}
	if s.directory, err = OpenDirectory(cfg, ring, s.log); err != nil {
		return nil, err
	}
	sc, err := serverConfig(cfg)
	if err != nil {
		return nil, err
	}
	if s.store == nil {
		if s.store, err = OpenStore(cfg); err != nil {
			return nil, err
		}
	}
	if s.store, err = measure(s.store, opts.Registerer); err != nil {
		return nil, err
	}
	w := opts.Audit
	if w == nil {
		if s.audit, err = openAudit(string(cfg.Audit.File), s.log, opts.Registerer); err != nil {
			return nil, err
		}
		w = s.audit
	}
	audit := authz.NewAudit(w)
	if s.inputs, err = openInputs(cfg, ring, s.log, opts.Registerer); err != nil {
		return nil, err
	}
	if s.geo, err = geo.Open(string(cfg.Geo.Country), string(cfg.Geo.ASN), s.log); err != nil {
		return nil, err
	}
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(s.geo); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if s.forward, err = openForwarding(cfg, s.log, opts.Registerer); err != nil {
		return nil, err
	}
	s.verifier, s.sessions = NewVerifier(cfg, s.store, ring), newSessions(cfg, s.store, func(t *session.Told) {
		audit.SessionTold(t)
		if s.forward != nil {
			s.forward.Told(t)
		}
	})
	s.decider, err = authz.New(authz.Config{
		Directory: s.directory, Store: s.store, Shield: NewShield(cfg), MFA: s.verifier, Sessions: s.sessions,
		Audit: audit, Ring: ring, Portal: string(cfg.Portal.URL), Quarantine: cfg.Session.Quarantine,
		Separator: byte(cfg.MFA.Separator), DeviceSeparator: byte(cfg.MFA.DeviceSeparator), Fresh: cfg.Posture.Fresh, Geo: s.geo, Disclose: disclosure(cfg.Disclose), Metrics: opts.Registerer, Log: s.log,
		Inputs: kept(s.inputs),
	})
	if err != nil {
		return nil, err
	}
	if s.policies, err = newPolicies(cfg, s.local, s.store, audit, s.log, opts.Registerer); err != nil {
		return nil, err
	}
	if err := s.policies.begin(s.ctx, s.decider); err != nil {
		return nil, err
	}
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(&poolUsage{s}); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	s.server, err = radiusd.New(sc, s.decider, authz.NewBookkeeper(s.sessions, s, s.log), s.log, opts.Registerer)
	if err != nil {
		return nil, err
	}
	if s.forward != nil {
		s.server.ForwardTo(s.forward)
	}
	s.server.RegisterAt(nodes.New(s.store))
	s.follower, err = follow.New(follow.Config{
		Sessions: s.sessions, Store: s.store, Realms: s.directory.Followed(), Judge: s.decider, NAS: s.server.Dynamic(), Audit: audit,
		Interval: cfg.Follow.Interval, Log: s.log, Metrics: opts.Registerer,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Portal.Listen != "" {
		desk := &desk{
			decider: s.decider, tokens: s.verifier, sessions: s.sessions, grants: grant.New(s.store), service: s, issuer: cfg.MFA.Issuer,
			seeds: keepsSeeds(cfg),
		}
		p := portalConfig(cfg)
		keeper := NewPosture(s.store, s.sessions)
		p.Agents = NewAgents(s.store, ring, keeper)
		sent, err := pushes(cfg, keeper)
		if err != nil {
			return nil, err
		}
		if sent != nil {
			p.Pushes = sent
		}
		if s.portal, err = portal.New(p, desk, s.store, ring, s.log, opts.Registerer); err != nil {
			return nil, err
		}
	}
	s.policies.changed = s.follower.PolicyChanged
	if s.computers, err = openComputers(cfg, s.directory, s.store, s.sessions, s.log, opts.Registerer); err != nil {
		return nil, err
	}
	return s, nil
}

func disclosure(d config.Disclosure) authz.Disclosure {
	switch d {
	case config.DiscloseFull:
		return authz.DiscloseFull
	case config.DiscloseStates:
		return authz.DiscloseStates
	case config.DiscloseNothing, config.DiscloseUnknown:
	}
	return authz.DiscloseNothing
}

// Check reads everything a configuration points to, as New does, and opens neither
// store nor port. The error holds every mistake.
func Check(cfg *config.Service) error {
	ring, err := OpenRing(cfg, false)
	errs := []error{err}
	if err == nil { // without it no line of the users file can be read
		d, err := OpenDirectory(cfg, ring, nil)
		if err == nil {
			d.Close()
		}
		errs = append(errs, err)
	}
	_, err = LoadPolicy(cfg, localNetworks())
	errs = append(errs, err, checkCandidate(cfg))
	_, err = geo.Open(string(cfg.Geo.Country), string(cfg.Geo.ASN), nil)
	errs = append(errs, err)
	_, err = serverConfig(cfg)
	errs = append(errs, err, checkForward(cfg))
	if cfg.Inputs.Dir != "" {
		errs = append(errs, inputs.Check(string(cfg.Inputs.Dir)))
	}
	if cfg.Portal.Listen != "" {
		errs = append(errs, portalConfig(cfg).Check())
	}
	if cfg.Store.Kind == config.StoreRedis {
		_, err = RedisConfig(&cfg.Store)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Start opens the ports and runs the service until Stop. One that did not start is
// to be stopped, too.
func (s *Service) Start() error {
	if s.inputs != nil {
		s.inputs.Start()
	}
	if s.forward != nil {
		s.forward.Start()
	}
	if err := s.server.Start(); err != nil {
		return err
	}
	if s.portal != nil {
		if err := s.portal.Start(); err != nil {
			return err
		}
	}
	s.wg.Go(func() { s.policies.run(s.ctx) }) // Stop waits
	s.wg.Go(s.sweep)                          // Stop waits
	s.wg.Go(s.watchPools)                     // Stop waits
	s.wg.Go(func() { s.follower.Run(s.ctx) }) // Stop waits
	s.wg.Go(func() { s.geo.Run(s.ctx) })      // Stop waits
	if s.computers != nil {
		s.wg.Go(func() { s.computers.Run(s.ctx) }) // Stop waits
	}
	return nil
}

// Stray implements authz.Strays.
func (s *Service) Stray(rec session.Record, detail string) { s.follower.Stray(rec, detail) }

// sweep ends sessions that fell silent.
func (s *Service) sweep() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	away, h := false, hearing{since: time.Now()}
	for {
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
		n, err := 0, s.store.Do(s.ctx, store.Seq{&store.Time{}})
		if h.at(time.Now(), err == nil) >= s.sessions.Silence() {
			n, err = s.sessions.Sweep(s.ctx)
			h.at(time.Now(), err == nil)
		}
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil && !away: // once, not each time
			s.log.Warn("silent sessions are not ended", "error", err)
		case n > 0:
			s.log.Info("silent sessions ended", "sessions", n)
		}
		away = err != nil
	}
}

// hearing is since when reports could be heard here. A session that fell silent while
// they could not may well be alive, and its next report is about to come: none is ended
// before its NAS had the time of a whole silence to be heard. Others that could hear all
// the time do not wait.
type hearing struct{ since, last time.Time }

// at says how long it has been heard, when it is looked at each sweepEvery: time in which
// nobody looked, because the process stood still, was no time of hearing.
func (h *hearing) at(now time.Time, well bool) time.Duration {
	now = now.Round(0) // a host that was suspended stops the monotonic clock, too
	if !well || !h.last.IsZero() && now.Sub(h.last) > 2*sweepEvery {
		h.since = now
	}
	h.last = now
	return now.Sub(h.since)
}

// Handler answers RADIUS requests of nodes in this process.
func (s *Service) Handler() radius.Handler { return s.server }

// Dynamic ends and changes sessions. Nodes in this process are attached to it.
func (s *Service) Dynamic() *radiusd.Dynamic { return s.server.Dynamic() }

// Store is the service's store, for who shares the process.
func (s *Service) Store() store.Store { return s.store }

// MFA is the service's second factor, for who shares the process.
func (s *Service) MFA() *mfa.Verifier { return s.verifier }

// Sessions is the service's registry of sessions, for who shares the process.
func (s *Service) Sessions() *session.Registry { return s.sessions }

// Healthy is nil while logins can be judged: the store answers.
func (s *Service) Healthy(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return errors.New("not serving")
	}
	if s.portal != nil && s.portal.Err() != nil {
		return errors.New("portal not serving")
	}
	if p, _ := s.decider.Policy(); p == nil {
		return errors.New("no policy in force")
	}
	return s.store.Do(ctx, store.Seq{&store.Time{}})
}

// Portal is the portal of this process; nil: none.
func (s *Service) Portal() *portal.Server { return s.portal }

// Stop ends the service: what was asked is answered, then nothing of it is left.
func (s *Service) Stop() {
	s.once.Do(func() {
		if s.portal != nil {
			s.portal.Stop()
			if err := s.portal.Wait(); err != nil {
				s.log.Error("portal ended by itself", "error", err)
			}
		}
		s.server.Stop()
		_ = s.server.Wait() // Wait returns what it says
		s.cancel()
		s.wg.Wait()
		if err := s.close(); err != nil {
			s.log.Error("service not closed cleanly", "error", err)
		}
		close(s.done)
	})
	<-s.done
}

// close lets go of directory, store and audit log.
func (s *Service) close() error {
	var errs []error
	if s.directory != nil {
		s.directory.Close()
	}
	if s.inputs != nil {
		s.inputs.Stop()
	}
	if s.forward != nil { // nobody accounts any more
		s.forward.close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.audit != nil {
		errs = append(errs, s.audit.close())
	}
	return errors.Join(errs...)
}

// Wait returns when the service has ended, by itself or by Stop, with the first
// fatal error. Nothing of it is left then.
func (s *Service) Wait() error {
	err := s.server.Wait()
	s.Stop()
	return err
}

// Reload reads again: policy, accounts, clients with their secrets, certificates, the
// portal's texts and limits; the audit file is opened anew. Each of them stays as it was if its new state is broken;
// the error says which.
func (s *Service) Reload(cfg *config.Service) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	var errs []error
	errs = append(errs, s.policies.reload(cfg), s.directory.Reload())
	if sc, err := serverConfig(s.reloadable(cfg)); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, s.server.Reload(sc))
	}
	if s.portal != nil {
		errs = append(errs, s.portal.Reload(portalConfig(s.reloadable(cfg))))
	}
	if s.audit != nil {
		errs = append(errs, s.audit.reopen())
	}
	if keys := needRestart(s.cfg, cfg); keys != "" {
		s.log.Warn("these keys count after a restart only", "keys", keys)
	}
	return errors.Join(errs...)
}

// reloadable is cfg with what a running server cannot change as it was at its start.
func (s *Service) reloadable(cfg *config.Service) *config.Service {
	r, was := *cfg, s.cfg.Radius
	r.Radius.Auth, r.Radius.Acct, r.Radius.Workers, r.Radius.Queue = was.Auth, was.Acct, was.Workers, was.Queue
	r.Radius.RadSec.Listen = was.RadSec.Listen
	if !r.Radius.RadSec.Identity.Set() {
		r.Radius.RadSec.Identity = was.RadSec.Identity // taken away together with the listener
	}
	if r.Portal.Listen == "" {
		r.Portal = s.cfg.Portal // taken away
	}
	r.Portal.Listen, r.Portal.URL = s.cfg.Portal.Listen, s.cfg.Portal.URL
	return &r
}
