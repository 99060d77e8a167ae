package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isGiven holds when one of the second factors has come so far: none, code, recovery or
// webauthn. One that is remembered is looked for after the rules, and so is none here.
type isGiven struct{ set }

func readGiven(r *reader, n ast.Node) matcher { return isGiven{r.readSet(n, givenNames[:])} }

func (m isGiven) match(e *evaluation) bool { return m.has(uint8(e.f.Given)) }

func factGiven(f *Facts, _ time.Time) string { return f.Given.String() }
