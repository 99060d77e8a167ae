package policy

import "github.com/goccy/go-yaml/ast"

// notAll holds when the conditions do not all hold. It is plain negation: what is not
// known makes a condition not hold, and so `not` of it hold.
//
//	not: {device.compliant: true}     # not compliant, or nobody knows
//
// That is what a rule that denies wants. In one that permits it lets in what nobody
// knows: there, say what must be so (device.compliant: false).
type notAll struct{ clauses []clause }

func readNot(r *reader, n ast.Node) matcher {
	if !r.deeper(n) {
		return nil
	}
	defer r.outward()
	return notAll{r.readConditions(n)}
}

func (m notAll) inside() []clause { return m.clauses }

func (m notAll) match(e *evaluation) bool { return !all(m.clauses, e) }
