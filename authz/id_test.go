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
