package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/policy"
)

// coverageFlags are those of `policy test` that ask what the tests have not looked at.
type coverageFlags struct {
	show bool
	min  int
}

func (f *coverageFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.show, "coverage", false, "print which rules and conditions the tests have not looked at")
	cmd.Flags().IntVar(&f.min, "min-coverage", 0, "fail when less than this share of the rules, in `PERCENT`, is reached by a test")
}

// coverageJSON is the coverage as programs see it.
type coverageJSON struct {
	Rules      int                   `json:"rules_percent"` // that decided a test
	Conditions int                   `json:"conditions_percent"`
	Detail     []policy.RuleCoverage `json:"rules"`
}

// coverage returns what was asked for; nil: nothing was.
func (f *coverageFlags) coverage(p *policy.Policy) *policy.Coverage {
	if !f.show && f.min <= 0 {
		return nil
	}
	c := p.Coverage()
	return &c
}

func coverageOf(c *policy.Coverage) *coverageJSON {
	if c == nil {
		return nil
	}
	return &coverageJSON{policy.Percent(c.Covered()), policy.Percent(c.BothWays()), c.Rules}
}

// enough says whether the tests look at enough.
func (f *coverageFlags) enough(c *policy.Coverage) error {
	if c == nil {
		return nil
	}
	covered, all := c.Covered()
	if share := policy.Percent(covered, all); share < f.min {
		var never []string
		for _, r := range c.Rules {
			if r.Matched == 0 {
				never = append(never, r.ID)
			}
		}
		return fmt.Errorf("tests reach %d %% of the rules, less than %d %%; none reaches %s", share, f.min, strings.Join(never, ", "))
	}
	return nil
}

// printCoverage prints a line for each rule and for each of its conditions.
func printCoverage(w *tabwriter.Writer, c *policy.Coverage) {
	fmt.Fprint(w, "\nRULE\tCONDITION\tHELD\tDID NOT\t\n")
	for i := range c.Rules {
		r := &c.Rules[i]
		note := ""
		if r.Matched == 0 {
			note = "no test is decided by it"
		}
		fmt.Fprintf(w, "%s\t\t%d\t%d\t%s\n", r.ID, r.Matched, r.Reached-r.Matched, note)
		r.Each(func(where string, cl *policy.ClauseCoverage) {
			note := ""
			switch {
			case cl.Held+cl.DidNot == 0:
				note = "never asked"
			case cl.Held == 0:
				note = "never held"
			case cl.DidNot == 0:
				note = "always held"
			}
			depth := strings.Repeat("  ", strings.Count(where, " "))
			word, _, _ := strings.Cut(where, " ")
			fmt.Fprintf(w, "\t%s%s %s: %s\t%d\t%d\t%s\n", depth, word, cl.Key, clipped(cl.Text), cl.Held, cl.DidNot, note)
		})
	}
	rules, allRules := c.Covered()
	both, all := c.BothWays()
	fmt.Fprintf(w, "\nTests reach %d of %d rules (%d %%); %d of %d conditions held in one and did not in another (%d %%).\n",
		rules, allRules, policy.Percent(rules, allRules), both, all, policy.Percent(both, all))
}

// maxClipped is how much of a condition a line of the table shows.
const maxClipped = 48

func clipped(s string) string {
	if r := []rune(s); len(r) > maxClipped {
		return string(r[:maxClipped-1]) + "…"
	}
	return s
}
