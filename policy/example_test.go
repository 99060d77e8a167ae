package policy

import (
	"os"
	"path/filepath"
	"testing"
)

// TestExampleFile: the example is right, passes its tests, and they reach every
// rule.
func TestExampleFile(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("..", "deploy", "policy.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := load(t, string(src), Tested())
	reached := make(map[string]bool)
	for _, r := range p.RunTests() {
		reached[r.Decision.RuleID] = true
	}
	for _, r := range p.rules {
		if !reached[r.id] {
			t.Errorf("no test reaches rule %q", r.id)
		}
	}
}
