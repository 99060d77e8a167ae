package authz

import (
	"testing"
	"time"
)

func TestNewID(t *testing.T) {
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	seen := make(map[string]bool)
	before := ""
	for i := range 2000 {
		id := newID(start.Add(time.Duration(i) * time.Millisecond))
		if len(id) != 24 || id <= before || seen[id] {
			t.Fatalf("%q after %q", id, before)
		}
		seen[id], before = true, id
	}
	if a, b := newID(start), newID(start); a == b {
		t.Error("two decisions of one moment have one ID")
	}
}

func TestDecisionTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
	if got, ok := DecisionTime(newID(at)); !ok || !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("%v, %v", got, ok)
	}
	for _, id := range []string{"", "x", newID(at)[1:], newID(at) + "0", "ILOU" + newID(at)[4:]} {
		if got, ok := DecisionTime(id); ok {
			t.Errorf("%q is of %v", id, got)
		}
	}
}
