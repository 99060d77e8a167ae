package policy

import (
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isNode holds when the server that asks is a node of ours, or when it is not: identified
// by its certificate, where an identifier is whatever the server says.
type isNode bool

func readNode(r *reader, n ast.Node) matcher {
	v, ok := r.yesOrNo(n)
	if !ok {
		return nil
	}
	return isNode(v)
}

func (m isNode) match(e *evaluation) bool { return e.f.Node == bool(m) }

func factNode(f *Facts, _ time.Time) string { return strconv.FormatBool(f.Node) }
