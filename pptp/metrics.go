package pptp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"postern/pptp/control"
)

// metrics are a node's numbers. The packet path adds to plain atomics; Prometheus
// reads them when it asks.
type metrics struct {
	drops    [numDrops]atomic.Uint64
	packets  [2]atomic.Uint64 // in, out
	octets   [2]atomic.Uint64
	sessions atomic.Int64 // with an address
	calls    atomic.Int64
	starting atomic.Int64 // calls without an address yet
	// quarantined counts sessions, also those that have no address yet.
	quarantined atomic.Int64

	connections *prometheus.CounterVec // verdict
	ended       *prometheus.CounterVec // cause
	busy        *prometheus.CounterVec // why
	oddities    *prometheus.CounterVec // why
	logins      *prometheus.CounterVec // outcome
	unrouted    *prometheus.CounterVec // reason
	setup       prometheus.Histogram
	spooled     atomic.Int64
}

const (
	dirIn  = 0 // from clients
	dirOut = 1
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_control_connections_total",
			Help: "TCP connections to port 1723 by verdict: admitted, denied, not allowed, not IPv4, too many half-open, too many half-open from source, source rate.",
		}, []string{"verdict"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_sessions_ended_total",
			Help: "Calls ended, by cause (see Cause in package pptp: peer terminated, login refused, idle timeout, …).",
		}, []string{"cause"}),
		oddities: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_control_oddities_total",
			Help: "Control messages without effect, by kind: out of state, wrong role, unknown call, duplicate call, too many calls, bad value, bad echo, not defined, not control.",
		}, []string{"kind"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_node_logins_total",
			Help: "Logins asked of a service, by outcome: accepted, refused, unanswered, unusable.",
		}, []string{"outcome"}),
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "postern_session_setup_seconds",
			Help:    "Time from the call to the client's address.",
			Buckets: []float64{.05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}),
	}
	for v := control.Admitted; v <= control.SourceRate; v++ {
		m.connections.WithLabelValues(v.String())
	}
	m.busy = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_calls_refused_total",
		Help: "Calls answered as busy, by why: stopping, draining, too many starting, full.",
	}, []string{"why"})
	for b := BusyStopping; b <= BusyFull; b++ {
		m.busy.WithLabelValues(b.String())
	}
	m.unrouted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_routes_left_out_total",
		Help: "Networks behind clients (Framed-Route) that were not routed to them, by reason: unreadable, own address, local network, another session, too many, host route.",
	}, []string{"reason"})
	for f := RouteUnreadable; f < numRouteFaults; f++ {
		m.unrouted.WithLabelValues(f.String())
	}
	for c := range causes {
		m.ended.WithLabelValues(Cause(c).String())
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	counter := func(name, help string, labels prometheus.Labels, v *atomic.Uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(v.Load()) }))
	}
	reg.MustRegister(m.connections, m.ended, m.busy, m.oddities, m.logins, m.unrouted, m.setup)
	gauge("postern_sessions", "Sessions with an address.", func() float64 { return float64(m.sessions.Load()) })
	gauge("postern_sessions_quarantined", "Sessions held back until their user has given a second factor.", func() float64 { return float64(m.quarantined.Load()) })
	gauge("postern_calls", "Calls in any phase.", func() float64 { return float64(m.calls.Load()) })
	gauge("postern_calls_starting", "Calls that have no address yet.", func() float64 { return float64(m.starting.Load()) })
	gauge("postern_accounting_spooled", "Accounting records not yet answered.", func() float64 { return float64(m.spooled.Load()) })
	for d := range m.drops {
		counter("postern_packets_dropped_total", "Packets thrown away, by cause (see Drop in package pptp).",
			prometheus.Labels{"cause": Drop(d).String()}, &m.drops[d])
	}
	for i, dir := range [...]string{dirIn: "in", dirOut: "out"} {
		l := prometheus.Labels{"direction": dir}
		counter("postern_packets_total", "Inner IP packets, from clients (in) and to them (out).", l, &m.packets[i])
		counter("postern_octets_total", "Inner IP octets, from clients (in) and to them (out).", l, &m.octets[i])
	}
	return m
}

func (m *metrics) drop(d Drop) { m.drops[d].Add(1) }
