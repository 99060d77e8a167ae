package main

import (
	"encoding/json"
	"strings"
	"testing"

	"postern/cmd/internal/cmdtest"
)

func TestPolicyTestCoverage(t *testing.T) {
	s := newSite(t)
	out := s.must(t, "", "policy", "test")
	if strings.Contains(out, "RULE") {
		t.Errorf("nobody asked for\n%s", out)
	}
	out = s.must(t, "", "policy", "test", "--coverage")
	for _, want := range []string{
		"no test is decided by it", "when group: Plant-Devices", "never held", "when group: VPN-Users", "always held",
		"Tests reach 1 of 2 rules (50 %); 0 of 2 conditions held in one and did not in another (0 %).\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	s.must(t, "", "policy", "test", "--min-coverage", "50")
	s.fails(t, "", "tests reach 50 % of the rules, less than 100 %; none reaches plant", "policy", "test", "--min-coverage", "100")
	s.write(t, "full.yaml", strings.Replace(cmdtest.PolicyText, "tests:\n", "tests:\n  - {name: plant, user: plc1, groups: [Plant-Devices], expect: {rule: plant}}\n", 1))
	out = s.must(t, "", "-o", "json", "policy", "test", "--coverage", "--min-coverage", "100", s.path("full.yaml"))
	var got struct {
		OK       bool
		Coverage coverageJSON
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || !got.OK || got.Coverage.Rules != 100 || got.Coverage.Conditions != 50 || len(got.Coverage.Detail) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}
