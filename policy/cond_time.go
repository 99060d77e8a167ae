package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	_ "time/tzdata" // where the machine has no zones of its own, all decide the same

	"github.com/goccy/go-yaml/ast"
)

// inTime holds when a clock on the wall of the zone shows a time inside one of the windows.
//
//	time: work
//	time: {days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin, holidays: closed}
//	time: [work, {days: sat, from: "08:00", to: "12:00", zone: Europe/Berlin}]
//
// When the clocks change, it is still what they show that counts: an hour that they skip
// is in no window, and one that they show twice is in its window twice. A window that
// ends in a skipped hour ends as they skip it; one that begins in it begins then.
//
// At a moment that is not known, which only tests have, no window holds.
type inTime struct{ windows []window }

// window is a part of some days, or of each.
type window struct {
	days     uint8 // a bit by time.Weekday
	from, to int   // seconds of the day; to before from is over midnight, and of the day that from is of
	zone     int   // of Policy.zones
	holidays []int // days that it is not of, sorted
}

const (
	expectTimes = "{days: mon-fri, from: \"07:00\", to: \"19:00\", zone: Europe/Berlin}"
	expectTime  = "the name of a list of times, or " + expectTimes
	expectDays  = "days such as mon-fri, sat or [mon, wed, fri]"
	expectClock = "a time of day such as \"07:30\", in quotes"
	expectZone  = "a zone such as Europe/Berlin, or UTC"
	wholeDay    = 86400
	everyDay    = 1<<7 - 1
	maxZones    = 32 // of a policy, ours: each is a clock to read in an evaluation
	maxWindows  = 64 // of a list, ours
)

// windowKeys are what a window may say.
var windowKeys = []string{"days", "from", "to", "zone", "holidays"}

func timeValues() values {
	return values{say: "a list of times, or " + expectTimes, list: timesList, single: true, several: true, window: true}
}

func readTime(r *reader, n ast.Node) matcher {
	m := inTime{}
	for _, el := range r.values(n, expectTime) {
		if len(pairsOf(el)) > 0 {
			if w, ok := r.readWindow(el, nil, nil); ok {
				m.windows = append(m.windows, w)
			}
			continue
		}
		s, ok := r.text(el, expectTime)
		if !ok {
			continue
		}
		if l := r.list(el, s, timesList); l != nil {
			m.windows = append(m.windows, l.windows...)
		}
	}
	return m
}

// readWindows reads one window or several; zone and holidays are those of the list.
func (r *reader) readWindows(n ast.Node, zone, holidays *entry) (ws []window) {
	elements := r.values(n, expectTimes)
	if len(elements) > maxWindows {
		r.fail(position(n), "at most 64 windows", "%d windows", len(elements))
		return nil
	}
	for _, el := range elements {
		if w, ok := r.readWindow(el, zone, holidays); ok {
			ws = append(ws, w)
		}
	}
	return ws
}

// readWindow reads one. What it does not say itself is as the list says, or every day,
// all day, UTC.
func (r *reader) readWindow(n ast.Node, zone, holidays *entry) (w window, ok bool) {
	before := len(r.errs)
	entries, clean := r.mapping(n, expectTimes, windowKeys...)
	if clean && len(entries) == 0 {
		r.fail(position(n), expectTimes, "a window that says nothing")
	}
	w = window{days: everyDay, to: wholeDay}
	for i := range entries {
		switch e := &entries[i]; e.key {
		case "days":
			w.days = r.readDays(e.val)
		case "from":
			w.from = r.readClock(e.val)
		case "to":
			w.to = r.readClock(e.val)
		case "zone":
			zone = e
		case "holidays":
			holidays = e
		}
	}
	if from, to := find(entries, "from"), find(entries, "to"); len(r.errs) == before {
		switch {
		case w.from == wholeDay:
			r.fail(position(from.val), "00:00, or an earlier time", "no day has anything after 24:00")
		case to != nil && w.to == 0:
			r.fail(position(to.val), `"24:00" for the end of the day`, "a window that ends as the day begins")
		case w.from == w.to:
			r.fail(position(to.val), "another time, or neither from nor to for whole days", "a window that ends as it begins")
		}
	}
	if zone != nil {
		w.zone = r.readZone(zone.val)
	} else {
		w.zone = r.zone(time.UTC)
	}
	if holidays != nil {
		w.holidays = r.readHolidays(holidays.val)
	}
	return w, len(r.errs) == before
}

var dayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// readDays reads days and ranges of days, which may go over the end of the week.
func (r *reader) readDays(n ast.Node) (days uint8) {
	for _, el := range r.values(n, expectDays) {
		s, ok := r.text(el, expectDays)
		if !ok {
			continue
		}
		d, err := parseDays(s)
		switch {
		case err != "":
			r.fail(position(el), expectDays, "unknown day %q%s", err, didYouMean(err, dayNames[:]))
		case days&d != 0:
			r.fail(position(el), "each day once", "%q has a day that is there already", s)
		}
		days |= d
	}
	return days
}

// parseDays reads a day or a range of days. unknown is the word that is no day.
func parseDays(s string) (days uint8, unknown string) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	from, to := parseDay(first), parseDay(last)
	switch {
	case from < 0:
		return 0, inWords(first)
	case to < 0:
		return 0, inWords(last)
	}
	for i := from; ; i = (i + 1) % len(dayNames) {
		if days |= 1 << i; i == to {
			return days, ""
		}
	}
}

// parseDay reads the name of a day, or its first three letters; -1 is none.
func parseDay(s string) int {
	for i, short := range dayNames {
		if s = foldString(s); s == short || s == foldString(time.Weekday(i).String()) {
			return i
		}
	}
	return -1
}

// readClock reads a time of day, in seconds.
func (r *reader) readClock(n ast.Node) int {
	s, ok := r.scalar(n, expectClock)
	if !ok {
		return 0
	}
	v, ok := parseClock(s)
	if !ok {
		r.fail(position(n), expectClock, "%q is no time of day", s)
	}
	return v
}

// parseClock reads HH:MM or HH:MM:SS, up to 24:00.
func parseClock(s string) (seconds int, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(part) > 2 || len(part) < 2 && i > 0 || i > 0 && v > 59 {
			return 0, false
		}
		seconds = seconds*60 + int(v) //nolint:gosec // of 8 bits
	}
	if len(parts) == 2 {
		seconds *= 60
	}
	return seconds, seconds <= wholeDay
}

// readZone reads a zone and gives it a number. Local is not one: a policy says the same
// everywhere.
func (r *reader) readZone(n ast.Node) int {
	z := r.location(n)
	if z == nil {
		return 0
	}
	if len(r.zones) == maxZones && !slices.ContainsFunc(r.zones, func(o *time.Location) bool { return o.String() == z.String() }) {
		r.fail(position(n), "at most 32 zones in one policy", "one zone too many")
		return 0
	}
	return r.zone(z)
}

// location reads a zone; nil after a mistake.
func (r *reader) location(n ast.Node) *time.Location {
	s, ok := r.text(n, expectZone)
	if !ok {
		return nil
	}
	z, err := time.LoadLocation(s)
	if err != nil || s == "Local" || len(s) > 64 {
		r.fail(position(n), expectZone, "unknown zone %q%s", s, didYouMean(s, someZones))
		return nil
	}
	return z
}

// someZones are those that people misspell, or call by another name.
var someZones = []string{
	"UTC", "Europe/Amsterdam", "Europe/Berlin", "Europe/Brussels", "Europe/Budapest", "Europe/Copenhagen", "Europe/Dublin",
	"Europe/Helsinki", "Europe/Istanbul", "Europe/Kyiv", "Europe/Lisbon", "Europe/London", "Europe/Madrid", "Europe/Moscow",
	"Europe/Oslo", "Europe/Paris", "Europe/Prague", "Europe/Rome", "Europe/Stockholm", "Europe/Vienna", "Europe/Warsaw",
	"Europe/Zurich", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/New_York", "America/Sao_Paulo",
	"America/Toronto", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Kolkata", "Asia/Shanghai", "Asia/Singapore",
	"Asia/Tokyo", "Australia/Melbourne", "Australia/Sydney", "Africa/Cairo", "Africa/Johannesburg", "Pacific/Auckland",
}

