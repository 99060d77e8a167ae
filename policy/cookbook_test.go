package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// cookbook is the policies of deploy/policies.
func cookbook(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("../deploy/policies/*.yaml")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d policies, %v", len(names), err)
	}
	return names
}

// TestCookbook: every policy of the cookbook loads, passes its tests, whose cases come to
// every rule, gives the linter nothing to say, and is written as `postern policy fmt`
// writes it.
func TestCookbook(t *testing.T) {
	for _, name := range cookbook(t) {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Load(name, src, Tested())
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, r := range p.Coverage().Rules {
			if r.Matched == 0 {
				t.Errorf("%s: no test is decided by rule %s", name, r.ID)
			}
		}
		// As of the day they were written: rules of theirs expire.
		for _, f := range p.Lint(LintConfig{Now: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}) {
			t.Errorf("%v", &f)
		}
		for _, r := range p.rules {
			if r.owner == "" {
				t.Errorf("%s: rule %s has no owner", name, r.id)
			}
		}
		if tidy, err := Format(name, src); err != nil || !bytes.Equal(tidy, src) {
			t.Errorf("%s: postern policy fmt -w %s (%v)", name, name, err)
		}
	}
}
