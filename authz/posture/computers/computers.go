// Package computers has what an Active Directory says of its computer objects be known of
// devices: which there are, that they are enabled, their system, their groups and who
// manages them.
package computers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/directory/ad"
	"postern/authz/posture"
	"postern/authz/posture/importer"
	"postern/authz/session"
	"postern/internal/store"
	"postern/policy"
)

// Directory has computers; ad.Directory is one.
type Directory interface {
	Computers(ctx context.Context) ([]ad.Computer, error)
}

// Config is what New needs. All but the last four must be there.
type Config struct {
	Directory Directory
	Owner     func(own string) string // the canonical name of somebody of the directory
	Store     store.Store
	Interval  time.Duration // between two looks

	// As posture.Config's. Nil: nobody's sessions follow.
	Review func(ctx context.Context, why string, users ...string) error
	Using  func(ctx context.Context, device string) ([]string, error)

	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

const (
	// lookTime is how long a look may take.
	lookTime = 10 * time.Minute
	// batch is how many records are written at once.
	batch = 500
	// maxGroups is how many groups of a computer are kept: a record takes no more.
	maxGroups = 64
)

// Poller looks. Of several services on one store one does at a time.
type Poller struct {
	cfg  Config
	log  *slog.Logger
	self string // who we are in the store

	loud, quiet *posture.Keeper // of what has changed, and of what is said again
	looks       *prometheus.CounterVec
	known       prometheus.Gauge
	last        prometheus.Gauge
	away        bool
	owed        bool // a look was written down in part, and whose sessions must follow is lost
}

// New makes a Poller; Run runs it.
func New(c Config) (*Poller, error) {
	if c.Directory == nil || c.Owner == nil || c.Store == nil || c.Interval <= 0 {
		return nil, errors.New("new poller of computers: a part is missing")
	}
	const space, sub = "postern", "posture_ad"
	p := &Poller{
		cfg: c, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)).With("layer", "posture", "source", posture.FromAD), self: rand.Text(),
		loud: posture.New(c.Store, posture.Config{Review: c.Review, Using: c.Using}), quiet: posture.New(c.Store, posture.Config{}),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "looks_total",
			Help: "Times it was due to read the directory's computers; outcome is done, failed, or another's where another service reads them.",
		}, []string{"outcome"}),
		known: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Subsystem: sub, Name: "computers", Help: "Computers that the last look found here."}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "last_look_seconds", Help: "Unix time of the last look here that found all there is; 0: none yet.",
		}),
	}
	if c.Metrics == nil {
		return p, nil
	}
	var errs []error
	for _, m := range []prometheus.Collector{p.looks, p.known, p.last} {
		if err := c.Metrics.Register(m); err != nil {
			errs = append(errs, fmt.Errorf("register metrics: %w", err))
		}
	}
	return p, errors.Join(errs...)
}

// Run looks until ctx ends: soon after the start, and then each interval.
func (p *Poller) Run(ctx context.Context) {
	defer p.passTurn()
	timer := time.NewTimer(mathrand.N(min(p.cfg.Interval, 5*time.Second)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(p.cfg.Interval - mathrand.N(p.cfg.Interval/10))
		switch mine, err := p.takeTurn(ctx); {
		case err != nil:
			p.failed(ctx, err)
		case mine:
			p.failed(ctx, p.look(ctx))
		default:
			p.looks.WithLabelValues("another's").Inc()
		}
	}
}

// failed counts a look, and tells of the first that fails and of the first that does not.
func (p *Poller) failed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.looks.WithLabelValues("failed").Inc()
		if !p.away {
			p.log.Warn("computers are not read: what was known of them stays", "error", err)
		}
		p.away = true
	default:
		p.looks.WithLabelValues("done").Inc()
		if p.away {
			p.log.Info("computers are read again")
		}
		p.away = false
	}
}

