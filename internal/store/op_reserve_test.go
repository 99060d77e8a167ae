package store

import (
	"testing"
	"time"
)

func TestCeiling(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := Ceiling{Most: 3, Trusted: 4, Window: 10 * time.Minute, Failed: 2, Newest: noon, Told: noon.Add(time.Second)}
	if got, ok := ParseCeiling(c.String()); !ok || got != c {
		t.Errorf("%q: %+v, %v", c.String(), got, ok)
	}
	if c.Count(noon.Add(10*time.Minute-1)) != 2 || c.Count(noon.Add(10*time.Minute)) != 0 {
		t.Error("the window")
	}
	if c.For(false) != 3 || c.For(true) != 4 {
		t.Error("the limits")
	}
	for _, bad := range []string{
		"", "1 2 3 4 5", "1 2 3 4 5 6 7", "1 2 3 4 5 x", "-1 2 3 4 5 6", "1  2 3 4 5 6", "1 2 3 4 5 9007199254740993",
		"1073741825 0 0 0 0 0", "0 0 1099511627777 0 0 0", "+1 2 3 4 5 6", " 1 2 3 4 5 6", "1 2 3 4 5 6 ",
	} {
		if got, ok := ParseCeiling(bad); ok {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	if (&Ceiling{Most: -1, Failed: -2, Window: -time.Second}).String() != "0 0 0 0 0 0" {
		t.Error("numbers below zero are stored")
	}
}

// What is accepted is what is written again.
func FuzzParseCeiling(f *testing.F) {
	f.Add("3 4 600000 2 1772366400000 1772366401000")
	f.Add("0 0 0 0 0 0")
	f.Add("1 2 3 4 5")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseCeiling(s)
		if !ok {
			return
		}
		again, ok := ParseCeiling(c.String())
		if !ok || again != c {
			t.Fatalf("%q: %+v, then %+v", s, c, again)
		}
	})
}
