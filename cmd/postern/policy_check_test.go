package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// checked is what policy check -o json prints.
type checked struct {
	File     string
	OK       bool
	Version  string
	Mistakes []mistakeJSON
	Findings []struct {
		Check, Severity, File, Rule, Message, Do string
		Line, Column                             int
	}
}

// openPolicy permits without a factor from anywhere.
const openPolicy = `version: 1
pools:
  staff: [203.0.113.10-203.0.113.99]
rules:
  - id: plant
    when: {group: Plant-Devices}
    then:
      permit: {factor: none, pool: staff}
  - id: staff
    when: {group: VPN-Users}
    then:
      permit: {pool: staff, session_timeout: 8h}
tests:
  - name: staff need a code
    user: alice
    groups: [VPN-Users]
    source: 192.0.2.5
    expect: {verdict: permit, rule: staff, factor: code}
`

// soundPolicy has nothing to find but what is for information.
var soundPolicy = strings.Replace(openPolicy, "    when: {group: Plant-Devices}\n", "    accept: untested\n    when: {group: Plant-Devices, source: 198.51.100.0/24}\n", 1)

func TestPolicyCheck(t *testing.T) {
	s := newSite(t)
	s.write(t, "policy.yaml", soundPolicy)
	var v checked
	s.asked(t, &v, "policy", "check")
	if !v.OK || v.File != s.path("policy.yaml") || v.Version == "" || v.Findings == nil || v.Mistakes == nil {
		t.Errorf("%+v", v)
	}
	if out := s.must(t, "", "policy", "check"); out != v.File+" is a policy, version "+v.Version+"\n" {
		t.Error(out)
	}
	s.write(t, "other.yaml", soundPolicy+"\n# changed\n")
	// A file of one's own needs no service.
	out, _, err := run("", "-config", "/nonexistent/x.yaml", "policy", "check", s.path("other.yaml"))
	if err != nil || !strings.Contains(out, "other.yaml is a policy") {
		t.Errorf("%s %v", out, err)
	}

	s.write(t, "broken.yaml", strings.NewReplacer("factor: none", "factor: nne", "then:\n      permit: {pool: staff,", "then:\n      permit: {pool: stuff,").Replace(openPolicy))
	broken := s.path("broken.yaml")
	for _, args := range [][]string{{"policy", "check", broken}, {"policy", "test", broken}} {
		s.fails(t, "", broken+":8:24: ", args...)
		s.fails(t, "", broken+":12:22: ", args...)
	}
	out, _, err = s.run("", "-o", "json", "policy", "check", broken)
	var wrong checked
	if jerr := json.Unmarshal([]byte(out), &wrong); jerr != nil || err == nil || err.Error() != "2 mistakes" {
		t.Fatalf("%v %v\n%s", err, jerr, out)
	}
	if wrong.OK || wrong.File != broken || len(wrong.Mistakes) != 2 || wrong.Mistakes[0].Line != 8 || wrong.Mistakes[0].Column != 24 ||
		wrong.Mistakes[0].File != broken || wrong.Mistakes[0].Message == "" || wrong.Mistakes[0].Expected == "" {
		t.Errorf("%+v", wrong)
	}
	s.fails(t, "", "read policy: open /nonexistent/p.yaml: no such file", "policy", "check", "/nonexistent/p.yaml")
	s.fails(t, "", "accepts at most 1 arg(s)", "policy", "check", "a", "b")
}

func TestPolicyFindings(t *testing.T) {
	s := newSite(t)
	s.write(t, "policy.yaml", openPolicy)
	out, errs, err := s.run("", "policy", "check")
	if err == nil || err.Error() != "1 findings" || !strings.Contains(errs, "4 findings are for information only") {
		t.Errorf("%q %v", errs, err)
	}
	lines := strings.Split(out, "\n")
	if len(lines) != 6 || !strings.Contains(lines[0], " is a policy, version ") ||
		lines[1] != s.path("policy.yaml")+`:5:5: error: rule "plant" permits without a second factor from anywhere [permit-without-factor]` ||
		!strings.HasPrefix(lines[2], "       Say where from") || !strings.Contains(lines[3], "warning: ") {
		t.Errorf("%q", lines)
	}
	out, _, err = s.run("", "-o", "json", "policy", "check")
	var v checked
	if jerr := json.Unmarshal([]byte(out), &v); jerr != nil || err == nil {
		t.Fatalf("%v %v\n%s", err, jerr, out)
	}
	if f := v.Findings; v.OK || len(v.Mistakes) != 0 || len(f) != 6 || f[0].Check != "permit-without-factor" || f[0].Severity != "error" ||
		f[0].Rule != "plant" || f[0].Line != 5 || f[0].Column != 5 || f[0].File != v.File || f[0].Do == "" || f[1].Severity != "warning" || f[2].Severity != "info" {
		t.Errorf("%+v", v)
	}
	if out, _, _ := s.run("", "policy", "check", "--info"); strings.Count(out, "info: ") != 4 {
		t.Error(out)
	}
	// Warnings are told, and fail where that is asked for.
	s.write(t, "policy.yaml", strings.Replace(soundPolicy, "pools:\n", "lists: {nobody: [192.0.2.0/24]}\npools:\n", 1))
	if out := s.must(t, "", "policy", "check"); !strings.Contains(out, `list "nobody" is used nowhere [unused]`) {
		t.Error(out)
	}
	s.fails(t, "", "1 findings", "policy", "check", "--strict")
	// The help says what is looked for.
	if out := s.must(t, "", "policy", "check", "--help"); !strings.Contains(out, "  unknown-device\n") || !strings.Contains(out, "accept: [NAME]") {
		t.Error(out)
	}
}

func TestPolicyCheckAsksTheDirectory(t *testing.T) {
	s := newSite(t)
	s.write(t, "policy.yaml", soundPolicy)
	s.must(t, "Wonderland-1\n", "user", "add", "alice", "--group", "VPN-Users")
	var v checked
	s.asked(t, &v, "policy", "check", "--directory")
	var groups []string
	for _, f := range v.Findings {
		if f.Check == "no-such-group" {
			groups = append(groups, f.Message)
		}
	}
	if !v.OK || len(groups) != 1 || groups[0] != `the directory has no group "Plant-Devices"` {
		t.Errorf("%q", groups)
	}
	s.must(t, "Wonderland-1\n", "user", "add", "scanner", "--group", "Plant-Devices")
	s.asked(t, &v, "policy", "check", "--directory")
	for _, f := range v.Findings {
		if f.Check == "no-such-group" {
			t.Errorf("%+v", f)
		}
	}
}
