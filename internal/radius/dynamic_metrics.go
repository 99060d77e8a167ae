package radius

import (
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// discard says why a request of RFC 5176 got no answer, besides a Fault.
//
// Handled in: discardNames.
type discard uint8

const (
	discardUnknown     discard = iota
	discardNoClient            // not from a client's address
	discardStale               // Event-Timestamp is not of these minutes: replayed, or a clock is wrong
	discardInWork              // a copy of a request that is being carried out
	discardUnencodable         // the answer does not fit
	discardPanic               // our own fault
)

var discardNames = [...]string{
	discardUnknown: "unknown", discardNoClient: "unknown_client", discardStale: "stale", discardInWork: "in_work",
	discardUnencodable: "unencodable", discardPanic: "panic",
}

// String returns the reason as metrics spell it.
func (d discard) String() string {
	if int(d) < len(discardNames) {
		return discardNames[d]
	}
	return discardNames[discardUnknown]
}

func (d discard) Error() string { return "radius: request dropped: " + d.String() }

type dynamicMetrics struct {
	requests *prometheus.CounterVec
	repeated *prometheus.CounterVec
	dropped  *prometheus.CounterVec
}

// newDynamicMetrics registers with r, which may be nil.
func newDynamicMetrics(r prometheus.Registerer) (*dynamicMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postern", Subsystem: "dynamic", Name: name, Help: help}, labels)
	}
	const transports = "transport is inproc, udp or radsec"
	faults := make([]string, 0, len(faultNames))
	for _, f := range Faults() {
		faults = append(faults, f.String())
	}
	m := &dynamicMetrics{
		requests: counter("requests_total", "Requests to end or change a session that were believed (RFC 5176); "+transports+
			"; request is disconnect or coa; outcome is ack or the Error-Cause: unsupported_attribute, missing_attribute, nas_mismatch, "+
			"invalid_value, session_not_found, ….", "transport", "request", "outcome"),
		repeated: counter("repeated_total", "Requests seen before, given the same answer; "+transports+".", "transport"),
		dropped: counter("dropped_total", "Requests left without an answer; "+transports+"; reason is one of "+
			strings.Join(discardNames[:], ", ")+", or what was wrong with the packet: "+strings.Join(faults, ", ")+".", "transport", "reason"),
	}
	for t := InProcess; int(t) < len(transportNames); t++ {
		m.repeated.WithLabelValues(t.String())
		for _, name := range append(faults, discardNames[:]...) {
			m.dropped.WithLabelValues(t.String(), name)
		}
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(register(r, &m.requests), register(r, &m.repeated), register(r, &m.dropped))
}

func (m *dynamicMetrics) drop(via Transport, why error) {
	reason := discardUnknown.String()
	var fault Fault
	var d discard
	switch {
	case errors.As(why, &fault):
		reason = fault.String()
	case errors.As(why, &d):
		reason = d.String()
	}
	m.dropped.WithLabelValues(via.String(), reason).Inc()
}
