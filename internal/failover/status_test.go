package failover

import "testing"

func TestStateNames(t *testing.T) {
	for s := StateUnknown; s <= OnProbation; s++ {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
	if State(99).String() != "unknown" {
		t.Error(State(99))
	}
	g := New(Config{Servers: []string{"a"}})
	if s := g.Status(); len(s) != 1 || s[0].State != StateUnknown {
		t.Errorf("before the first request: %+v", s)
	}
}
