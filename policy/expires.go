package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// A rule may end by itself:
//
//	expires: 2026-12-31                                    # as that day ends in UTC
//	expires: {date: 2026-12-31, zone: Europe/Berlin}       # as it ends there
//	expires: 2026-12-31T12:00:00+01:00                     # at that instant

const expectExpires = "a date such as 2026-12-31, {date: 2026-12-31, zone: Europe/Berlin}, or an instant such as 2026-12-31T12:00:00+01:00"

// readExpires reads the first instant at which a rule matches nothing any more.
func (r *reader) readExpires(n ast.Node) time.Time {
	zone, day := time.UTC, n
	if len(pairsOf(n)) > 0 {
		entries, clean := r.mapping(n, expectExpires, "date", "zone")
		if e := find(entries, "zone"); e != nil {
			if z := r.location(e.val); z != nil {
				zone = z
			}
		}
		e := find(entries, "date")
		if e == nil {
			if clean {
				r.fail(position(n), expectExpires, "a rule that expires, but on no date")
			}
			return time.Time{}
		}
		day = e.val
	}
	s, ok := r.text(day, expectExpires)
	if !ok {
		return time.Time{}
	}
	if t, err := parseDate(s); err == nil {
		return endOfDay(t, zone)
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || day != n {
		r.fail(position(day), expectExpires, "%q is no date", s)
		return time.Time{}
	}
	return t.UTC()
}

// endOfDay is the first instant at which the zone's clock shows the day after that of t,
// a midnight UTC.
func endOfDay(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.Date()
	next := time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	if next.Day() == d {
		// The clock skips that midnight.
		_, next = next.ZoneBounds()
	}
	return next.UTC()
}

// Expiry is a rule whose time is over, or will be.
type Expiry struct {
	RuleID string
	Owner  string // "" nobody in particular
	At     time.Time
}

// Expired are the rules that match nothing any more at that moment, in their order. With a
// moment that is yet to come it tells beforehand.
func (p *Policy) Expired(now time.Time) (over []Expiry) {
	for i := range p.rules {
		if r := &p.rules[i]; r.expired(now) {
			over = append(over, Expiry{r.id, r.owner, r.expires})
		}
	}
	return over
}
