package portal

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/posture/push"
	"postern/internal/report"
)

// refusal is why a request got no page of its own. The zero value is not used.
//
// Handled in: refusalNames, and the answers in serve.go.
type refusal uint8

const (
	refusedNone       refusal = iota
	refusedConnection         // too many are open
	refusedBusy               // too many requests are in work
	refusedHost               // asked for under another name
	refusedPath               // no such page
	refusedMethod
	refusedOrigin // a form of another page
	refusedToken  // a form without our token, or an old one
	refusedForm   // no form at all
	refusedBody   // too big
	refusedRate   // too many forms
)

var refusalNames = [...]string{
	refusedNone: "none", refusedConnection: "connections", refusedBusy: "busy", refusedHost: "host", refusedPath: "path",
	refusedMethod: "method", refusedOrigin: "cross_site", refusedToken: "form_token", refusedForm: "form", refusedBody: "body", refusedRate: "rate",
}

func (r refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return refusalNames[refusedNone]
}

type metrics struct {
	requests   *prometheus.CounterVec
	refused    *prometheus.CounterVec
	enrolments *prometheus.CounterVec
	keys       *prometheus.CounterVec
	agents     *prometheus.CounterVec
	pushes     *prometheus.CounterVec
	seconds    prometheus.Histogram
}

// newMetrics registers with r, which may be nil.
func newMetrics(r prometheus.Registerer, cert *certificate) (*metrics, error) {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postern", Subsystem: "portal", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests:   counters("requests_total", "Requests answered; route is a page, or none; class is 2xx, 3xx, 4xx or 5xx.", "route", "class"),
		refused:    counters("refused_total", "Requests and connections refused; reason is one of "+strings.Join(refusalNames[1:], ", ")+".", "reason"),
		enrolments: counters("enrolments_total", "Devices set up; leave is one of "+strings.Join(leaveNames[1:], ", ")+".", "leave"),
		keys: counters("keys_total", "Answers of security keys; use is one of step_up, sign_in, again, add; outcome is one of "+
			strings.Join(keyOutcomes, ", ")+".", "use", "outcome"),
		pushes: counters("pushes_total", "What inventories sent, by outcome.", "outcome"),
		agents: counters("agents_total", "What devices sent; use is enrol or report; outcome is taken or one of "+
			strings.Join(agentRefusals(), ", ")+".", "use", "outcome"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "postern", Subsystem: "portal", Name: "request_seconds", Help: "Time from a request to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
	}
	for _, route := range routeNames() {
		for _, class := range []string{"2xx", "3xx", "4xx", "5xx"} {
			m.requests.WithLabelValues(route, class)
		}
	}
	for _, name := range refusalNames[1:] {
		m.refused.WithLabelValues(name)
	}
	for _, name := range leaveNames[1:] {
		m.enrolments.WithLabelValues(name)
	}
	for _, use := range keyUses[1:] {
		for _, outcome := range keyOutcomes {
			m.keys.WithLabelValues(use.name, outcome)
		}
	}
	for _, o := range push.Outcomes() {
		m.pushes.WithLabelValues(o.String())
	}
	for _, use := range agentUseNames[1:] {
		for _, outcome := range append(agentRefusals(), report.Taken.String()) {
			m.agents.WithLabelValues(use, outcome)
		}
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.refused, m.enrolments, m.keys, m.agents, m.pushes, m.seconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "postern", Subsystem: "portal", Name: "certificate_expires_seconds",
			Help: "When the certificate in force expires, in seconds since 1970.",
		}, cert.expires),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register portal metrics: %w", err)
		}
	}
	return m, nil
}

func agentRefusals() []string {
	var names []string
	for _, r := range report.Refusals() {
		names = append(names, r.String())
	}
	return names
}

func (m *metrics) refuse(r refusal) { m.refused.WithLabelValues(r.String()).Inc() }

// answered counts a request by what became of it.
func (m *metrics) answered(route string, status int, seconds float64) {
	class := "5xx"
	switch {
	case status < http.StatusMultipleChoices:
		class = "2xx"
	case status < http.StatusBadRequest:
		class = "3xx"
	case status < http.StatusInternalServerError:
		class = "4xx"
	}
	m.requests.WithLabelValues(route, class).Inc()
	m.seconds.Observe(seconds)
}