// zone gives a zone its number; there is always room for UTC.
func (r *reader) zone(z *time.Location) int {
	for i, o := range r.zones {
		if o.String() == z.String() {
			return i
		}
	}
	r.zones = append(r.zones, z)
	return len(r.zones) - 1
}

// readHolidays reads dates, or the name of a list of dates.
func (r *reader) readHolidays(n ast.Node) []int {
	if _, isList := n.(*ast.SequenceNode); isList {
		return r.readDates(n)
	}
	s, ok := r.text(n, "a list of dates, or the name of one")
	if !ok {
		return nil
	}
	if l := r.list(n, s, datesList); l != nil {
		return l.dates
	}
	return nil
}

// wall is what the clock of a zone shows.
type wall struct {
	read        bool
	day, second int // see dayOf
}

// wall reads the clock of a zone once for each evaluation.
func (e *evaluation) wall(zone int) *wall {
	w := &e.walls[zone]
	if !w.read {
		_, offset := e.now.In(e.zones[zone]).Zone()
		w.day, w.second = dayOf(e.now, offset)
		w.read = true
	}
	return w
}

func (m inTime) match(e *evaluation) bool {
	if e.now.IsZero() {
		return false
	}
	for i := range m.windows {
		if c := e.wall(m.windows[i].zone); m.windows[i].has(c.day, c.second) {
			return true
		}
	}
	return false
}

// has says whether a clock that shows a second of a day shows one of the window.
func (w *window) has(day, second int) bool {
	if w.from < w.to {
		return second >= w.from && second < w.to && w.of(day)
	}
	return second >= w.from && w.of(day) || second < w.to && w.of(day-1)
}

// of says whether the window begins on that day.
func (w *window) of(day int) bool {
	if w.days&(1<<weekday(day)) == 0 {
		return false
	}
	_, holiday := slices.BinarySearch(w.holidays, day)
	return !holiday
}

// maxBoundaries bounds how far ahead the end of a window is looked for, ours: more than a
// week, in which each day has three.
const maxBoundaries = 32

// next is when the first of the windows begins or ends, or as far as was looked ahead.
func (m inTime) next(e *evaluation) (first time.Time) {
	if e.now.IsZero() {
		return first
	}
	for i := range m.windows {
		first = sooner(first, m.windows[i].next(e.now, e.zones[m.windows[i].zone]), e.now)
	}
	return first
}

func (w *window) next(now time.Time, zone *time.Location) time.Time {
	inside := w.at(now, zone)
	for range maxBoundaries {
		if now = w.boundary(now, zone); w.at(now, zone) != inside {
			break
		}
	}
	return now
}

// at says whether the zone's clock shows a time in the window.
func (w *window) at(now time.Time, zone *time.Location) bool {
	_, offset := now.In(zone).Zone()
	return w.has(dayOf(now, offset))
}

// boundary is the first instant after now at which the clock shows another day, or the
// time that the window begins or ends, or is changed.
func (w *window) boundary(now time.Time, zone *time.Location) (first time.Time) {
	local := now.In(zone)
	_, offset := local.Zone()
	_, second := dayOf(now, offset)
	midnight := now.Truncate(time.Second).Add(-time.Duration(second) * time.Second)
	for _, s := range [...]int{w.from, w.to, wholeDay} {
		at := midnight.Add(time.Duration(s) * time.Second)
		if !at.After(now) {
			at = midnight.Add(time.Duration(s+wholeDay) * time.Second)
		}
		first = sooner(first, at, now)
	}
	if _, changed := local.ZoneBounds(); !changed.IsZero() {
		first = sooner(first, changed, now)
	}
	return first
}

func factTime(_ *Facts, now time.Time) string {
	if now.IsZero() {
		return missing
	}
	return now.UTC().Format(time.RFC3339)
}
