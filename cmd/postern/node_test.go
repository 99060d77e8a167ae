package main

import (
	"strings"
	"testing"
	"time"

	"postern/authz/nodes"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/store"
)

func TestNodeCommands(t *testing.T) {
	s := newSite(t)
	if out := s.must(t, "", "-o", "json", "node", "list"); out != "[]\n" {
		t.Errorf("none is %q", out)
	}
	s.fails(t, "", "no such node", "node", "drain", "gw1")
	report := func() (d radius.Duty) {
		s.open(t, func(_ *config.Service, st store.Store) {
			var err error
			h := radius.NodeHealth{At: time.Now(), Version: "v9", State: radius.NodeServing, Sessions: 200, Load: 1.5, CPUs: 2}
			if d, err = nodes.New(st).Heard(t.Context(), "dmz", "gw1\x1b[2J", &h); err != nil {
				t.Fatal(err)
			}
		})
		return d
	}
	name := "gw1\x1b[2J"
	report()
	if out := s.must(t, "", "node", "list"); !strings.Contains(out, "gw1?[2J") || !strings.Contains(out, "serving") || !strings.Contains(out, "v9") {
		t.Errorf("list:\n%s", out)
	}
	for _, args := range [][]string{{"--rate", "0"}, {"--rate", "100000"}, {"--rate", "NaN"}} {
		s.fails(t, "", "sessions a second", append([]string{"node", "drain", name}, args...)...)
	}
	s.fails(t, "", "--wait", "node", "drain", name, "--wait", "25h")
	if out := s.must(t, "", "node", "drain", name, "--rate", "0.5", "--wait", "10s"); !strings.Contains(out, "0.5 sessions a second, after 10s") {
		t.Errorf("drain:\n%s", out)
	}
	if d := report(); d != (radius.Duty{State: radius.NodeDraining, Rate: 30, Wait: 10 * time.Second}) {
		t.Errorf("the node is told %+v", d)
	}
	var n nodes.Node
	s.asked(t, &n, "node", "show", name)
	if n.Name != name || n.Drain == nil || n.Drain.Rate != 30 || n.Health.Sessions != 200 || n.State != "serving" {
		t.Errorf("show: %+v", n)
	}
	s.must(t, "", "node", "undrain", name)
	if d := report(); d != (radius.Duty{State: radius.NodeServing}) {
		t.Errorf("the node is told %+v", d)
	}
}
