// Package failover asks one of several servers that give the same answers: domain
// controllers, LDAP replicas, upstream RADIUS servers.
//
// The servers are asked in the order of the list, each at most once per request,
// and the first answer counts, also a no. A server that gives no answer (see Away)
// several times in a row is passed over for a while, longer each time, and then one
// request at a time tries it again; while every server is passed over, all of them
// are asked after all. The list is configured, or discovered with DNS (RFC 2782)
// and refreshed beside the requests.
//
// What a request means, and whether it may be repeated at another server, is the
// caller's affair.
package failover

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Ours. A login has about ten seconds in all before a NAS gives up.
const (
	DefaultAttempt  = 3 * time.Second  // two of them, and something left
	DefaultFailures = 3                // one lost packet is no outage
	DefaultPause    = 5 * time.Second  // about a DC's reboot of services
	DefaultMaxPause = 2 * time.Minute  // how late a repaired server is noticed
	DefaultRefresh  = 10 * time.Minute // the usual TTL of AD's SRV records
	discoverTime    = 10 * time.Second // for one discovery, resolver's retries included
)

// Discover returns the servers as they are now, the preferred one first.
type Discover func(ctx context.Context) ([]string, error)

// Config is what New needs. Zero durations and counts are the defaults above.
type Config struct {
	Name    string   // of the group, for logs and errors
	Servers []string // in order of preference; with Discover: what is used as long as that found nothing
	// Discover finds the servers; nil: there are no others than Servers.
	Discover Discover
	Refresh  time.Duration // how long a discovered list is good

	Attempt         time.Duration // the longest that one server is waited for
	Failures        int           // in a row, before a server is passed over
	Pause, MaxPause time.Duration // first and longest time that it is passed over

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: none
	// OnChange is told when a server begins and ceases to be passed over. It is called
	// under the group's lock: it must be quick and must not call the Group.
	OnChange func(server string, up bool)
}

// Group is the servers and what is known of them. It is safe for concurrent use.
type Group struct {
	cfg Config
	log *slog.Logger

	ctx    context.Context // of discoveries
	cancel context.CancelFunc
	wait   sync.WaitGroup // for the one discovery that may be running

	mu   sync.Mutex
	list list
}

// server is one of a Group's. Guarded by Group.mu.
type server struct {
	name    string
	breaker breaker
	asked   uint64
	failed  uint64
	last    error // why it was away the last time
}

// New makes a Group. It asks nobody yet.
func New(cfg Config) *Group {
	orDefault(&cfg.Refresh, DefaultRefresh)
	orDefault(&cfg.Attempt, DefaultAttempt)
	orDefault(&cfg.Failures, DefaultFailures)
	orDefault(&cfg.Pause, DefaultPause)
	orDefault(&cfg.MaxPause, DefaultMaxPause)
	cfg.MaxPause = max(cfg.MaxPause, cfg.Pause)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g := &Group{cfg: cfg, log: log}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.setLocked(cfg.Servers) // nobody else has g yet
	return g
}

func orDefault[T ~int | ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Close ends a discovery that is running. Requests that run are not touched.
func (g *Group) Close() {
	g.cancel()
	g.wait.Wait()
}

// Do calls f with one server after the other until f's error is nil or does not say
// that the server is away; that error is returned. While another server is left, f
// has half of ctx's time at most, and never more than Attempt. When none is left,
// or ctx is over, the error is a *NoAnswer, which is away too.
func (g *Group) Do(ctx context.Context, f func(ctx context.Context, server string) error) error {
	if err := g.discovered(ctx); err != nil {
		return &NoAnswer{Group: g.cfg.Name, Errs: []error{err}}
	}
	none := &NoAnswer{Group: g.cfg.Name}
	var asked []*server
	for {
		if err := ctx.Err(); err != nil {
			none.Errs = append(none.Errs, err)
			return none
		}
		s, probe, left := g.take(asked)
		if s == nil {
			if len(none.Errs) == 0 {
				none.Errs = []error{errNoServer}
			}
			return none
		}
		asked = append(asked, s)
		err := g.attempt(ctx, s, probe, left, f)
		if !IsAway(err) {
			return err
		}
		none.Errs = append(none.Errs, &serverError{s.name, err})
	}
}

var errNoServer = errors.New("no server is known")

// attempt asks one server.
func (g *Group) attempt(ctx context.Context, s *server, probe, left bool, f func(context.Context, string) error) (err error) {
	out := abandoned // if f panics
	defer func() { g.settle(s, probe, out, err) }()
	limit := g.cfg.Attempt
	if end, ok := ctx.Deadline(); ok && left {
		limit = min(limit, time.Until(end)/2)
	}
	actx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = f(actx, s.name)
	switch {
	case !IsAway(err):
		out = answered
	case !errors.Is(ctx.Err(), context.Canceled): // else the caller went away, not the server
		out = silent
	}
	return err
}

// take returns the next server to ask, whether it is on probation, and whether
// others would be left.
func (g *Group) take(asked []*server) (s *server, probe, left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	var resort *server
	for _, c := range g.list.servers {
		if slices.Contains(asked, c) {
			continue
		}
		ok, onProbation := c.breaker.allows(now)
		switch {
		case ok && s == nil:
			s, probe = c, onProbation
		case resort == nil && !ok:
			resort = c
		default:
			left = true
		}
	}
	switch {
	case s != nil:
		left = left || resort != nil
	case resort != nil:
		s = resort
	default:
		return nil, false, false
	}
	if probe {
		s.breaker.probing = true
	}
	s.asked++
	return s, probe, left
}

// settle notes what a request said about its server.
func (g *Group) settle(s *server, probe bool, out outcome, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	if probe {
		s.breaker.probing = false
	}
	switch out {
	case answered:
		if s.breaker.success() {
			g.log.Info("server answers again", "group", g.cfg.Name, "server", s.name, "after", now.Sub(s.breaker.since))
			g.changeLocked(s, true)
			s.breaker.since = now
		}
	case silent:
		s.failed++
		s.last = err
		if s.breaker.failure(now, probe, &g.cfg) {
			g.log.Warn("server is passed over", "group", g.cfg.Name, "server", s.name, "reason", err)
			g.changeLocked(s, false)
		}
	case abandoned:
	}
}

func (g *Group) changeLocked(s *server, up bool) {
	if g.cfg.OnChange != nil {
		g.cfg.OnChange(s.name, up)
	}
}
