package policy

import (
	"fmt"
	"slices"
)

// Renamed is the policy with other names of people and devices in its conditions, for
// facts in which they are others, too. rename is told what it is a name of, user, client
// or device, and returns what equals the facts'. Conditions in which names cannot be
// replaced are listed as they are told to people: with such facts they do not match as
// they should.
func (p *Policy) Renamed(rename func(of, name string) string) (_ *Policy, left []string) {
	q := *p
	q.rules = slices.Clone(p.rules)
	for i := range q.rules {
		r := &q.rules[i]
		for _, list := range []*[]clause{&r.when, &r.unless} {
			*list = renamed(*list, rename, func(c *clause) {
				left = append(left, fmt.Sprintf("%s:%d: rule %s: %s: %s", c.file, c.pos.Line, r.id, c.key, c.text))
			})
		}
	}
	return &q, left
}

func renamed(cs []clause, rename func(of, name string) string, left func(*clause)) []clause {
	cs = slices.Clone(cs)
	for i := range cs {
		c := &cs[i]
		switch m := c.matcher.(type) {
		case isUser:
			c.matcher = isUser{m.renamed("user", rename)}
		case isClient:
			c.matcher = isClient{m.renamed("client", rename)}
		case isDevice:
			m.names = m.names.renamed("device", rename)
			c.matcher = m
		case anyOf:
			c.kids = renamed(m.clauses, rename, left)
			c.matcher = anyOf{c.kids}
		case allOf:
			c.kids = renamed(m.clauses, rename, left)
			c.matcher = allOf{c.kids}
		case notAll:
			c.kids = renamed(m.clauses, rename, left)
			c.matcher = notAll{c.kids}
		default:
			if c.key == "cel" {
				left(c)
			}
		}
	}
	return cs
}

func (ns names) renamed(of string, rename func(of, name string) string) names {
	out := make(names, len(ns))
	for i, n := range ns {
		out[i] = n
		if n != "" {
			out[i] = foldString(rename(of, n))
		}
	}
	return out
}
