package radiusd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/internal/radius"
)

// kind is what a request wants. The zero value is nothing we serve.
//
// Handled in: kindNames, kindOf, Server.reply.
type kind uint8

const (
	kindNone kind = iota
	kindAccess
	kindAccounting
	kindStatus
)

var kindNames = [...]string{kindNone: "none", kindAccess: "access", kindAccounting: "accounting", kindStatus: "status"}

func (k kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[kindNone]
}

func kindOf(c radius.Code) kind {
	switch c {
	case radius.CodeAccessRequest:
		return kindAccess
	case radius.CodeAccountingRequest:
		return kindAccounting
	case radius.CodeStatusServer:
		return kindStatus
	default:
		return kindNone
	}
}

const (
	numTransports = int(radius.RadSec) + 1
	numVerdicts   = int(authz.Challenge) + 1
)

// metrics are a server's numbers. What is counted for each request is looked up
// here once.
type metrics struct {
	requests   [numTransports][len(kindNames)]prometheus.Counter
	dropped    [numTransports][len(dropNames)]prometheus.Counter
	faults     [numTransports][]prometheus.Counter // by radius.Fault
	repeated   [numTransports]prometheus.Counter
	logins     [len(proofNames)][numVerdicts]prometheus.Counter
	reasons    []prometheus.Counter // by authz.Reason
	accounting [authz.AcctOff + 1]prometheus.Counter
	asked      *prometheus.CounterVec
	seconds    [len(kindNames)]prometheus.Observer

	connections prometheus.Gauge
	handshakes  [len(handshakeNames)]prometheus.Counter
}

// handshake is what became of a RadSec connection. The zero value is a failure.
type handshake uint8

const (
	handshakeFailed  handshake = iota
	handshakeDone              //
	handshakeUnknown           // a certificate of the CA, but of no client
	handshakeFull              // too many connections
	handshakeBusy              // too many handshakes
)

var handshakeNames = [...]string{
	handshakeFailed: "failed", handshakeDone: "done", handshakeUnknown: "unknown_client", handshakeFull: "full", handshakeBusy: "busy",
}

func (h handshake) String() string {
	if int(h) < len(handshakeNames) {
		return handshakeNames[h]
	}
	return handshakeNames[handshakeFailed]
}

// newMetrics registers with r, which may be nil.
func newMetrics(r prometheus.Registerer, s *Server) (*metrics, error) {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "postern", Subsystem: "radius_server", Name: name, Help: help}
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	const transports = "transport is inproc, udp or radsec"
	requests := counters("requests_total", "Requests that were believed; "+transports+"; kind is access, accounting or status.", "transport", "kind")
	dropped := counters("dropped_total", "Requests left without an answer; "+transports+"; reason is one of "+
		list(dropNames[:])+", or what was wrong with the packet: "+list(radius.Faults())+".", "transport", "reason")
	repeated := counters("repeated_total", "Repetitions answered with the answer given before; "+transports+".", "transport")
	logins := counters("logins_total", "Logins decided; proof is one of "+list(proofNames[:])+"; verdict is accept, reject, silent or challenge.", "proof", "verdict")
	reasons := counters("decisions_total", "Logins decided, by reason (see Reason in package authz: permitted, wrong password, …).", "reason")
	accounting := counters("accounting_total", "Accounting records stored; status is start, interim, stop, on or off.", "status")
	asked := counters("dynamic_requests_total", "Requests to a NAS to end or change a session; request is disconnect or coa; "+
		"answer is done, not found, refused, no way or no answer.", "request", "answer")
	handshakes := counters("radsec_handshakes_total", "RadSec connections that came; outcome is one of "+list(handshakeNames[:])+".", "outcome")
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "postern", Subsystem: "radius_server", Name: "request_seconds",
		Help:    "Time from taking up a request to its answer, without what a refusal is held back; kind is access, accounting or status.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"kind"})
	m := &metrics{asked: asked, connections: prometheus.NewGauge(prometheus.GaugeOpts(opts("radsec_connections", "RadSec connections that are open.")))}
	for t := range numTransports {
		name := radius.Transport(t).String()
		for k := range m.requests[t] {
			m.requests[t][k] = requests.WithLabelValues(name, kind(k).String())
		}
		for d := range m.dropped[t] {
			m.dropped[t][d] = dropped.WithLabelValues(name, drop(d).String())
		}
		for _, f := range radius.Faults() {
			m.faults[t] = append(m.faults[t], dropped.WithLabelValues(name, f.String()))
		}
		m.repeated[t] = repeated.WithLabelValues(name)
	}
	for p := range m.logins {
		for v := range m.logins[p] {
			m.logins[p][v] = logins.WithLabelValues(proof(p).String(), authz.Verdict(v).String())
		}
	}
	for _, r := range authz.Reasons() {
		m.reasons = append(m.reasons, reasons.WithLabelValues(r.String()))
	}
	for i := range m.accounting {
		m.accounting[i] = accounting.WithLabelValues(authz.AcctStatus(i).String())
	}
	for i := range m.handshakes {
		m.handshakes[i] = handshakes.WithLabelValues(handshake(i).String())
	}
	for i := range m.seconds {
		m.seconds[i] = seconds.WithLabelValues(kind(i).String())
	}
	if r == nil {
		return m, nil
	}
	queued := func(k kind, q *queue) prometheus.Collector {
		o := prometheus.GaugeOpts(opts("queued", "Requests that wait for a worker; kind is access or accounting."))
		o.ConstLabels = prometheus.Labels{"kind": k.String()}
		return prometheus.NewGaugeFunc(o, func() float64 { return float64(q.len()) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		requests, dropped, repeated, logins, reasons, accounting, asked, handshakes, seconds, m.connections,
		queued(kindAccess, s.access), queued(kindAccounting, s.accounting),
	} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register RADIUS server metrics: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// list is for help texts.
func list[T any](all []T) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = fmt.Sprint(one)
		if s, ok := any(one).(fmt.Stringer); ok { // not what Error says
			names[i] = s.String()
		}
	}
	return strings.Join(names, ", ")
}

// drop counts a request that gets no answer.
func (m *metrics) drop(t radius.Transport, why error) {
	var fault radius.Fault
	if errors.As(why, &fault) {
		m.faults[t][fault].Inc()
		return
	}
	d := dropUnknown
	errors.As(why, &d)
	m.dropped[t][d].Inc()
}

// dynamic counts what a NAS was asked for.
func (m *metrics) dynamic(c radius.Code, a authz.NASAnswer) {
	request := "disconnect"
	if c == radius.CodeCoARequest {
		request = "coa"
	}
	m.asked.WithLabelValues(request, a.String()).Inc()
}

// login counts a decision.
func (m *metrics) login(p proof, v authz.Verdict, r authz.Reason) {
	if int(v) >= numVerdicts {
		v = authz.Reject // as it was answered
	}
	m.logins[p][v].Inc()
	if int(r) >= len(m.reasons) {
		r = authz.ReasonUnknown
	}
	m.reasons[r].Inc()
}
