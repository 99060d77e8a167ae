package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// test is one element of `tests:`.
type test struct {
	file  string
	name  string
	pos   *token.Position // of expect
	facts Facts

	verdict  *Verdict
	rule     *string // "" is that no rule matches
	want     Obligations
	wantKeys []string
}

// TestResult is the outcome of one test of a policy.
type TestResult struct {
	Name     string
	Decision Decision
	Err      *Error // nil when it passed
}

// RunTests runs the tests of the file. They do not depend on the clock.
func (p *Policy) RunTests() []TestResult {
	results := make([]TestResult, len(p.tests))
	for i := range p.tests {
		t := &p.tests[i]
		d := p.Evaluate(time.Time{}, &t.facts)
		results[i] = TestResult{Name: t.name, Decision: d}
		if wrong := t.compare(&d); len(wrong) > 0 {
			results[i].Err = &Error{
				File: t.file, Line: t.pos.Line, Column: t.pos.Column,
				Message: fmt.Sprintf("test %q fails: %s", t.name, strings.Join(wrong, "; ")),
			}
		}
	}
	return results
}

// compare says what is other than expected.
func (t *test) compare(d *Decision) (wrong []string) {
	if t.verdict != nil && *t.verdict != d.Verdict {
		wrong = append(wrong, fmt.Sprintf("verdict %v, not %v", d.Verdict, *t.verdict))
	}
	if t.rule != nil && *t.rule != d.RuleID {
		wrong = append(wrong, fmt.Sprintf("rule %s, not %s", orNone(d.RuleID), orNone(*t.rule)))
	}
	if d.Verdict != Permit && len(t.wantKeys) > 0 {
		return append(wrong, "a deny has no "+strings.Join(t.wantKeys, ", "))
	}
	for _, o := range obligations {
		if slices.Contains(t.wantKeys, o.key) {
			if got, want := o.say(&d.Obligations), o.say(&t.want); got != want {
				wrong = append(wrong, fmt.Sprintf("%s %s, not %s", o.key, orNone(got), orNone(want)))
			}
		}
	}
	return wrong
}

func orNone(s string) string {
	if s == "" {
		return missing
	}
	return s
}

// readTests reads `tests:`.
func (r *reader) readTests(n ast.Node) {
	elements, _ := r.sequence(n, "a list of tests")
	for _, el := range elements {
		r.readTest(el)
	}
}

func (r *reader) readTest(n ast.Node) {
	entries, clean := r.mapping(n, "a test: {name: …, user: …, expect: {…}}",
		"name", "user", "realm", "groups", "source", "nas", "nas_address", "tunnel", "expect")
	t := test{file: r.file}
	for _, e := range entries {
		switch e.key {
		case "name":
			t.name, _ = r.text(e.val, "text")
		case "user":
			t.facts.User, _ = r.name(e.val, "the name of a user")
		case "realm":
			t.facts.Realm, _ = r.name(e.val, "the name of a realm")
		case "nas":
			t.facts.NAS, _ = r.name(e.val, "a NAS-Identifier")
		case "tunnel":
			t.facts.Tunnel, _ = r.name(e.val, "a tunnel type such as PPTP")
		case "source":
			t.facts.Source = r.readAddr(e.val)
		case "nas_address":
			t.facts.NASAddress = r.readAddr(e.val)
		case "groups":
			t.facts.Groups = r.readTestGroups(e.val)
		}
	}
	if clean && find(entries, "name") == nil {
		r.fail(position(n), "name: what the test shows", "a test without name")
	}
	if e := find(entries, "expect"); e != nil {
		t.pos = e.pos
		r.readExpect(e.val, &t)
	} else if clean {
		r.fail(position(n), "expect: {verdict: …, rule: …}", "a test that expects nothing")
	}
	r.tests = append(r.tests, t)
}

func (r *reader) readAddr(n ast.Node) netip.Addr {
	const expected = "an address such as 192.0.2.5"
	s, ok := r.text(n, expected)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		r.fail(position(n), expected, "%q is no address", s)
	}
	return a
}

// readTestGroups reads the groups of a test's user. One that is almost, but not
// quite, one of the rules' is a typing error that would make the test pass for
// the wrong reason.
func (r *reader) readTestGroups(n ast.Node) (groups []string) {
	elements, _ := r.sequence(n, "a list of groups")
	for _, el := range elements {
		s, ok := r.name(el, "the name of a group")
		if !ok {
			continue
		}
		if _, known := r.groups[foldString(s)]; !known {
			if near := didYouMean(s, r.groupNames); near != "" && !slices.ContainsFunc(r.opts.groups, func(k string) bool { return foldString(k) == foldString(s) }) {
				r.fail(position(el), "a group that a rule names, or one that is not like any", "no rule names group %q%s", s, near)
				continue
			}
		}
		groups = append(groups, s)
	}
	return groups
}

func (r *reader) readExpect(n ast.Node, t *test) {
	entries, clean := r.mapping(n, "{verdict: …, rule: …}", append([]string{"verdict", "rule"}, obligationKeys()...)...)
	if clean && len(entries) == 0 {
		r.fail(position(n), "verdict, rule or obligations", "a test that expects nothing")
	}
	for _, e := range entries {
		switch e.key {
		case "verdict":
			r.readVerdict(e.val, t)
		case "rule":
			r.readExpectRule(e.val, t)
		default:
			for _, o := range obligations {
				if o.key == e.key {
					o.read(r, e.val, &t.want)
					t.wantKeys = append(t.wantKeys, e.key)
				}
			}
		}
	}
}

func (r *reader) readVerdict(n ast.Node, t *test) {
	const expected = "one of: permit, deny"
	s, ok := r.text(n, expected)
	if !ok {
		return
	}
	i := slices.Index(verdictNames[:], s)
	if i < 0 {
		r.fail(position(n), expected, "unknown verdict %q%s", s, didYouMean(s, verdictNames[:]))
		return
	}
	v := Verdict(i)
	t.verdict = &v
}

func (r *reader) readExpectRule(n ast.Node, t *test) {
	s, ok := r.text(n, "the id of a rule, or none")
	if !ok {
		return
	}
	if s == missing {
		s = ""
	} else if ids := r.ruleIDs(); !slices.Contains(ids, s) {
		r.fail(position(n), "the id of a rule, or none", "unknown rule %q%s", s, didYouMean(s, ids))
		return
	}
	t.rule = &s
}

func (r *reader) ruleIDs() []string {
	ids := make([]string, 0, len(r.rules))
	for i := range r.rules {
		ids = append(ids, r.rules[i].id)
	}
	return ids
}
