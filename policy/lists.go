package policy

import (
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

const expectNetwork = "a network such as 192.0.2.0/24, or an address"

// readLists reads `lists:`, networks by name.
func (r *reader) readLists(n ast.Node) {
	entries, _ := r.mapping(n, "lists by name")
	for _, e := range entries {
		if !validName(e.key) || e.key == anybody {
			r.fail(e.pos, expectName+" or any", "%q cannot name a list", e.key)
			continue
		}
		elements, ok := r.sequence(e.val, "a list of networks")
		if !ok {
			elements = nil
		}
		var ranges []Range
		for _, el := range elements {
			s, ok := r.text(el, expectNetwork)
			if !ok {
				continue
			}
			p, err := parseNetwork(s)
			if err != nil {
				r.fail(position(el), expectNetwork, "%q: %v", s, err)
				continue
			}
			ranges = append(ranges, rangeOf(p))
		}
		r.lists[e.key] = makeNetworks(ranges)
	}
}

func (r *reader) listNames() []string { return slices.Sorted(maps.Keys(r.lists)) }

const expectName = "letters, digits, dashes and underscores, a letter first, 64 at most; not none"

// validName is for lists, pools, rules and filters. A name can never be taken
// for an address or for the value of a missing fact.
func validName(s string) bool {
	if s == "" || len(s) > 64 || foldString(s) == missing {
		return false
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '_')) {
			return false
		}
	}
	return true
}
