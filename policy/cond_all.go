package policy

import "github.com/goccy/go-yaml/ast"

// allOf holds when all of the clauses do: those of one mapping, or of all mappings of a
// list. It serves to put conditions together inside of any and not.
//
//	not: {all: [{device.os: windows}, {device.antivirus: true}]}
type allOf struct{ clauses []clause }

func readAll(r *reader, n ast.Node) matcher {
	if !r.deeper(n) {
		return nil
	}
	defer r.outward()
	m := allOf{}
	for _, el := range r.values(n, "conditions, such as {group: Staff}") {
		m.clauses = append(m.clauses, r.readConditions(el)...)
	}
	return m
}

func (m allOf) inside() []clause { return m.clauses }

func (m allOf) match(e *evaluation) bool { return all(m.clauses, e) }
