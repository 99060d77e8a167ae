package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/store"
)

// measured is a store whose trips are counted and timed.
type measured struct {
	store.Store
	up       prometheus.Gauge
	failures prometheus.Counter
	seconds  prometheus.Histogram
}

// measure registers with r, which may be nil.
func measure(st store.Store, r prometheus.Registerer) (store.Store, error) {
	if r == nil {
		return st, nil
	}
	const space, sub = "postern", "store"
	m := &measured{
		Store: st,
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "up", Help: "1 while the store answers, as of the last trip to it; each scrape makes one.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "failures_total", Help: "Trips to the store that failed or took too long.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: space, Subsystem: sub, Name: "trip_seconds", Help: "Time of one trip to the store.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.up, m.failures, m.seconds} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register metrics: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// Do implements store.Store.
func (m *measured) Do(ctx context.Context, seqs ...store.Seq) error {
	began := time.Now()
	err := m.Store.Do(ctx, seqs...)
	switch {
	case err == nil:
		m.seconds.Observe(time.Since(began).Seconds())
		m.up.Set(1)
	case ctx.Err() == nil: // else somebody else gave up
		m.failures.Inc()
		m.up.Set(0)
	}
	return err
}
