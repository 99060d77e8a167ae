package pool

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// An alarm begins at the threshold, ends well below it, and is told of twice.
func TestAlarms(t *testing.T) {
	var log bytes.Buffer
	a := NewAlarms(90, slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Unix(1_800_000_000, 0)
	lines := 0
	for i, row := range []struct {
		used, size int
		rings      bool
		line       string // what is logged; "": nothing
	}{
		{0, 200, false, ""},
		{179, 200, false, ""},
		{180, 200, true, `level=ERROR msg="pool needs attention" layer=pool pool=staff used=180 size=200 percent=90`},
		{200, 200, true, ""},
		{205, 200, true, ""}, // a reload made it smaller
		{179, 200, true, ""},
		{170, 200, true, ""},
		{169, 200, false, `msg="pool is in order again" layer=pool pool=staff used=169 size=200 after=5m0s`},
		{179, 200, false, ""},
		{180, 200, true, "needs attention"},
		{180, 400, false, "in order again"}, // a reload made it larger
		{3, 3, true, "needs attention"},
		{2, 3, false, "in order again"},
	} {
		log.Reset()
		now = now.Add(time.Minute)
		a.Look(now, []Usage{{"empty", 0, 10}, {"staff", row.used, row.size}})
		if got := fmt.Sprint(a.Ringing()); (got == "[staff]") != row.rings || !row.rings && got != "[]" {
			t.Errorf("%d: %s rings", i, got)
		}
		if got := log.String(); !strings.Contains(got, row.line) || (got == "") != (row.line == "") {
			t.Errorf("%d: logged %q, want %q", i, got, row.line)
		}
		lines += strings.Count(log.String(), "\n")
	}
	if lines != 6 {
		t.Errorf("%d lines", lines)
	}
	a.Look(now, []Usage{{"staff", 9, 9}, {"guests", 9, 10}})
	if got := fmt.Sprint(a.Ringing()); got != "[guests staff]" {
		t.Error(got)
	}
	a.Look(now, []Usage{{"guests", 10, 10}}) // the policy has no other pool any more
	if got := fmt.Sprint(a.Ringing()); got != "[guests]" {
		t.Error(got)
	}

	for percent, used := range map[int]int{0: 10, 1: 0, 100: 9} {
		a := NewAlarms(percent, slog.New(slog.DiscardHandler))
		if a.Look(now, []Usage{{"staff", used, 10}}); len(a.Ringing()) != 0 {
			t.Errorf("%d of 10 ring at %d %%", used, percent)
		}
	}
	a = NewAlarms(1, slog.New(slog.DiscardHandler)) // and the lowest one ends, too
	a.Look(now, []Usage{{"staff", 1, 10}})
	if a.Look(now, []Usage{{"staff", 0, 10}}); len(a.Ringing()) != 0 {
		t.Error("it rings for an empty pool")
	}
}
