package ad

import (
	"bytes"
	"testing"
	"time"
)

func TestWeekHours(t *testing.T) {
	// Monday to Friday, 8:00-18:00 UTC, as Windows writes it.
	office := make([]byte, hoursLen)
	for day := 1; day <= 5; day++ {
		office[3*day+1], office[3*day+2] = 0xff, 0x03
	}
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		hours []byte
		at    string
		want  bool
	}{
		{office, "2026-11-23T08:00:00Z", true}, // a Monday
		{office, "2026-11-23T07:59:59Z", false},
		{office, "2026-11-23T17:59:59Z", true},
		{office, "2026-11-23T18:00:00Z", false},
		{office, "2026-11-22T12:00:00Z", false},      // Sunday
		{office, "2026-11-28T12:00:00Z", false},      // Saturday
		{office, "2026-11-23T00:30:00-08:00", true},  // Monday 8:30 UTC
		{office, "2026-11-23T08:30:00+09:00", false}, // Sunday 23:30 UTC
		{nil, "2026-11-22T12:00:00Z", true},
		{[]byte{}, "2026-11-22T12:00:00Z", true},
		{make([]byte, hoursLen), "2026-11-23T12:00:00Z", false},
		{bytes.Repeat([]byte{0xff}, hoursLen), "2026-11-28T23:59:59Z", true},
		{bytes.Repeat([]byte{0xff}, hoursLen-1), "2026-11-23T12:00:00Z", false},
		{[]byte{1}, "2026-11-22T00:00:00Z", false},
	} {
		if got := readHours(c.hours).allow(at(c.at)); got != c.want {
			t.Errorf("%x at %s: %v", c.hours, c.at, got)
		}
	}
	first := make([]byte, hoursLen)
	first[0] = 1
	if !readHours(first).allow(at("2026-11-22T00:59:00Z")) || readHours(first).allow(at("2026-11-22T01:00:00Z")) {
		t.Error("the lowest bit of the first octet is not Sunday's first hour")
	}
}
