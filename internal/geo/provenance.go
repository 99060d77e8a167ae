package geo

import (
	"strings"
	"time"
)

// String says which databases are in use, for who wants to know what was known by whom:
// "country of 2026-11-01, asn of 2026-11-08"; "" for none.
func (d *Databases) String() string {
	var parts []string
	for _, b := range d.all() {
		if at := b.built(); !at.IsZero() {
			parts = append(parts, b.kind+" of "+at.Format(time.DateOnly))
		}
	}
	return strings.Join(parts, ", ")
}
