// Package follow has running sessions follow what permitted them: the directory's
// accounts and groups, and the policy. It decides nothing itself: authz looks again
// at a session with the account as it is now, and the NAS ends it (RFC 5176).
//
//	watch   one service of all, each interval    sessions → directories ─ changed ─→ authz → wish
//	attend  every service, when told and each second   users asked for, sessions due → authz → wish
//	carry   every service, when told and each second                       wish → NAS → audit line
//
// A wish that a session should end, or change, stands in the store (session.Wish), so
// that it outlives the service that had it, and whichever service reaches the NAS can
// fulfil it. It is repeated until the NAS has answered or the session is gone. Sessions
// that are in quarantine longer than they may are wished to end as well.
//
// After a change of the policy all sessions are looked at, some after the other. What a
// look comes to is written together with the wish and only to the session as it was seen
// (session.Settle), so that a look at the same time as another, as a step-up or as the
// session's end changes nothing that it has not seen.
//
// What cannot be known changes nothing: while a directory is away its users' sessions
// stay, and so do all sessions while the store is.
package follow

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/session"
	"postern/internal/store"
)

// Judge looks again at a session; authz.Decider is one.
type Judge interface {
	Reevaluate(ctx context.Context, cases ...*authz.Case) error
	Parting(r authz.Reason) string
}

// NAS ends and changes sessions; radiusd.Dynamic is one. It is called from many
// goroutines.
type NAS interface {
	Disconnect(ctx context.Context, rec session.Record, text string) (authz.NASAnswer, error)
	Change(ctx context.Context, rec session.Record, to authz.Change) (authz.NASAnswer, error)
}

// Config is what a Follower follows with. All but the last three must be there.
type Config struct {
	Sessions *session.Registry
	Store    store.Store
	Realms   []directory.Followed
	Judge    Judge
	NAS      NAS
	Audit    authz.Audit

	// Interval is how often directories are asked for changes; zero: never, and then
	// only what operators wish is carried out.
	Interval time.Duration
	// PerSecond is how many sessions are looked at a second after a change of the policy;
	// 0: 1,000.
	PerSecond int
	Log       *slog.Logger          // nil: none
	Metrics   prometheus.Registerer // nil: none
}

// Follower follows. Its methods may be called from any goroutine.
type Follower struct {
	cfg    Config
	log    *slog.Logger
	m      *metrics
	self   string // who we are in the store
	realms []*realm
	again  chan struct{} // one look at everything is wanted
	wish   chan struct{} // there may be new wishes
	lost   trouble       // the store is away; watch's
	strays strays
}

// New makes a Follower; Run runs it.
func New(c Config) (*Follower, error) {
	if c.Sessions == nil || c.Store == nil || c.Judge == nil || c.NAS == nil || c.Audit == nil {
		return nil, errors.New("new follower: a part is missing")
	}
	if c.PerSecond <= 0 {
		c.PerSecond = 1000
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	f := &Follower{
		cfg: c, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)).With("layer", "follow"), m: m, self: rand.Text(),
		again: make(chan struct{}, 1), wish: make(chan struct{}, 1),
	}
	for _, r := range c.Realms {
		f.realms = append(f.realms, &realm{Followed: r})
		f.m.away.WithLabelValues(r.Realm).Set(0)
	}
	return f, nil
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	f.strays.begin(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.carry(ctx) })  // waited for below
	wg.Go(func() { f.attend(ctx) }) // waited for below
	if f.cfg.Interval > 0 {
		f.watch(ctx)
	}
	wg.Wait()
	<-ctx.Done()
	f.strays.wait()
}

// PolicyChanged has everything looked at again, soon and whosever turn it is: each
// service has a policy of its own in force.
func (f *Follower) PolicyChanged() { poke(f.again) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting
	}
}

// trouble is something that fails for a while: its beginning and its end are worth a
// line, and nothing between.
type trouble bool

func (t *trouble) now(err error) (begun, over bool) {
	was := bool(*t)
	*t = err != nil
	return err != nil && !was, err == nil && was
}

type metrics struct {
	looks   *prometheus.CounterVec
	decided *prometheus.CounterVec
	ended   *prometheus.CounterVec
	changed *prometheus.CounterVec
	away    *prometheus.GaugeVec
	waiting prometheus.Gauge
	reviews *prometheus.CounterVec
	backlog prometheus.Gauge
	late    prometheus.Histogram
	left    prometheus.Gauge
}

// newMetrics registers with r, which may be nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const space, sub = "postern", "follow"
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: sub, Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		looks: counter("looks_total", "Times it was due to look for changes; outcome is done, failed, or another's where "+
			"another service looks for all.", "outcome"),
		decided: counter("decided_total", "Sessions found that should end, by reason (see Reason in package authz).", "reason"),
		ended: counter("ended_total", "Wishes to end a session that were answered; answer is done, not found or refused.",
			"answer"),
		changed: counter("changed_total", "Wishes to change a session that were answered; answer is done, not found or refused.",
			"answer"),
		away: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "realm_away", Help: "1 while the realm's directory does not answer: its sessions stay as they are.",
		}, []string{"realm"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "waiting", Help: "Wishes to end or to change a session that no NAS has answered.",
		}),
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Subsystem: sub, Name: name, Help: help})
	}
	m.reviews = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: space, Subsystem: sub, Name: "reviews_total",
		Help: "Sessions that were looked at again; cause is directory, policy, asked, due or overdue, outcome is same, changed, quarantined, released, ended or unknown.",
	}, []string{"cause", "outcome"})
	m.backlog = gauge("reviews_waiting", "Users asked for and sessions due that no service has looked at yet.")
	m.left = gauge("policy_left", "Sessions that this service has still to look at since its policy changed.")
	m.late = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: space, Subsystem: sub, Name: "review_late_seconds", Help: "How much later than asked for, or due, sessions were looked at.",
		Buckets: []float64{.01, .05, .1, .25, .5, 1, 2, 5, 15, 60, 300},
	})
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.looks, m.decided, m.ended, m.changed, m.away, m.waiting, m.reviews, m.backlog, m.late, m.left} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register metrics: %w", err))
		}
	}
	return m, errors.Join(errs...)
}
