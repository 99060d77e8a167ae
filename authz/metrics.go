package authz

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/lockout"
)

// metrics counts what happens in the portal and to the shield; radiusd counts logins.
type metrics struct {
	stepUps *prometheus.CounterVec
	signIns *prometheus.CounterVec
	events  *prometheus.CounterVec
	shadow  *prometheus.CounterVec
	steps   [numStages]prometheus.Observer
}

// stage is a part of a login that has its own time in audit line and metric.
//
// Handled in: stageNames, metrics.took.
type stage uint8

const (
	stageLoad      stage = iota // the store is asked what it knows
	stageDirectory              // the directory finds the user and verifies
	stageCommit                 // the store takes the session
	stageAll                    // from the request to the decision
	numStages
)

var stageNames = [numStages]string{stageLoad: "load", stageDirectory: "directory", stageCommit: "commit", stageAll: "all"}

func (s stage) String() string { return stageNames[min(s, stageAll)] }

// took notes where a login's time went. A step that it never came to is not counted.
func (m *metrics) took(r *Record) {
	for s, d := range [numStages]time.Duration{stageLoad: r.Load, stageDirectory: r.Directory, stageCommit: r.Commit, stageAll: r.Duration} {
		if d > 0 {
			m.steps[s].Observe(d.Seconds())
		}
	}
}

// newMetrics registers with r, which may be nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const space, sub = "postern", "authz"
	m := &metrics{
		stepUps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "step_ups_total",
			Help: "Second factors given for sessions in quarantine, by factor (none where it was refused) and reason (see Reason in package authz).",
		}, []string{"factor", "reason"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "sign_ins_total", Help: "Logins to the portal, by reason (see Reason in package authz).",
		}, []string{"reason"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: "lockout", Name: "events_total",
			Help: "What the shield has come upon, once each and not by attempt; event is " + words(lockout.Kinds()[1:]) + "; scope is " + words(lockout.Scopes()) + ".",
		}, []string{"event", "scope"}),
		shadow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: "policy", Name: "shadow_total",
			Help: "Logins that were judged beside as well; of is candidate, or rules where those in shadow would have done something else; outcome is " + words(besides()[1:]) + ".",
		}, []string{"of", "outcome"}),
	}
	steps := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: space, Subsystem: sub, Name: "step_seconds",
		Help:    "Time that logins spent in a step: load and commit are the store's, directory finds and verifies the user, all is from the request to the decision.",
		Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"step"})
	for i := range m.steps {
		m.steps[i] = steps.WithLabelValues(stage(i).String())
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.stepUps, m.signIns, m.events, m.shadow, steps} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register metrics: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// words is for help texts.
func words[T fmt.Stringer](all []T) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = one.String()
	}
	return strings.Join(names, ", ")
}
