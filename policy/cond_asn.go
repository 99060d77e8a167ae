package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isASN holds for a client whose address is of one of the autonomous systems, or of none
// that is known, which is also where there is no database of them.
type isASN struct{ systems []uint32 } // 0 is none

const expectASN = "the number of an autonomous system such as 64496 or AS64496, or none"

func asnValues() values {
	return values{say: "numbers of autonomous systems", words: []string{missing}, pattern: `^[Aa][Ss][0-9]{1,10}$`, integer: true, single: true, several: true}
}

func readASN(r *reader, n ast.Node) matcher {
	m := isASN{}
	for _, el := range r.values(n, expectASN) {
		if v, ok := r.asn(el, expectASN); ok {
			m.systems = append(m.systems, v)
		}
	}
	return m
}

// asn reads the number of an autonomous system, or none.
func (r *reader) asn(n ast.Node, expected string) (uint32, bool) {
	s, ok := r.scalar(n, expected)
	if !ok {
		return 0, false
	}
	if s == missing {
		return 0, true
	}
	v, err := parseASN(s)
	if err != nil {
		r.fail(position(n), expected, "%q is no autonomous system", s)
	}
	return v, err == nil
}

// parseASN reads "64496" or "AS64496"; 0 is nobody's (RFC 7607).
func parseASN(s string) (uint32, error) {
	if len(s) > 2 && strings.EqualFold(s[:2], "as") {
		s = s[2:]
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err == nil && v == 0 {
		err = strconv.ErrRange
	}
	return uint32(v), err //nolint:gosec // of 32 bits
}

func (m isASN) match(e *evaluation) bool { return slices.Contains(m.systems, e.f.ASN) }

func factASN(f *Facts, _ time.Time) string {
	if f.ASN == 0 {
		return missing
	}
	return "AS" + strconv.FormatUint(uint64(f.ASN), 10)
}
