package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isTunnel holds for one of the tunnel types by name, or for a login that is for
// no tunnel.
type isTunnel struct{ names }

func readTunnel(r *reader, n ast.Node) matcher {
	return isTunnel{r.readNames(n, "a tunnel type such as PPTP, or none")}
}

func (m isTunnel) match(e *evaluation) bool { return m.has(e.tunnel) }

func factTunnel(f *Facts, _ time.Time) string { return inWords(f.Tunnel) }
