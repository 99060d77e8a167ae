package policy

import "github.com/goccy/go-yaml/token"

// clause is one condition of a rule, with all that explanations, coverage and the linter
// need to know of it.
type clause struct {
	key     string // of the conditions
	file    string
	pos     *token.Position
	text    string // its values as the file has them, on one line
	matcher matcher
	kids    []clause // inside of any, all and not; see there what they mean
}

// condition is the line of the table that describes the clause.
func (c *clause) condition() *condition { return conditionFor(c.key) }

func (c *clause) match(e *evaluation) bool { return c.matcher.match(e) }

// all holds when each of the clauses does.
func all(cs []clause, e *evaluation) bool {
	for i := range cs {
		if !cs[i].match(e) {
			return false
		}
	}
	return true
}

// walk calls f for each clause and for those inside, from the outside in.
func walk(cs []clause, f func(c *clause)) {
	for i := range cs {
		f(&cs[i])
		walk(cs[i].kids, f)
	}
}
