package policy

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// accepted is a finding of the linter's about a rule that is known and meant: one element
// of
//
//	accept: [permit-without-factor]
type accepted struct {
	check string
	pos   *token.Position
}

// readAccept reads the value of a rule's `accept:`. No decision depends on it.
func (r *reader) readAccept(n ast.Node) (all []accepted) {
	names := acceptable()
	expected := "findings of the linter: " + strings.Join(names, ", ")
	for _, el := range r.values(n, expected) {
		s, ok := r.text(el, expected)
		switch {
		case !ok:
		case !slices.Contains(names, s):
			r.fail(position(el), expected, "unknown finding %q%s", s, didYouMean(s, names))
		case slices.ContainsFunc(all, func(a accepted) bool { return a.check == s }):
			r.fail(position(el), "", "%q a second time", s)
		default:
			all = append(all, accepted{s, position(el)})
		}
	}
	return all
}
