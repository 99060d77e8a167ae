package policy

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// canon is a value on one line, the same for all ways of writing it: a list of one is its
// element, quotes and styles are gone.
func canon(n ast.Node) string {
	switch n := n.(type) {
	case nil:
		return ""
	case *ast.NullNode:
		return ""
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return strings.Join(strings.Fields(n.Value.Value), " ")
	case *ast.SequenceNode:
		if len(n.Values) == 1 {
			return canon(n.Values[0])
		}
		return "[" + strings.Join(canonAll(n.Values), ", ") + "]"
	}
	if pairs := pairsOf(n); pairs != nil {
		parts := make([]string, len(pairs))
		for i, p := range pairs {
			parts[i] = p.Key.GetToken().Value + ": " + canon(p.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return n.GetToken().Value
}

func canonAll(list []ast.Node) []string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = canon(n)
	}
	return parts
}

// elementsOf are a sequence's elements; of what is none, itself.
func elementsOf(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		return n.Values
	}
	return []ast.Node{n}
}
