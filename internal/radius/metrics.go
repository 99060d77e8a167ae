package radius

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests    *prometheus.CounterVec
	retransmits *prometheus.CounterVec
	silences    *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	roundTrip   *prometheus.HistogramVec
	up          *prometheus.GaugeVec
}

// newMetrics registers with r, which may be nil. A second client on one registerer
// shares the first one's.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postern", Subsystem: "radius_client", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests:    counter("requests_total", "Requests sent, without repetitions; code is the packet's name.", "server", "port", "code"),
		retransmits: counter("retransmits_total", "Requests sent again.", "server", "port"),
		silences:    counter("silences_total", "Requests a service left without an answer.", "server", "port"),
		dropped: counter("dropped_replies_total", "Replies not believed; reason is one of short, length, attribute, code, unsigned, "+
			"signature, authenticator, unexpected.", "server", "port", "reason"),
		roundTrip: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "postern", Subsystem: "radius_client", Name: "round_trip_seconds",
			Help:    "From the first transmission of a request to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"server", "port"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "postern", Subsystem: "radius_client", Name: "server_up", Help: "1 while the service answers, 0 while it is passed over.",
		}, []string{"server", "port"}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(
		register(r, &m.requests), register(r, &m.retransmits), register(r, &m.silences),
		register(r, &m.dropped), register(r, &m.roundTrip), register(r, &m.up))
}

func register[C prometheus.Collector](r prometheus.Registerer, c *C) error {
	err := r.Register(*c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if there, ok := already.ExistingCollector.(C); ok {
			*c = there
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("register RADIUS client metrics: %w", err)
	}
	return nil
}

// targetMetrics are one target's, looked up once.
type targetMetrics struct {
	requests    *prometheus.CounterVec
	retransmits prometheus.Counter
	silences    prometheus.Counter
	dropped     [len(faultNames)]prometheus.Counter
	roundTrip   prometheus.Observer
	up          prometheus.Gauge
}

func (m *metrics) of(server, port string) *targetMetrics {
	t := &targetMetrics{
		requests:    m.requests.MustCurryWith(prometheus.Labels{"server": server, "port": port}),
		retransmits: m.retransmits.WithLabelValues(server, port),
		silences:    m.silences.WithLabelValues(server, port),
		roundTrip:   m.roundTrip.WithLabelValues(server, port),
		up:          m.up.WithLabelValues(server, port),
	}
	for _, f := range Faults() {
		t.dropped[f] = m.dropped.WithLabelValues(server, port, f.String())
	}
	t.up.Set(1)
	return t
}
