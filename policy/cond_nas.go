package policy

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isNAS holds for a server that asks with one of the identifiers or from one of
// the networks.
type isNAS struct {
	names
	networks networks
}

func readNAS(r *reader, n ast.Node) matcher {
	const expected = "a NAS-Identifier, an address or a network, or none"
	m := isNAS{}
	var ranges []Range
	for _, el := range r.values(n, expected) {
		s, ok := r.name(el, expected)
		if !ok {
			continue
		}
		if p, err := parseNetwork(s); err == nil {
			ranges = append(ranges, rangeOf(p))
			continue
		}
		if s = foldString(s); s == missing {
			s = ""
		}
		m.names = append(m.names, s)
	}
	m.networks = makeNetworks(ranges)
	return m
}

func (m isNAS) match(e *evaluation) bool {
	return m.has(e.nas) || m.networks.contains(e.nasAddress)
}

func factNAS(f *Facts, _ time.Time) string {
	var parts []string
	if f.NAS != "" {
		parts = append(parts, f.NAS)
	}
	if f.NASAddress.IsValid() {
		parts = append(parts, f.NASAddress.String())
	}
	return inWords(strings.Join(parts, ", "))
}
