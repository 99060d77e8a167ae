package policy

import (
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// maxGroups bounds the groups a policy may name, ours: a bit each in every
// evaluation.
const maxGroups = 1024

// bitset has a bit for each group that the policy names.
type bitset [maxGroups / 64]uint64

// inGroup holds when the user is in one of the groups, or in none at all.
type inGroup struct {
	groups []int // numbers of groups the policy names
	none   bool
}

func readGroup(r *reader, n ast.Node) matcher { return r.readGroups(n) }

const expectGroup = "the name of a group, a list of groups, or none"

func (r *reader) readGroups(n ast.Node) (m inGroup) {
	for _, el := range r.values(n, expectGroup) {
		s, ok := r.name(el, expectGroup)
		if !ok {
			continue
		}
		if foldString(s) == missing {
			m.none = true
			continue
		}
		switch l, ok := r.named(el, s, groupsList); {
		case !ok:
		case l != nil:
			m.groups = append(m.groups, l.groups...)
		default:
			if i := r.knownGroup(el, s); i >= 0 {
				m.groups = append(m.groups, i)
			}
		}
	}
	return m
}

// knownGroup gives a group of the directory its number; -1 after a mistake.
func (r *reader) knownGroup(n ast.Node, name string) int {
	if known := r.opts.groups; known != nil && !slices.ContainsFunc(known, func(k string) bool { return foldString(k) == foldString(name) }) {
		r.fail(position(n), "a group of the directory", "unknown group %q%s", name, didYouMean(name, known))
		return -1
	}
	return r.group(n, name)
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
	return m.none && !e.inAny || m.overlaps(&e.groups)
}

func (m inGroup) overlaps(bits *bitset) bool {
	for _, i := range m.groups {
		if bits[i/64]&(1<<(i%64)) != 0 {
			return true
		}
	}
	return false
}

func factGroup(f *Facts, _ time.Time) string { return joined(f.Groups) }
