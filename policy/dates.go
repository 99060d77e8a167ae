package policy

import (
	"errors"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

const (
	expectDate  = "a date such as 2026-12-25"
	expectDates = "a list of dates such as [2026-12-25, 2027-01-01]"

	maxDates = 10_000 // of a list, ours
)

// parseDate reads a day, as the midnight UTC that it begins with.
func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err == nil && (t.Year() < 1970 || t.Year() > 9998) {
		err = errors.New("a year that nobody will see")
	}
	return t, err
}

// dayOf counts days from 1970-01-01: of an instant as a clock shows it that is offset
// seconds ahead of UTC, with the seconds since its midnight.
func dayOf(t time.Time, offset int) (day, second int) {
	s := t.Unix() + int64(offset)
	day, second = int(s/86400), int(s%86400)
	if second < 0 {
		day, second = day-1, second+86400
	}
	return day, second
}

// weekday is the day's: 1970-01-01 was a Thursday.
func weekday(day int) time.Weekday { return time.Weekday(((day+int(time.Thursday))%7 + 7) % 7) }

// readDates reads a list of days.
func (r *reader) readDates(n ast.Node) (days []int) {
	elements, ok := r.sequence(n, expectDates)
	switch {
	case ok && len(elements) == 0:
		r.fail(position(n), expectDates, "an empty list matches nothing")
	case len(elements) > maxDates:
		r.fail(position(n), "at most 10000 dates", "%d dates", len(elements))
		return nil
	}
	first := make(map[int]int)
	for _, el := range elements {
		s, ok := r.text(el, expectDate)
		if !ok {
			continue
		}
		t, err := parseDate(s)
		if err != nil {
			r.fail(position(el), expectDate, "%q is no date", s)
			continue
		}
		d, _ := dayOf(t, 0)
		if line, twice := first[d]; twice {
			r.fail(position(el), "each once", "%s a second time; the first is on line %d", s, line)
			continue
		}
		first[d] = position(el).Line
		days = append(days, d)
	}
	slices.Sort(days)
	return days
}