// takeTurn says whether it is our turn to look: it is until we stop asking. Two who
// believe so do no harm.
func (p *Poller) takeTurn(ctx context.Context) (bool, error) {
	op := &store.Swap{Key: store.ComputersTurn(), Absent: true, New: p.self, TTL: p.cfg.Interval + p.cfg.Interval/2}
	err := p.cfg.Store.Do(ctx, store.Seq{op})
	return op.OK, err
}

// passTurn lets another service have the next look, if the last was ours.
func (p *Poller) passTurn() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// Without it the turn lapses.
	_ = p.cfg.Store.Do(ctx, store.Seq{&store.Swap{Key: store.ComputersTurn(), Old: p.self, New: "nobody", TTL: time.Millisecond}})
}

// look reads all computers, and writes down what is said of each. Of those that are gone
// it forgets what was.
func (p *Poller) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found, err := p.cfg.Directory.Computers(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	before := make(map[string]posture.Record)
	list, err := p.loud.List(ctx, "")
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.Source == posture.FromAD {
			before[r.Device] = r
		}
	}
	var changed, same []posture.Record
	odd := 0
	for i := range found {
		r := p.record(&found[i], now)
		if !posture.ValidID(r.Device) {
			odd++
			continue
		}
		if was, there := before[r.Device]; there && sameRecord(&was, &r) {
			same = append(same, r)
		} else {
			changed = append(changed, r)
		}
		delete(before, r.Device)
	}
	for keeper, recs := range map[*posture.Keeper][]posture.Record{p.loud: changed, p.quiet: same} {
		for some := range slices.Chunk(recs, batch) {
			_, failed := keeper.Put(ctx, some...)
			err = errors.Join(err, failed)
		}
	}
	for device := range before {
		err = errors.Join(err, p.loud.Remove(ctx, device, posture.FromAD))
	}
	if err != nil {
		p.owed = true // what was written is no change to the next look
		return err
	}
	if p.owed && p.cfg.Review != nil {
		if err := p.cfg.Review(ctx, "posture", session.Everybody); err != nil {
			return err
		}
	}
	p.owed = false
	if len(changed)+len(before)+odd > 0 {
		p.log.Info("computers were read", "found", len(found), "changed", len(changed), "gone", len(before), "names_refused", odd)
	}
	p.known.Set(float64(len(found) - odd))
	p.last.Set(float64(now.Unix()))
	return nil
}

// record is what a computer object says of a device. That it is managed, or in order, it
// does not say.
func (p *Poller) record(c *ad.Computer, now time.Time) posture.Record {
	r := posture.Record{
		Device: strings.ToLower(c.Name), Name: c.Name, Source: posture.FromAD, Confidence: policy.Directory, At: now.UTC(),
		Facts: posture.Facts{Enabled: policy.Yes, LastLogon: c.LastLogon, Groups: c.Groups[:min(len(c.Groups), maxGroups)]},
	}
	if c.Disabled {
		r.Facts.Enabled = policy.No
	}
	if c.Owner != "" {
		r.Owners = []string{p.cfg.Owner(c.Owner)}
	}
	r.Facts.OS, _ = importer.System(c.OS)
	r.Facts.OSVersion = version(c.OSVersion)
	return r
}

// version reads "10.0 (22631)", as Windows writes its own.
func version(s string) string {
	before, build, found := strings.Cut(s, " (")
	_, v := importer.System(before)
	if build, closed := strings.CutSuffix(build, ")"); found && closed && v != "" {
		if _, n := importer.System(build); n == build {
			return v + "." + n
		}
	}
	return v
}

// sameRecord says whether a record says again what was said.
func sameRecord(a, b *posture.Record) bool {
	x, y := a.Facts, b.Facts
	groups := slices.Equal(x.Groups, y.Groups)
	logon := x.LastLogon.Equal(y.LastLogon)
	return groups && logon && x.OS == y.OS && x.OSVersion == y.OSVersion && x.Enabled == y.Enabled && strings.EqualFold(a.Name, b.Name) && slices.Equal(a.Owners, b.Owners)
}
