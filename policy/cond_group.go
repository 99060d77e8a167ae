package policy

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// maxGroups bounds the groups a policy may name, ours: a bit each in every
// evaluation.
const maxGroups = 1024

// inGroup holds when the user is in one of the groups, or in none at all.
type inGroup struct {
	groups []int // numbers of groups the policy names
	none   bool
}

func readGroup(r *reader, n ast.Node) matcher {
	const expected = "the name of a group, or none"
	m := inGroup{}
	for _, el := range r.values(n, expected) {
		s, ok := r.name(el, expected)
		if !ok {
			continue
		}
		if foldString(s) == missing {
			m.none = true
			continue
		}
		if known := r.opts.groups; known != nil && !slices.ContainsFunc(known, func(k string) bool { return foldString(k) == foldString(s) }) {
			r.fail(position(el), "a group of the directory", "unknown group %q%s", s, didYouMean(s, known))
			continue
		}
		if i := r.group(el, s); i >= 0 {
			m.groups = append(m.groups, i)
		}
	}
	return m
}

// group gives a group its number.
func (r *reader) group(n ast.Node, name string) int {
	folded := foldString(name)
	if i, ok := r.groups[folded]; ok {
		return i
	}
	if len(r.groups) == maxGroups {
		r.fail(position(n), "at most 1024 groups in one policy", "one group too many")
		return -1
	}
	i := len(r.groups)
	r.groups[folded] = i
	r.groupNames = append(r.groupNames, name)
	return i
}

func (m inGroup) match(e *evaluation) bool {
	if m.none && !e.inAny {
		return true
	}
	for _, i := range m.groups {
		if e.groups[i/64]&(1<<(i%64)) != 0 {
			return true
		}
	}
	return false
}
