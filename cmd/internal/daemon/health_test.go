package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"postern/internal/obs"
)

func TestAskHealth(t *testing.T) {
	var ill error
	m, err := obs.ServeMetrics("127.0.0.1:0", obs.NewRegistry(), func(context.Context) error { return ill }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	addr := m.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := askHealth(t.Context(), addr); err != nil {
		t.Errorf("well: %v", err)
	}
	ill = errors.New("the store is away")
	// Listening everywhere is asked on loopback.
	for _, at := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port} {
		if err := askHealth(t.Context(), at); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), ill.Error()) {
			t.Errorf("ill, at %s: %v", at, err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{addr, "", "nonsense"} {
		if err := askHealth(t.Context(), at); err == nil {
			t.Errorf("nobody answers at %q, and all is well", at)
		}
	}
}
