package policy

import (
	"fmt"
	"slices"
)

// Renamed is the policy with other names of people and devices in its conditions, for
// facts in which they are others, too. rename is told the condition's key and a name,
// and returns what equals the facts'. Conditions in which names cannot be replaced are
// listed as they are told to people: with such facts they do not match as they should.
func (p *Policy) Renamed(rename func(condition, name string) string) (_ *Policy, left []string) {
	q := *p
	q.rules = slices.Clone(p.rules)
	for i := range q.rules {
		r := &q.rules[i]
		for _, list := range []*[]clause{&r.when, &r.unless} {
			*list = renamed(*list, rename, func(c *clause) {
				left = append(left, fmt.Sprintf("rule %s: %s: %s", r.id, c.key, c.text))
			})
		}
	}
	return &q, left
}

func renamed(cs []clause, rename func(condition, name string) string, left func(*clause)) []clause {
	cs = slices.Clone(cs)
	for i := range cs {
		c := &cs[i]
		switch m := c.matcher.(type) {
		case isUser:
			c.matcher = isUser{m.renamed(c.key, rename)}
		}
	}
	return cs
}

func (ns names) renamed(key string, rename func(condition, name string) string) names {
	out := make(names, len(ns))
	for i, n := range ns {
		out[i] = n
		if n != "" {
			out[i] = foldString(rename(key, n))
		}
	}
	return out
}
