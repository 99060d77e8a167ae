package policy

import "github.com/goccy/go-yaml/ast"

// anyOf holds when one of the clauses does, each of which is a mapping of the list: a
// mapping of several conditions is an `all`.
//
//	any: [{device.patch_age: "> 45d"}, {device.os: linux, device.firewall: false}]
type anyOf struct{ clauses []clause }

func readAny(r *reader, n ast.Node) matcher {
	const expected = "a list of conditions, such as [{group: Staff}, {source: offices}]"
	if !r.deeper(n) {
		return nil
	}
	defer r.outward()
	elements, ok := r.sequence(n, expected)
	if !ok {
		return nil
	}
	if len(elements) == 0 {
		r.fail(position(n), expected, "an empty list matches nothing")
	}
	m := anyOf{}
	for _, el := range elements {
		switch cs := r.readConditions(el); {
		case len(cs) == 1:
			m.clauses = append(m.clauses, cs[0])
		case len(cs) > 1:
			m.clauses = append(m.clauses, clause{key: "all", file: r.file, pos: position(el), text: oneLine(el), matcher: allOf{cs}, kids: cs})
		}
	}
	return m
}

func (m anyOf) inside() []clause { return m.clauses }

func (m anyOf) match(e *evaluation) bool {
	for i := range m.clauses {
		if m.clauses[i].match(e) {
			return true
		}
	}
	return false
}

// maxNest bounds how deep any, all and not may be nested, ours: nobody reads deeper.
const maxNest = 5

func (r *reader) deeper(n ast.Node) bool {
	if r.nested == maxNest {
		r.fail(position(n), "a rule of its own for some of it", "any, all and not nested more than %d deep", maxNest)
		return false
	}
	r.nested++
	return true
}

func (r *reader) outward() { r.nested-- }
