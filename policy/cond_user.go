package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isUser holds for one of the canonical names.
type isUser struct{ names }

func readUser(r *reader, n ast.Node) matcher {
	return isUser{r.readNames(n, "the name of a user, or none")}
}

func (m isUser) match(e *evaluation) bool { return m.has(e.user) }

func factUser(f *Facts, _ time.Time) string { return inWords(f.User) }
