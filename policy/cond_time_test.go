package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTime: what a clock on the wall shows decides. Berlin's clocks go from 02:00 to
// 03:00 on 2026-03-29 at 01:00 UTC, and from 03:00 to 02:00 on 2026-10-25 at 01:00 UTC.
func TestTime(t *testing.T) {
	for _, c := range []struct{ about, when, inside, outside string }{
		{"both ends", `{days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}`,
			"2026-11-24T06:00:00Z 2026-11-24T17:59:59.999Z", "2026-11-24T05:59:59.999Z 2026-11-24T18:00:00Z 2026-11-22T12:00:00Z"},
		{"summer time is the zone's", `{from: "07:00", to: "19:00", zone: Europe/Berlin}`,
			"2026-07-01T05:00:00Z", "2026-07-01T17:00:00Z 2026-12-01T05:59:59Z"},
		{"no zone is UTC", `{from: "07:00"}`, "2026-07-01T07:00:00Z 2026-07-01T23:59:59Z", "2026-07-01T06:59:59Z"},
		{"over midnight it is of the day that it begins on", `{days: fri, from: "22:00", to: "04:00"}`,
			"2026-11-27T22:00:00Z 2026-11-28T03:59:59Z", "2026-11-27T03:00:00Z 2026-11-28T04:00:00Z 2026-11-28T22:00:00Z"},
		{"a holiday takes the day that it begins on", `{from: "22:00", to: "04:00", holidays: [2026-12-25]}`,
			"2026-12-25T03:59:59Z 2026-12-26T22:00:00Z 2026-12-24T23:00:00Z", "2026-12-25T22:00:00Z 2026-12-26T03:00:00Z"},
		{"over the end of the week", `{days: sat-mon}`, "2026-11-21T00:00:00Z 2026-11-23T23:59:59Z", "2026-11-20T23:59:59Z 2026-11-24T00:00:00Z"},
		{"days by one", `{days: [mon, Wednesday, fri]}`, "2026-11-25T00:00:00Z", "2026-11-24T00:00:00Z"},
		{"the date line", `{days: tue, zone: Pacific/Kiritimati}`, "2026-11-23T10:00:00Z", "2026-11-23T09:59:59Z 2026-11-24T10:00:00Z"},
		{"a zone of half an hour", `{to: "00:30", zone: Asia/Kolkata}`, "2026-11-23T18:30:00Z", "2026-11-23T19:00:00Z 2026-11-23T18:29:59Z"},
		{"a skipped hour is in no window", `{from: "02:00", to: "03:00", zone: Europe/Berlin}`,
			"2026-03-28T01:30:00Z 2026-03-30T00:30:00Z", "2026-03-29T00:59:59Z 2026-03-29T01:00:00Z 2026-03-29T00:30:00Z 2026-03-29T01:30:00Z"},
		{"a window that begins in it begins as they skip it", `{from: "02:30", to: "05:00", zone: Europe/Berlin}`,
			"2026-03-29T01:00:00Z 2026-03-29T02:59:59Z", "2026-03-29T00:59:59Z 2026-03-29T03:00:00Z"},
		{"a window that ends in it ends as they skip it", `{from: "01:00", to: "02:30", zone: Europe/Berlin}`,
			"2026-03-29T00:00:00Z 2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z 2026-03-28T23:59:59Z"},
		{"an hour that they show twice is in it twice", `{from: "02:00", to: "03:00", zone: Europe/Berlin}`,
			"2026-10-25T00:00:00Z 2026-10-25T00:59:59Z 2026-10-25T01:00:00Z 2026-10-25T01:59:59Z", "2026-10-24T23:59:59Z 2026-10-25T02:00:00Z"},
		{"a window that ends in it ends twice", `{from: "01:00", to: "02:30", zone: Europe/Berlin}`,
			"2026-10-25T00:29:59Z 2026-10-25T01:00:00Z 2026-10-25T01:29:59Z", "2026-10-25T00:30:00Z 2026-10-25T00:59:59Z 2026-10-25T01:30:00Z"},
		{"a list", "work", "2026-11-24T08:00:00Z 2026-11-28T09:00:00Z", "2026-11-28T12:00:00Z 2026-12-25T09:00:00Z"},
		{"any of them", `[work, {days: sun}]`, "2026-11-24T08:00:00Z 2026-11-22T03:00:00Z", "2026-11-28T12:00:00Z"},
	} {
		p := load(t, `version: 1
lists:
  work:
    times: [{days: mon-fri, from: "08:00", to: "18:00"}, {days: sat, from: "09:00", to: "12:00"}]
    zone: UTC
    holidays: closed
  closed: {dates: [2026-12-25]}
rules:
  - {id: in, when: {time: `+c.when+`}, then: permit}
`)
		for _, want := range []struct {
			at   string
			rule string
		}{{c.inside, "in"}, {c.outside, ""}} {
			for _, s := range strings.Fields(want.at) {
				at, err := time.Parse(time.RFC3339Nano, s)
				if err != nil {
					t.Fatal(err)
				}
				if d := p.Evaluate(at, &Facts{}); d.RuleID != want.rule {
					t.Errorf("%s: at %s rule %q", c.about, s, d.RuleID)
				}
			}
		}
		if d := p.Evaluate(time.Time{}, &Facts{}); d.RuleID != "" {
			t.Errorf("%s: at a moment that is not known", c.about)
		}
	}
}

