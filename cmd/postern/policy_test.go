package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPolicyTest(t *testing.T) {
	s := newSite(t)
	s.write(t, "policy.yaml", openPolicy)
	if out := s.must(t, "", "policy", "test"); out != "ok  staff need a code  permit staff\n" {
		t.Error(out)
	}
	type result struct {
		File, Version string
		OK            bool
		Tests         []struct {
			Test, Verdict, Rule string
			OK                  bool
			Mistake             *mistakeJSON
		}
	}
	var v result
	if s.asked(t, &v, "policy", "test"); !v.OK || len(v.Tests) != 1 || !v.Tests[0].OK || v.Tests[0].Rule != "staff" || v.Tests[0].Mistake != nil {
		t.Errorf("%+v", v)
	}

	s.write(t, "failing.yaml", openPolicy+`  - name: mallory gets in
    user: mallory
    groups: []
    source: 192.0.2.5
    expect: {verdict: permit}
`)
	failing := s.path("failing.yaml")
	out, _, err := s.run("", "policy", "test", failing)
	if err == nil || !strings.HasPrefix(err.Error(), "1 of 2 tests fail\n"+failing+":23:5: test \"mallory gets in\" fails: verdict deny, not permit") {
		t.Errorf("%v", err)
	}
	if want := "ok    staff need a code  permit staff\nFAIL  mallory gets in    deny \n"; out != want {
		t.Errorf("%q", out)
	}
	out, _, err = s.run("", "-o", "json", "policy", "test", failing)
	v = result{}
	if jerr := json.Unmarshal([]byte(out), &v); jerr != nil || err == nil || err.Error() != "1 of 2 tests fail" {
		t.Fatalf("%v %v\n%s", err, jerr, out)
	}
	if v.OK || len(v.Tests) != 2 || v.Tests[1].OK || v.Tests[1].Verdict != "deny" || v.Tests[1].Mistake.Line != 23 {
		t.Errorf("%+v", v)
	}
	text, _, _ := strings.Cut(openPolicy, "tests:")
	s.write(t, "untested.yaml", text)
	out, errs, err := s.run("", "policy", "test", s.path("untested.yaml"))
	if err != nil || out != "" || !strings.Contains(errs, "untested.yaml has no tests.") {
		t.Errorf("%q %q %v", out, errs, err)
	}
}
