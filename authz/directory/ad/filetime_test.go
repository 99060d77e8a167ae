package ad

import (
	"testing"
	"time"
)

func TestFileTime(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  time.Time
		never bool
	}{
		{"132000000000000000", time.Date(2019, 4, 17, 18, 40, 0, 0, time.UTC), false},
		{"116444736000000000", time.Unix(0, 0).UTC(), false},
		{"116444736000000015", time.Unix(0, 1500).UTC(), false},
		{"0", time.Time{}, true},
		{"", time.Time{}, true},
		{"soon", time.Time{}, true},
		{"9223372036854775807", time.Time{}, true},
		{"-1", time.Time{}, false},
	} {
		f := readFileTime(c.text)
		if !f.Time().Equal(c.want) || f.never() != c.never {
			t.Errorf("%q: %v, never %v", c.text, f.Time(), f.never())
		}
		if !c.never && f > 0 && toFileTime(f.Time()) != f {
			t.Errorf("%q became %d", c.text, toFileTime(f.Time()))
		}
	}
	at := time.Date(2019, 4, 17, 18, 40, 0, 0, time.UTC)
	f := readFileTime("132000000000000000")
	if !f.past(at) || f.past(at.Add(-1)) || neverTime.past(at) || fileTime(0).past(at) {
		t.Error("the end is not where it should be")
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"-6000000000": 10 * time.Minute, "0": 0, "": 0, "x": 0, "600": 0, "-9223372036854775808": 0, "-36288000000000": 42 * 24 * time.Hour,
	} {
		if got := span(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestGeneralizedTime(t *testing.T) {
	got, err := generalizedTime("20261123024626.0Z")
	if err != nil || !got.Equal(time.Date(2026, 11, 23, 2, 46, 26, 0, time.UTC)) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := generalizedTime("2026"); err == nil {
		t.Error("half a time is one")
	}
}
