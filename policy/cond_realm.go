package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isRealm holds when the name was typed with one of the domains, or with none.
// What is typed is a claim: a realm may narrow a rule, a group should open it.
type isRealm struct{ names }

func readRealm(r *reader, n ast.Node) matcher {
	return isRealm{r.readNames(n, "the name of a realm, or none")}
}

func (m isRealm) match(e *evaluation) bool { return m.has(e.realm) }

func factRealm(f *Facts, _ time.Time) string { return inWords(f.Realm) }
