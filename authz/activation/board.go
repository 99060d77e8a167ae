package activation

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Alarm is something about policies that somebody must look at. The zero value is nothing.
//
// Handled in: alarmNames; the runbook has a row for each.
type Alarm uint8

const (
	AlarmUnknown   Alarm = iota
	AlarmRefused         // what is activated cannot be put in force here
	AlarmCandidate       // the same of the candidate
	AlarmFile            // what was found where the service looks by itself is refused
	AlarmNone            // no policy is in force here
	AlarmAway            // nobody knows what is activated
)

var alarmNames = [...]string{
	AlarmUnknown: "unknown", AlarmRefused: "policy refused", AlarmCandidate: "candidate refused", AlarmFile: "policy file refused",
	AlarmNone: "no policy in force", AlarmAway: "policy store away",
}

// String returns the alarm as metrics and logs spell it.
func (a Alarm) String() string {
	if int(a) < len(alarmNames) {
		return alarmNames[a]
	}
	return alarmNames[AlarmUnknown]
}

// Board is where a service says what became of policies: its log, its audit log, metrics.
// It is safe for concurrent use.
type Board struct {
	name string
	tell func(*Event)
	log  *slog.Logger

	info     *prometheus.GaugeVec
	switched prometheus.Gauge
	refused  *prometheus.CounterVec
	alarms   *prometheus.GaugeVec

	mu     sync.Mutex
	raised map[Alarm]string
}

// NewBoard makes the board of a service. tell takes what belongs into the audit log.
func NewBoard(name string, tell func(*Event), log *slog.Logger, reg prometheus.Registerer) (*Board, error) {
	const space, sub = "postern", "policy"
	b := &Board{
		name: name, tell: tell, log: log.With("layer", "activation"), raised: make(map[Alarm]string),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "info", Help: "1 for the version that is in force here, and for the candidate beside it; as is active or candidate.",
		}, []string{"version", "as"}),
		switched: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "switched_seconds", Help: "When the version that is in force came into force here, in seconds since 1970.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "refused_total", Help: "Policies that could not be put in force here; why is " + words(whyNames[1:]) + ".",
		}, []string{"why"}),
		alarms: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "alarm", Help: "1 for something about policies that somebody must look at; the log says what. alarm is " + words(alarmNames[1:]) + ".",
		}, []string{"alarm"}),
	}
	for _, w := range Whys()[1:] {
		b.refused.WithLabelValues(w.String())
	}
	for _, name := range alarmNames[1:] {
		b.alarms.WithLabelValues(name)
	}
	if reg == nil {
		return b, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{b.info, b.switched, b.refused, b.alarms} {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register metrics: %w", err))
		}
	}
	return b, errors.Join(errs...)
}

// words is for help texts.
func words(all []string) string { return strings.Join(all, ", ") }

// InForce says that a policy is in force.
func (b *Board) InForce(e Event) {
	e.Service = b.name
	b.info.DeletePartialMatch(prometheus.Labels{"as": "active"})
	b.info.WithLabelValues(e.After, "active").Set(1)
	b.switched.Set(float64(time.Now().UnixMilli()) / 1000)
	b.log.Info("policy in force", "version", e.After, "before", e.Before, "action", e.Action.String(), "who", e.Who, "from", e.From, "signer", e.Signer)
	b.tell(&e)
	b.Clear(AlarmNone)
}

// Beside says that a candidate is asked, or none any more.
func (b *Board) Beside(e Event) {
	e.Service = b.name
	b.info.DeletePartialMatch(prometheus.Labels{"as": "candidate"})
	if e.After != "" {
		b.info.WithLabelValues(e.After, "candidate").Set(1)
	}
	b.log.Info("policy in shadow", "version", e.After, "before", e.Before, "who", e.Who, "from", e.From, "signer", e.Signer)
	b.tell(&e)
}

// Refused says that a policy is not put in force, with an alarm until Clear.
func (b *Board) Refused(a Alarm, e Event, err error) {
	e.Action, e.Service, e.Error = Refused, b.name, err.Error()
	e = e.bounded()
	b.refused.WithLabelValues(why(err).String()).Inc()
	b.tell(&e)
	b.Raise(a, err)
}

// Raise raises an alarm; it is logged when it is new, or says something new.
func (b *Board) Raise(a Alarm, err error) {
	b.mu.Lock()
	was, up := b.raised[a]
	b.raised[a] = err.Error()
	b.mu.Unlock()
	b.alarms.WithLabelValues(a.String()).Set(1)
	if !up || was != err.Error() {
		b.log.Error("policy needs attention", "alarm", a.String(), "error", err)
	}
}

// Clear ends an alarm.
func (b *Board) Clear(a Alarm) {
	b.mu.Lock()
	_, up := b.raised[a]
	delete(b.raised, a)
	b.mu.Unlock()
	b.alarms.WithLabelValues(a.String()).Set(0)
	if up {
		b.log.Info("policy needs attention no more", "alarm", a.String())
	}
}
