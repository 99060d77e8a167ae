package node_test

import (
	"testing"
	"time"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/pptp/client"
)

// A node is drained as the runbook says: nobody new gets in, and who is in stays.
func TestDrain(t *testing.T) {
	s := cmdtest.NewSite(t)
	service := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	service.Await(t, `"msg":"running"`, 1)
	w := newNetwork(t)
	n := start(t, load(t, s), node.Options{Deps: w.deps})
	up, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	cfg := load(t, s)
	cfg.PPTP.Draining = true
	if err := n.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	other := w.config("plant", cmdtest.Password)
	other.Timeout = 2 * time.Second
	if _, err := client.Dial(t.Context(), other); err == nil {
		t.Error("a new session")
	}
	select {
	case <-up.Done():
		t.Error("the session that was up has ended")
	default:
	}
	if n.Sessions() != 1 {
		t.Errorf("%d sessions", n.Sessions())
	}
	if err := n.Reload(load(t, s)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.dial(t, "plant", cmdtest.Password); err != nil {
		t.Errorf("after the end of draining: %v", err)
	}
}
