package policy

import (
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of a bandwidth in bits a second: below, ours, a session does not come up; above
// RADIUS has no number (WISPr-Bandwidth-Max-Up is of 32 bits).
const (
	minBandwidth = 8_000
	maxBandwidth = math.MaxUint32
)

// units are those of SI, as everybody counts bits a second.
var units = map[byte]float64{'k': 1e3, 'K': 1e3, 'M': 1e6, 'G': 1e9}

// readBandwidth reads limits from and to the client.
func readBandwidth(r *reader, n ast.Node, o *Obligations) {
	entries, clean := r.mapping(n, "{up: 2M, down: 10M}", "up", "down")
	if clean && len(entries) == 0 {
		r.fail(position(n), "{up: 2M, down: 10M}, or one of them", "no limit")
	}
	for _, e := range entries {
		limit := r.bits(e.val)
		if e.key == "up" {
			o.Bandwidth.Up = limit
		} else {
			o.Bandwidth.Down = limit
		}
	}
}

func (r *reader) bits(n ast.Node) uint64 {
	const expected = "bits a second such as 512k, 10M or 1.5G; 8k to 4.29G"
	s, ok := r.scalar(n, expected)
	if !ok {
		return 0
	}
	v, err := parseBits(s)
	switch {
	case err != nil:
		r.fail(position(n), expected, "%q is no bandwidth", s)
	case v < minBandwidth || v > maxBandwidth:
		r.fail(position(n), expected, "%s is out of range", s)
	default:
		return uint64(v)
	}
	return 0
}

// parseBits reads digits, with a decimal point perhaps, and a unit. An m for millions
// is not guessed at.
func parseBits(s string) (float64, error) {
	factor := 1.0
	if n := len(s); n > 0 && units[s[n-1]] != 0 {
		factor, s = units[s[n-1]], s[:n-1]
	}
	if strings.Trim(s, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.ParseFloat(s, 64)
	return math.Round(v * factor), err
}

func sayBandwidth(o *Obligations) string {
	var parts []string
	for _, l := range []struct {
		way   string
		limit uint64
	}{{"up ", o.Bandwidth.Up}, {"down ", o.Bandwidth.Down}} {
		if l.limit > 0 {
			parts = append(parts, l.way+strconv.FormatUint(l.limit, 10)+" bit/s")
		}
	}
	return strings.Join(parts, ", ")
}
