package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNarrator(t *testing.T) {
	var out strings.Builder
	n := newNarrator(&out)
	n.step("First")
	n.note("a %s", "note")
	if !n.check(true, "seen %d", 1) || n.check(false, "not seen %d", 2) {
		t.Error("check does not return what it is told")
	}
	n.step("Second")
	want := "\n1. First\n     a note\nok   seen 1\nFAIL not seen 2\n\n2. Second\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if n.wrong != 1 || n.steps != 2 {
		t.Errorf("%d wrong, %d steps", n.wrong, n.steps)
	}
}

// Colour is for terminals, and there only where nobody objects.
func TestNarratorColours(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if newNarrator(file).colour || !newNarrator(device).colour {
		t.Error("colour in a file, or none on a terminal")
	}
	t.Setenv("NO_COLOR", "1")
	if newNarrator(device).colour {
		t.Error("colour in spite of NO_COLOR")
	}
	var out strings.Builder
	n := &narrator{out: &out, colour: true}
	n.check(true, "right")
	n.check(false, "wrong")
	if want := "\x1b[32mok  \x1b[0m right\n\x1b[31mFAIL\x1b[0m wrong\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}
