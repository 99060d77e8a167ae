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

// test is one case of `tests:`. What it does not say of a login is not known.
//
//	tests:
//	  - name: a contractor in the evening
//	    user: bob
//	    groups: [Contractors]
//	    at: 2026-11-24 19:00 Europe/Berlin
//	    expect: {verdict: deny, rule: out-of-hours}
//	  - name: hours                         # a row is a test; what it does not say, the test says
//	    user: bob
//	    groups: [Contractors]
//	    table:
//	      - {at: 2026-11-24T18:59:59+01:00, expect: {rule: contractors}}
//	      - {at: 2026-11-24T19:00:00+01:00, expect: {rule: out-of-hours}}
type test struct {
	file  string
	name  string
	pos   *token.Position // of expect
	at    time.Time       // zero: at a moment that is not known
	facts Facts

	verdict  *Verdict
	rule     *string // "" is that no rule matches
	shadow   *string // "" is that no rule in shadow says anything else
	want     Obligations
	wantKeys []string
}

// TestResult is the outcome of one test of a policy.
type TestResult struct {
	Name     string
	Decision Decision
	Err      *Error // nil when it passed
}

// RunTests runs the tests of the file. They do not depend on the clock: each is at its own
// moment, or at one that is not known.
func (p *Policy) RunTests() []TestResult {
	results := make([]TestResult, len(p.tests))
	for i := range p.tests {
		t := &p.tests[i]
		d := p.Evaluate(t.at, &t.facts)
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
	if t.shadow != nil {
		said := ""
		if d.Shadow != nil {
			said = d.Shadow.RuleID
		}
		if said != *t.shadow {
			wrong = append(wrong, fmt.Sprintf("shadow %s, not %s", orNone(said), orNone(*t.shadow)))
		}
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

// testKeys are what a test and a row of its table may say; facts are in testFacts.
func testKeys() []string {
	keys := []string{"name", "at", "expect", "table"}
	for _, f := range testFacts {
		keys = append(keys, f.key)
	}
	return keys
}

func (r *reader) readTest(n ast.Node) {
	before := len(r.errs)
	entries, clean := r.mapping(n, "a test: {name: …, user: …, expect: {…}}", testKeys()...)
	if clean && find(entries, "name") == nil {
		r.fail(position(n), "name: what the test shows", "a test without name")
	}
	table := find(entries, "table")
	t, ok := r.readCase(entries)
	switch {
	case table == nil && t.pos == nil:
		if clean {
			r.fail(position(n), "expect: {verdict: …, rule: …}", "a test that expects nothing")
		}
	case table == nil:
		r.tests = append(r.tests, t)
	case ok && len(r.errs) == before: // else each row would say it again
		r.readTable(table.val, entries, &t)
	}
}

// maxRows bounds a table, ours.
const maxRows = 1000

// readTable reads the rows of a test: each says what is other than in the test itself.
func (r *reader) readTable(n ast.Node, base []entry, t *test) {
	const expected = "a list of rows such as {source: 192.0.2.5, expect: {rule: …}}"
	elements, ok := r.sequence(n, expected)
	switch {
	case ok && len(elements) == 0:
		r.fail(position(n), expected, "a table without rows")
	case len(elements) > maxRows:
		r.fail(position(n), "at most 1000 rows", "%d rows", len(elements))
		return
	}
	keys := slices.DeleteFunc(testKeys(), func(k string) bool { return k == "table" })
	for i, el := range elements {
		entries, clean := r.mapping(el, expected, keys...)
		row, _ := r.readCase(overlay(base, entries))
		switch {
		case row.pos == nil && clean:
			r.fail(position(el), "expect: {verdict: …, rule: …}", "a row that expects nothing")
		case find(entries, "expect") == nil:
			row.pos = position(el)
		}
		if find(entries, "name") == nil {
			row.name = fmt.Sprintf("%s, row %d", t.name, i+1)
		} else {
			row.name = t.name + ": " + row.name
		}
		r.tests = append(r.tests, row)
	}
}

// overlay is base with what a row says instead; of facts that have facts inside, those
// that it says.
func overlay(base, row []entry) []entry {
	all := slices.Clone(row)
	for _, b := range base {
		e := find(all, b.key)
		switch {
		case b.key == "table":
		case e == nil:
			all = append(all, b)
		case b.key == "device" || b.key == "risk":
			if mine, theirs := pairsOf(e.val), pairsOf(b.val); len(mine) > 0 {
				merged := &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: e.val.GetToken(), IsFlowStyle: true, Values: slices.Clone(mine)}
				for _, p := range theirs {
					if valueOf(e.val, p.Key.GetToken().Value) == nil {
						merged.Values = append(merged.Values, p)
					}
				}
				e.val = merged
			}
		}
	}
	return all
}

// readCase reads the facts and the expectations of a test or a row. ok is false after a
// mistake.
func (r *reader) readCase(entries []entry) (t test, ok bool) {
	before := len(r.errs)
	t.file = r.file
	if e := find(entries, "name"); e != nil {
		t.name, _ = r.text(e.val, "text")
	}
	if e := find(entries, "at"); e != nil {
		t.at = r.readMoment(e.val)
	}
	for _, e := range entries {
		for _, f := range testFacts {
			if f.key == e.key {
				f.read(r, e.val, &t)
			}
		}
	}
	if e := find(entries, "expect"); e != nil {
		t.pos = e.pos
		r.readExpect(e.val, &t)
	}
	return t, len(r.errs) == before
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
	entries, clean := r.mapping(n, "{verdict: …, rule: …}", append([]string{"verdict", "rule", "shadow"}, obligationKeys()...)...)
	if clean && len(entries) == 0 {
		r.fail(position(n), "verdict, rule or obligations", "a test that expects nothing")
	}
	for _, e := range entries {
		switch e.key {
		case "verdict":
			r.readVerdict(e.val, t)
		case "rule":
			t.rule = r.readExpectRule(e.val, false)
		case "shadow":
			t.shadow = r.readExpectRule(e.val, true)
		default:
			for _, o := range obligations {
				if o.key == e.key {
					r.readWanted(&o, e.val, t)
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

// readWanted reads an obligation that is expected, or none for one that is not there. The
// factor is none where nothing is demanded.
func (r *reader) readWanted(o *obligation, n ast.Node, t *test) {
	t.wantKeys = append(t.wantKeys, o.key)
	if s, ok := n.(*ast.StringNode); ok && s.Value == missing && o.key != "factor" {
		return
	}
	o.read(r, n, &t.want)
}

// readExpectRule reads a rule, or none. One in shadow decides nothing, and one that is
// not says nothing in shadow.
func (r *reader) readExpectRule(n ast.Node, shadow bool) *string {
	expected := "the id of a rule, or none"
	if shadow {
		expected = "the id of a rule with shadow: true, or none"
	}
	s, ok := r.text(n, expected)
	if !ok {
		return nil
	}
	if s == missing {
		return new(string)
	}
	i := slices.IndexFunc(r.rules, func(rl rule) bool { return rl.id == s })
	switch {
	case i < 0:
		r.fail(position(n), expected, "unknown rule %q%s", s, didYouMean(s, r.ruleIDs()))
		return nil
	case r.rules[i].shadow && !shadow:
		r.fail(position(n), "shadow: "+s, "rule %q is in shadow and decides nothing", s)
		return nil
	case !r.rules[i].shadow && shadow:
		r.fail(position(n), expected, "rule %q is not in shadow", s)
		return nil
	}
	return &s
}

func (r *reader) ruleIDs() []string {
	ids := make([]string, 0, len(r.rules))
	for i := range r.rules {
		ids = append(ids, r.rules[i].id)
	}
	return ids
}
