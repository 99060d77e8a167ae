package policy

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// fromSource holds for a client in one of the networks, or of unknown address.
type fromSource struct {
	networks networks
	none     bool
}

func readSource(r *reader, n ast.Node) matcher {
	const expected = "a network, an address, the name of a list, or none"
	m := fromSource{}
	var ranges []Range
	for _, el := range r.values(n, expected) {
		s, ok := r.text(el, expected)
		if !ok {
			continue
		}
		if foldString(s) == missing {
			m.none = true
			continue
		}
		p, err := parseNetwork(s)
		if err == nil {
			ranges = append(ranges, rangeOf(p))
			continue
		}
		if strings.ContainsAny(s, "./:") {
			r.fail(position(el), expected, "%q: %v", s, err)
			continue
		}
		if l := r.list(el, s, networksList); l != nil {
			ranges = append(ranges, l.networks...)
		}
	}
	m.networks = makeNetworks(ranges)
	return m
}

func (m fromSource) match(e *evaluation) bool {
	if !e.source.IsValid() {
		return m.none
	}
	return m.networks.contains(e.source)
}

func factSource(f *Facts, _ time.Time) string {
	if !f.Source.IsValid() {
		return missing
	}
	return f.Source.String()
}