func TestNextWindow(t *testing.T) {
	for _, c := range []struct{ window, now, next string }{
		{`{days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}`, "2026-11-24T05:00:00Z", "2026-11-24T06:00:00Z"},
		{`{days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}`, "2026-11-24T06:00:00Z", "2026-11-24T18:00:00Z"},
		{`{days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}`, "2026-11-27T18:00:00Z", "2026-11-30T06:00:00Z"},
		{`{from: "01:00", to: "02:30", zone: Europe/Berlin}`, "2026-03-29T00:10:00Z", "2026-03-29T01:00:00Z"},
		{`{from: "02:00", to: "03:00", zone: Europe/Berlin}`, "2026-10-25T00:10:00Z", "2026-10-25T02:00:00Z"},
		{`{from: "01:00", to: "02:30", zone: Europe/Berlin}`, "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"},
	} {
		p := load(t, "version: 1\nrules:\n  - {id: in, when: {time: "+c.window+"}, then: permit}\n")
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if next := p.NextChange(now, &Facts{}); next.UTC().Format(time.RFC3339) != c.next {
			t.Errorf("%s at %s: %v, want %s", c.window, c.now, next, c.next)
		}
	}
}

func TestParseClock(t *testing.T) {
	for s, want := range map[string]int{"00:00": 0, "7:30": 27000, "07:30": 27000, "23:59:59": 86399, "24:00": 86400} {
		if v, ok := parseClock(s); !ok || v != want {
			t.Errorf("%s: %d, %v", s, v, ok)
		}
	}
	for _, s := range []string{"", "7", "24:01", "07:60", "07:5", "007:00", "07:00:60", "-1:00", "07:00:00:00", "+7:00", " 7:00"} {
		if v, ok := parseClock(s); ok {
			t.Errorf("%q: %d", s, v)
		}
	}
}

// FuzzWindow: any days and times are read or refused; what is read says, at any second of
// a week, the same as its definition does.
func FuzzWindow(f *testing.F) {
	f.Add("mon-fri", "07:00", "19:00", 0)
	f.Add("fri", "22:00", "04:00", 7200)
	f.Add("sunday", "0:00:01", "24:00", 86399)
	f.Fuzz(func(t *testing.T, days, from, to string, at int) {
		set, unknown := parseDays(days)
		if (set == 0) != (unknown != "") {
			t.Fatalf("days %q: %b, unknown %q", days, set, unknown)
		}
		a, okA := parseClock(from)
		b, okB := parseClock(to)
		if unknown != "" || !okA || !okB || a == b || a == wholeDay || b == 0 {
			return
		}
		w := window{days: set, from: a, to: b}
		d, second := dayOf(time.Unix(int64(at), 0), 0)
		if weekday(d) != time.Unix(int64(at), 0).UTC().Weekday() {
			t.Fatalf("%d is a %v", at, weekday(d))
		}
		var inside bool // counted forwards from each of the days before
		for back := range 2 {
			begins := d - back
			length := (b - a + wholeDay) % wholeDay
			if a == 0 && b == wholeDay {
				length = wholeDay
			}
			since := back*wholeDay + second - a
			inside = inside || set&(1<<weekday(begins)) != 0 && since >= 0 && since < length
		}
		if w.has(d, second) != inside {
			t.Fatalf("%q %q %q at %d: %v", days, from, to, at, !inside)
		}
	})
}

func TestEndOfDay(t *testing.T) {
	for _, c := range []struct{ expires, want string }{
		{"2026-12-31", "2027-01-01T00:00:00Z"},
		{"{date: 2026-12-31, zone: Europe/Berlin}", "2026-12-31T23:00:00Z"},
		{"{date: 2026-12-31, zone: America/New_York}", "2027-01-01T05:00:00Z"},
		{"2026-12-31T12:00:00+01:00", "2026-12-31T11:00:00Z"},
		// Beirut's clocks go from 00:00 to 01:00: the day ends as they skip midnight.
		{"{date: 2026-03-28, zone: Asia/Beirut}", "2026-03-28T22:00:00Z"},
		// Havana's go from 01:00 back to 00:00: the day has ended before.
		{"{date: 2026-10-31, zone: America/Havana}", "2026-11-01T04:00:00Z"},
	} {
		p := load(t, "version: 1\nrules:\n  - {id: a, owner: Ops, expires: "+c.expires+", then: permit}\n")
		at, err := time.Parse(time.RFC3339, c.want)
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Evaluate(at.Add(-1), &Facts{}); d.RuleID != "a" {
			t.Errorf("%s: over a nanosecond before %s", c.expires, c.want)
		}
		if d := p.Evaluate(at, &Facts{}); d.RuleID != "" {
			t.Errorf("%s: still there at %s, until %v", c.expires, c.want, p.rules[0].expires)
		}
		if next := p.NextChange(at.Add(-time.Hour), &Facts{}); !next.Equal(at) {
			t.Errorf("%s: next %v", c.expires, next)
		}
		if over := p.Expired(at); !slices.Equal(over, []Expiry{{"a", "Ops", at}}) || len(p.Expired(at.Add(-1))) > 0 {
			t.Errorf("%s: %+v", c.expires, over)
		}
	}
}
