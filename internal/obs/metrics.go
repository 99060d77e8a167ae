package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of the listener, ours: a scrape is small and quick, and whoever is slow is
// not a scraper.
const (
	headerTime = 5 * time.Second
	serveTime  = 30 * time.Second
	maxHeader  = 16 << 10
	maxScrapes = 4
	goodbye    = 2 * time.Second
)

// NewRegistry makes a registry with what each process shows: Go's runtime, the
// process, and postern_build_info.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "postern", Name: "build_info", Help: "Always 1; labels say which version runs.",
		ConstLabels: prometheus.Labels{"version": Version(), "go": runtime.Version()},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// Metrics is the HTTP listener with /metrics and /healthz.
type Metrics struct {
	listener net.Listener
	server   *http.Server
	serving  sync.WaitGroup // Serve's goroutine; Close waits
	failed   error          // why it ended, if Close is not why
}

// ServeMetrics listens on addr and serves what g gathers. /healthz answers 200
// while healthy returns nil, else 503 with the error's text, which should name no
// more than what is wrong; healthy may be nil.
func ServeMetrics(addr string, g prometheus.Gatherer, healthy func(context.Context) error, log *slog.Logger) (*Metrics, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: serveTime / 2}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if healthy != nil {
			if err := healthy(r.Context()); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintln(w, err)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	m := &Metrics{listener: l, server: &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: serveTime,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader, // scrapes come each minute or oftener
		ErrorLog: slog.NewLogLogger(log.With("layer", "metrics").Handler(), slog.LevelDebug),
	}}
	m.serving.Go(func() { // Close waits
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.failed = fmt.Errorf("serve metrics: %w", err)
			log.Error("metrics listener failed", "error", err)
		}
	})
	return m, nil
}

// Addr is where it listens.
func (m *Metrics) Addr() net.Addr { return m.listener.Addr() }

// Close ends the listener, lets scrapes under way finish for a moment, and returns
// what made it end earlier, if anything did.
func (m *Metrics) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if m.server.Shutdown(ctx) != nil {
		_ = m.server.Close()
	}
	m.serving.Wait()
	return m.failed
}
