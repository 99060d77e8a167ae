package filter

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// gathered is what Prometheus would get, a line each.
func gathered(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "postern_filter_") + " " + strings.Join(labels, ", ")
			all[strings.TrimSpace(name)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	cfg := quarantineConfig()
	cfg.Filters = map[string][]Rule{"sales": rules(t, "permit in udp from assigned to 10.20.0.5 1")}
	reg := prometheus.NewPedanticRegistry()
	table, err := Open(cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	login(t, table, Client{Addr: alice, Filter: "sales"})
	login(t, table, Client{Addr: bob, Quarantine: true})
	login(t, table, Client{Addr: nth(1), Filter: "two words", Rules: rules(t, "permit in udp from assigned to any 2")})
	login(t, table, Client{Addr: nth(2)})
	look := func(repairs, more float64) {
		t.Helper()
		want := map[string]float64{
			"broken": 0, "clients": 4, "repairs_total": repairs, "set_updates_total": 9,
			"dropped_packets_total client to client": 1, "dropped_packets_total dns limited": 0, "dropped_packets_total gre limited": 0,
			"dropped_packets_total no lease": 1 + more, "dropped_packets_total source refused": 0, "dropped_packets_total to node": 1,
			"packets_total none, accepted": 1 + more, "packets_total none, denied": 0,
			"packets_total quarantine, accepted": 0, "packets_total quarantine, denied": 1,
			"packets_total sales, accepted": 2, "packets_total sales, denied": 1,
			"packets_total two words, accepted": 1, "packets_total two words, denied": 0,
		}
		for name, v := range maps.Clone(want) {
			if rest, ok := strings.CutPrefix(name, "packets_total "); ok {
				want["octets_total "+rest] = 28 * v
			}
		}
		got := gathered(t, reg)
		for _, name := range []string{"verifications_total", "update_seconds"} { // of which there may be any number
			if _, ok := got[name]; !ok {
				t.Errorf("no %s", name)
			}
			delete(got, name)
		}
		if !maps.Equal(got, want) {
			for _, name := range slices.Sorted(maps.Keys(got)) {
				t.Logf("%s: %v, want %v", name, got[name], want[name])
			}
			t.Errorf("%d metrics, want %d", len(got), len(want))
		}
	}
	w.flows(udp(alice, 1, server, 1), w.tun, w.lan)
	w.drops(table, udp(alice, 1, server, 2), w.tun, "denied.sales")
	w.prohibited(udp(bob, 1, server, 2), w.tun)
	w.passes(udp(nth(1), 1, server, 2), w.tun, w.lan)
	w.passes(udp(nth(2), 1, server, 2), w.tun, w.lan)
	w.drops(table, udp(nth(3), 1, server, 2), w.tun, countNoLease)
	w.drops(table, udp(nth(2), 1, inside, 2), w.tun, countNode)
	w.drops(table, udp(alice, 1, bob, 2), w.tun, countClients)
	look(0, 0)

	// A table that is made anew goes on from there, and one that is gone shows the last.
	nft(t, "flush ruleset")
	waitRepairs(t, table, 1)
	look(1, 0)
	w.passes(udp(nth(2), 1, server, 2), w.tun, w.lan)
	w.drops(table, udp(nth(3), 1, server, 2), w.tun, countNoLease)
	look(1, 1)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	look(1, 1)
}

// However many names logins bring, there is an end to what is counted for each.
func TestManyNames(t *testing.T) {
	newWorld(t)
	table := open(t, config())
	for i := range maxNames + 50 {
		l := login(t, table, Client{Addr: alice, Filter: fmt.Sprint("f", i), Rules: rules(t, "permit in ip from assigned to any")})
		if err := table.Remove(l); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(values(t, table)); n != 9+2*(maxNames-2)+2 {
		t.Errorf("%d counters", n)
	}
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
}
