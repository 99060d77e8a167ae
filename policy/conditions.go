package policy

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// matcher is one condition of a rule with its values.
type matcher interface{ match(e *evaluation) bool }

// condition is one key of `when:` and `unless:`. read returns nil after a
// mistake.
type condition struct {
	key  string
	read func(r *reader, n ast.Node) matcher
}

// conditions is the whole language; each has its file cond_NAME.go.
var conditions = []condition{
	{"group", readGroup},
	{"nas", readNAS},
	{"realm", readRealm},
	{"source", readSource},
	{"tunnel", readTunnel},
	{"user", readUser},
}

func conditionKeys() []string {
	keys := make([]string, len(conditions))
	for i, c := range conditions {
		keys[i] = c.key
	}
	return keys
}

// readConditions reads the value of `when:` or `unless:`. A clause whose value is wrong
// is not among them.
func (r *reader) readConditions(n ast.Node) []clause {
	entries, clean := r.mapping(n, "conditions, such as {group: Staff}", conditionKeys()...)
	if clean && len(entries) == 0 {
		r.fail(position(n), "at least one condition, or leave the key away", "no condition")
	}
	var cs []clause
	for _, e := range entries {
		for i := range conditions {
			if conditions[i].key != e.key {
				continue
			}
			if m := conditions[i].read(r, e.val); m != nil {
				cs = append(cs, clause{key: e.key, pos: e.pos, text: oneLine(e.val), matcher: m})
			}
		}
	}
	return cs
}

// oneLine is a value as the file has it, on one line.
func oneLine(n ast.Node) string { return strings.Join(strings.Fields(n.String()), " ") }

// names is the values of a condition on one name: folded; "" stands for none.
type names []string

func (r *reader) readNames(n ast.Node, what string) names {
	var ns names
	for _, el := range r.values(n, what) {
		s, ok := r.name(el, what)
		if !ok {
			continue
		}
		if s = foldString(s); s == missing {
			s = ""
		}
		ns = append(ns, s)
	}
	return ns
}

func (ns names) has(folded []byte) bool {
	for _, n := range ns {
		if n == string(folded) {
			return true
		}
	}
	return false
}
