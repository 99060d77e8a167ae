package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthTime is how long a process may take to say that it is well: longer than a
// service waits for its store.
const healthTime = 3 * time.Second

// maxHealth bounds what is read of its answer.
const maxHealth = 1 << 10

// askHealth asks the process that listens at addr. An image from scratch has no curl
// for its health check.
func askHealth(ctx context.Context, addr string) error {
	if addr == "" {
		return errors.New("-health: the configuration has no metrics.listen to ask at")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("-health: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", http.NoBody)
	if err != nil {
		return fmt.Errorf("-health: %w", err)
	}
	// Not the default transport: a proxy of the environment's has no say in this.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("-health: %w", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	switch {
	case err != nil:
		return fmt.Errorf("-health: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("-health: %s: %s", resp.Status, strings.TrimSpace(string(said)))
	}
	return nil
}
