package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// maxSessions bounds a limit of sessions, ours: who means more means none.
const maxSessions = 1000

// onLimit is what becomes of a login whose user has as many sessions as he may: it is
// refused, or the oldest of them ends.
var onLimit = []string{"refuse", "replace"}

// readSessions reads a number, or a number with what becomes of a login beyond it.
func readSessions(r *reader, n ast.Node, o *Obligations) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		o.Sessions, _ = r.number(n, 1, maxSessions)
		return
	}
	const shape = "a number, or {max: 2, on_limit: replace}"
	entries, clean := r.mapping(n, shape, "max", "on_limit")
	most := false
	for _, e := range entries {
		switch e.key {
		case "max":
			o.Sessions, _ = r.number(e.val, 1, maxSessions)
			most = true
		case "on_limit":
			expected := "one of: " + strings.Join(onLimit, ", ")
			s, ok := r.text(e.val, expected)
			if ok && !slices.Contains(onLimit, s) {
				r.fail(position(e.val), expected, "%q is nothing that could be done%s", s, didYouMean(s, onLimit))
			}
			o.Replace = s == onLimit[1]
		}
	}
	if clean && !most {
		r.fail(position(n), shape, "no max")
	}
}

func saySessions(o *Obligations) string {
	said := strconv.Itoa(o.Sessions)
	if o.Replace {
		said += ", the oldest is replaced"
	}
	return said
}
