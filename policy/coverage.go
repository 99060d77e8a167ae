package policy

import "fmt"

// Coverage is what the tests of a policy have looked at: as an evaluation does, which
// asks no rule behind the one that decides, and no condition behind one that does not
// hold.
type Coverage struct {
	Tests int            `json:"tests"`
	Rules []RuleCoverage `json:"rules"`
}

// RuleCoverage is what they have looked at of one rule.
type RuleCoverage struct {
	ID      string           `json:"id"`
	Place   string           `json:"place"`   // file:line
	Reached int              `json:"reached"` // tests that came to it
	Matched int              `json:"matched"` // tests that it decided, or in shadow would have
	When    []ClauseCoverage `json:"when,omitempty"`
	Unless  []ClauseCoverage `json:"unless,omitempty"`
}

// ClauseCoverage counts how often a condition was asked, and held or did not.
type ClauseCoverage struct {
	Key     string           `json:"key"`
	Text    string           `json:"wants"`
	Place   string           `json:"place"`
	Held    int              `json:"held"`
	DidNot  int              `json:"did_not"`
	Clauses []ClauseCoverage `json:"conditions,omitempty"` // of any, all and not
}

// Coverage runs the tests of the file and says what they have not looked at.
func (p *Policy) Coverage() Coverage {
	c := Coverage{Tests: len(p.tests), Rules: make([]RuleCoverage, len(p.rules))}
	for i := range p.rules {
		r := &p.rules[i]
		c.Rules[i] = RuleCoverage{ID: r.id, Place: fmt.Sprintf("%s:%d", r.file, r.pos.Line), When: uncovered(r.when), Unless: uncovered(r.unless)}
	}
	for i, result := range p.RunTests() {
		p.cover(&c, p.evaluation(result.Decision.At, &p.tests[i].facts))
	}
	return c
}

func uncovered(cs []clause) []ClauseCoverage {
	var all []ClauseCoverage
	for i := range cs {
		c := &cs[i]
		all = append(all, ClauseCoverage{Key: c.key, Text: c.text, Place: fmt.Sprintf("%s:%d", c.file, c.pos.Line), Clauses: uncovered(c.kids)})
	}
	return all
}

func (p *Policy) cover(c *Coverage, e *evaluation) {
	defer e.done()
	for i := range p.rules {
		r, rc := &p.rules[i], &c.Rules[i]
		if rc.Reached++; r.expired(e.now) {
			continue
		}
		r.begin(e)
		matched := coverAll(r.when, rc.When, e) && (len(r.unless) == 0 || !coverAll(r.unless, rc.Unless, e))
		if !matched && e.fault == "" {
			continue
		}
		if rc.Matched++; !r.shadow {
			return
		}
	}
}

// coverAll says whether all hold, and asks none behind one that does not.
func coverAll(cs []clause, counts []ClauseCoverage, e *evaluation) bool {
	for i := range cs {
		if !counts[i].cover(&cs[i], e) {
			return false
		}
	}
	return true
}

func (c *ClauseCoverage) cover(cl *clause, e *evaluation) bool {
	held := cl.match(e)
	if held {
		c.Held++
	} else {
		c.DidNot++
	}
	switch cl.matcher.(type) {
	case anyOf:
		for i := range cl.kids {
			if c.Clauses[i].cover(&cl.kids[i], e) {
				break
			}
		}
	case allOf, notAll:
		coverAll(cl.kids, c.Clauses, e)
	}
	return held
}

// Covered counts the rules that some test came to a decision by, and all.
func (c *Coverage) Covered() (covered, all int) {
	for _, r := range c.Rules {
		if r.Matched > 0 {
			covered++
		}
	}
	return covered, len(c.Rules)
}

// BothWays counts the conditions that held in one test and did not in another, and all.
func (c *Coverage) BothWays() (both, all int) {
	for i := range c.Rules {
		c.Rules[i].Each(func(_ string, cl *ClauseCoverage) {
			if all++; cl.Held > 0 && cl.DidNot > 0 {
				both++
			}
		})
	}
	return both, all
}

// Each calls f for each condition of a rule, with where it stands: when, unless, and any,
// all and not within those.
func (r *RuleCoverage) Each(f func(where string, c *ClauseCoverage)) {
	each("when", r.When, f)
	each("unless", r.Unless, f)
}

func each(where string, cs []ClauseCoverage, f func(where string, c *ClauseCoverage)) {
	for i := range cs {
		f(where, &cs[i])
		each(where+" "+cs[i].Key, cs[i].Clauses, f)
	}
}

// Percent is a share in whole percents, never 100 while something is missing.
func Percent(part, all int) int {
	if all == 0 {
		return 100
	}
	return part * 100 / all
}
