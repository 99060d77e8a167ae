package policy

import (
	"slices"
	"testing"
)

const covered = `version: 1
rules:
  - {id: banned, when: {group: Banned}, then: deny}
  - id: staff
    when: {group: VPN-Users, any: [{source: 192.0.2.0/24}, {not: {tunnel: PPTP}}]}
    unless: {user: [bob, dave]}
    then: permit
  - {id: never, when: {group: Nobody, user: eve}, then: permit}
  - {id: beside, shadow: true, when: {user: carol}, then: deny}
  - {id: last, when: {user: [bob, carol]}, then: permit}
tests:
  - {name: a, user: alice, groups: [VPN-Users], source: 192.0.2.1, tunnel: PPTP, expect: {rule: staff}}
  - {name: b, user: bob, groups: [VPN-Users], source: 192.0.2.1, tunnel: PPTP, expect: {rule: last}}
  - {name: c, user: carol, groups: [VPN-Users], source: 198.51.100.1, tunnel: PPTP, expect: {rule: last}}
`

// What is counted is what an evaluation asks.
func TestCoverage(t *testing.T) {
	c := load(t, covered, Tested()).Coverage()
	got := map[string][2]int{}
	for _, r := range c.Rules {
		got[r.ID] = [2]int{r.Reached, r.Matched}
		r.Each(func(where string, cl *ClauseCoverage) { got[r.ID+" "+where+" "+cl.Key] = [2]int{cl.Held, cl.DidNot} })
	}
	for key, want := range map[string][2]int{
		"banned": {3, 0}, "banned when group": {0, 3},
		"staff": {3, 1}, "staff when group": {3, 0}, "staff when any": {2, 1}, "staff when any source": {2, 1}, "staff when any not": {0, 1},
		"staff when any not tunnel": {1, 0}, "staff unless user": {1, 1},
		"never": {2, 0}, "never when group": {0, 2}, "never when user": {0, 0},
		"beside": {2, 1}, "beside when user": {1, 1}, "last": {2, 2}, "last when user": {2, 0},
	} {
		if got[key] != want {
			t.Errorf("%s: %v, want %v", key, got[key], want)
		}
		delete(got, key)
	}
	if len(got) != 0 {
		t.Errorf("besides: %v", got)
	}
	if n, all := c.Covered(); n != 3 || all != 5 {
		t.Errorf("%d of %d rules", n, all)
	}
	if n, all := c.BothWays(); n != 4 || all != 11 {
		t.Errorf("%d of %d conditions", n, all)
	}
	for _, row := range [][3]int{{0, 0, 100}, {3, 3, 100}, {199, 200, 99}, {0, 5, 0}} {
		if got := Percent(row[0], row[1]); got != row[2] {
			t.Errorf("%v: %d", row, got)
		}
	}
}

// Counting changes no decision.
func TestCoverageAgrees(t *testing.T) {
	p := load(t, covered, Tested())
	var decided []string
	for _, r := range p.RunTests() {
		decided = append(decided, r.Decision.RuleID)
	}
	c := p.Coverage()
	for _, r := range c.Rules {
		n := 0
		for _, id := range decided {
			if id == r.ID {
				n++
			}
		}
		if r.Matched != n && r.ID != "beside" {
			t.Errorf("%s: %d, decided %d", r.ID, r.Matched, n)
		}
	}
	if !slices.Contains(decided, "staff") {
		t.Error(decided)
	}
}
