package collect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/report"
)

var noon = time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pretended is a machine with some files, and tools that answer what they are set to.
type pretended struct {
	t     testing.TB
	m     *Machine
	tools map[string]string // command line, or how it begins → a sample's name, or =text, or !error
}

func pretend(t testing.TB, system string) *pretended {
	t.Helper()
	p := &pretended{t: t, tools: map[string]string{}}
	p.m = &Machine{OS: system, Root: t.TempDir(), Now: func() time.Time { return noon }, Admin: true, Run: p.run}
	p.m.Uptime = p.m.procUptime
	return p
}

func (p *pretended) run(_ context.Context, name string, args ...string) ([]byte, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	best := ""
	for known := range p.tools {
		if strings.Contains(line, known) && len(known) > len(best) {
			best = known
		}
	}
	answer := p.tools[best]
	switch {
	case best == "":
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), errNoTool)
	case answer[0] == '!':
		return nil, errors.New(answer[1:])
	case answer[0] == '=':
		return []byte(answer[1:]), nil
	}
	return sample(p.t, answer), nil
}

// file writes a file of the machine; "<NAME" is a sample.
func (p *pretended) file(name, text string) {
	p.t.Helper()
	if s, ok := strings.CutPrefix(text, "<"); ok {
		text = string(sample(p.t, s))
	}
	path := filepath.Join(p.m.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.touch(name, noon.Add(-365*24*time.Hour))
}

func (p *pretended) touch(name string, at time.Time) {
	p.t.Helper()
	if err := os.Chtimes(filepath.Join(p.m.Root, name), at, at); err != nil {
		p.t.Fatal(err)
	}
}

// find is one fact; "unknown" comes with a reason.
func (p *pretended) find(name string) Finding {
	p.t.Helper()
	f, all := Collect(context.Background(), p.m)
	r := report.Report{V: report.Version, Device: "x", Time: noon, Nonce: report.Nonce{1}, Seq: 1, Facts: f}
	if err := r.Check(); err != nil {
		p.t.Errorf("not to be reported: %v", err)
	}
	for _, x := range all {
		if x.Value == "unknown" && x.Why == "" || x.Value == "" {
			p.t.Errorf("%+v", x)
		}
		if x.Name == name {
			return x
		}
	}
	p.t.Fatalf("no fact %s", name)
	return Finding{}
}

func (p *pretended) want(name, value, why string) {
	p.t.Helper()
	if f := p.find(name); f.Value != value || !strings.Contains(f.Why, why) || (why == "") != (f.Why == "") {
		p.t.Errorf("%s is %q (%s), want %q (%s)", name, f.Value, f.Why, value, why)
	}
}

// A machine that shows nothing has nothing guessed of it.
func TestNothingIsGuessed(t *testing.T) {
	for _, system := range []string{"linux", "windows"} {
		p := pretend(t, system)
		f, all := Collect(context.Background(), p.m)
		if f != (report.Facts{OS: system}) {
			t.Errorf("%s: %+v", system, f)
		}
		for _, x := range all {
			if x.Why == "" {
				t.Errorf("%s: no word of why: %+v", system, x)
			}
		}
	}
}

// A tool that hangs costs its own fact and nothing else.
func TestSlowTool(t *testing.T) {
	p := pretend(t, "linux")
	p.file("proc/uptime", "3600.00 1.00\n")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	stuck := make(chan struct{})
	defer close(stuck)
	run := p.m.Run
	p.m.Run = func(ctx context.Context, name string, args ...string) ([]byte, error) {
		if name == "lsblk" {
			<-stuck
		}
		return run(ctx, name, args...)
	}
	f, all := Collect(ctx, p.m)
	if f.Booted.IsZero() {
		t.Errorf("%+v", f)
	}
	for _, x := range all {
		if x.Name == "disk_encrypted" && x.Why != "it took too long" {
			t.Errorf("%+v", x)
		}
	}
}

// What this very machine says can be reported, whatever it is.
func TestHere(t *testing.T) {
	m := Here()
	f, all := Collect(context.Background(), m)
	r := report.Report{V: report.Version, Device: "x", Time: noon, Nonce: report.Nonce{1}, Seq: 1, Facts: f}
	if err := r.Check(); err != nil || f.Booted.IsZero() {
		t.Errorf("%+v: %v", f, err)
	}
	for _, x := range all {
		t.Logf("%-14s %-20s %s", x.Name, x.Value, x.Why)
	}
	if _, err := run(context.Background(), "no-such-program-of-postern"); !errors.Is(err, errNoTool) {
		t.Error(err)
	}
	if b, err := run(context.Background(), "sh", "-c", "echo $LC_ALL; echo broken >&2; exit 3"); err == nil || string(b) != "C\n" || err.Error() != "sh: broken" {
		t.Errorf("%q, %v", b, err)
	}
}
