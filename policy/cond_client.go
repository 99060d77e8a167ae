package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isClient holds for a client that calls itself by one of the names (LCP Identification,
// MS-RAS-Client-Name), isClientVersion for one that says it is of one of the versions
// (MS-RAS-Client-Version, such as MSRASV5.20). Both are claims of whoever dials.
type isClient struct{ names }

func readClient(r *reader, n ast.Node) matcher {
	return isClient{r.readNames(n, "the name of a client, or none")}
}

func (m isClient) match(e *evaluation) bool { return m.has(e.client) }

func factClient(f *Facts, _ time.Time) string { return inWords(f.ClientName) }

type isClientVersion struct{ names }

func readClientVersion(r *reader, n ast.Node) matcher {
	return isClientVersion{r.readNames(n, "the version of a client such as MSRASV5.20, or none")}
}

func (m isClientVersion) match(e *evaluation) bool { return m.has(e.clientVersion) }

func factClientVersion(f *Facts, _ time.Time) string { return inWords(f.ClientVersion) }
