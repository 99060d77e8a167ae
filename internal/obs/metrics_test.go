package obs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestServeMetrics(t *testing.T) {
	var sick atomic.Bool
	healthy := func(context.Context) error {
		if sick.Load() {
			return errors.New("store unavailable")
		}
		return nil
	}
	m, err := ServeMetrics("127.0.0.1:0", NewRegistry(), healthy, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + m.Addr().String()
	if code, body := get(t, base+"/metrics"); code != 200 || !strings.Contains(body, "postern_build_info{") || !strings.Contains(body, "go_goroutines ") {
		t.Errorf("/metrics: %d %.200s", code, body)
	}
	if code, body := get(t, base+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	sick.Store(true)
	if code, body := get(t, base+"/healthz"); code != 503 || body != "store unavailable\n" {
		t.Errorf("/healthz while sick: %d %q", code, body)
	}
	if code, _ := get(t, base+"/debug/pprof/"); code != 404 {
		t.Errorf("profiles are served: %d", code)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", m.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("still listening after Close")
	}
}

func TestServeMetricsAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := ServeMetrics(l.Addr().String(), NewRegistry(), nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error for an address in use")
	}
}
