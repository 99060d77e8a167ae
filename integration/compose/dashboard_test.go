//go:build integration

package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// panel is what Grafana's model has of a panel, as far as we ask.
type panel struct {
	Title   string
	Type    string
	Targets []struct{ Expr string }
}

// quiet are panels that show nothing while all is well.
var quiet = map[string]bool{"Left without an answer": true, "Lockout": true, "Drops by cause": true}

// dashboard asks the lab's Prometheus every query of the dashboard: none may be wrong,
// and what must show something does.
func (l *lab) dashboard(t *testing.T) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(l.root, "deploy", "grafana", "postern.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct{ Panels []panel }
	if err := json.Unmarshal(src, &board); err != nil {
		t.Fatal(err)
	}
	time.Sleep(6 * time.Second) // a scrape after the last login
	fill := strings.NewReplacer("$__rate_interval", "5m", "$node", ".*", "$service", ".*")
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			asked++
			values, err := l.query(t.Context(), fill.Replace(target.Expr))
			switch {
			case err != nil:
				t.Errorf("%s: %s: %v", p.Title, target.Expr, err)
			case len(values) == 0 && !quiet[p.Title]:
				t.Errorf("%s: %s shows nothing", p.Title, target.Expr)
			}
		}
	}
	t.Logf("%d queries of the dashboard answered", asked)
	// Numbers that are known.
	for q, want := range map[string]func(float64) bool{
		`sum(up{job="postern-gateway"})`:                                      func(v float64) bool { return v == 2 },
		`sum(up{job="postern-radiusd"})`:                                      func(v float64) bool { return v == 2 },
		`min(postern_store_up)`:                                               func(v float64) bool { return v == 1 },
		`min(postern_directory_server_up)`:                                    func(v float64) bool { return v == 1 },
		`max(postern_pool_addresses{pool="people"})`:                          func(v float64) bool { return v == 1009 },
		`max(max_over_time(postern_pool_addresses_used{pool="people"}[10m]))`: func(v float64) bool { return v >= 1 },
		`sum(increase(postern_radius_server_decisions_total{reason="wrong password"}[10m])) > bool 0`: func(v float64) bool { return v == 1 },
		// Of seven; a service that is killed takes what was not asked for yet with it.
		`sum(max_over_time(postern_radius_server_logins_total{verdict="accept"}[10m]))`: func(v float64) bool { return v >= 3 },
		`sum(max_over_time(postern_packets_total{direction="in"}[10m]))`:                func(v float64) bool { return v >= 20 },
	} {
		values, err := l.query(t.Context(), q)
		if err != nil || len(values) != 1 || !want(values[0]) {
			t.Errorf("%s: %v, %v", q, values, err)
		}
	}
}

// query asks Prometheus and returns the values that are numbers.
func (l *lab) query(ctx context.Context, q string) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.prometheus+"/api/v1/query?"+url.Values{"query": {q}}.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	var values []float64
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values, nil
}
