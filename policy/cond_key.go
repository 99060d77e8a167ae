package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isKey holds for a session whose keys are of one of the grades: none, ntlm (MS-CHAP-V2,
// one DES key search away) or tls.
type isKey struct{ set }

func readKey(r *reader, n ast.Node) matcher { return isKey{r.readSet(n, keyGradeNames[:])} }

func (m isKey) match(e *evaluation) bool { return m.has(uint8(e.f.Key)) }

func factKey(f *Facts, _ time.Time) string { return f.Key.String() }
