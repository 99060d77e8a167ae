package importer

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/authz/posture"
	"postern/policy"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// said is what a file says, a line for each row.
func said(t testing.TB, f *Format, text []byte, o Options) string {
	t.Helper()
	var b strings.Builder
	err := Read(bytes.NewReader(text), f, o, func(r Row) error {
		if r.Refused != nil {
			fmt.Fprintf(&b, "%d: refused: %v\n", r.Number, r.Refused)
			return nil //nolint:nilerr // a row that is refused ends nothing
		}
		x, y := r.Record, r.Record.Facts
		fmt.Fprintf(&b, "%d: %s %q of %q at %s: os %q %q, managed %v, compliant %v, encrypted %v, antivirus %v", r.Number, x.Device, x.Name,
			x.Owners, x.At.Format(time.RFC3339), y.OS, y.OSVersion, y.Managed, y.Compliant, y.Encrypted, y.Antivirus)
		for _, at := range []struct {
			what string
			time.Time
		}{{"patched", y.Patched}, {"booted", y.Booted}} {
			if !at.IsZero() {
				fmt.Fprintf(&b, ", %s %s", at.what, at.Format(time.RFC3339))
			}
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

// TestSamples reads what each system exports.
func TestSamples(t *testing.T) {
	own, err := os.ReadFile("testdata/own.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mine, err := ParseFormat(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file   string
		format *Format
		o      Options
	}{
		{"intune.csv", ByName("intune"), Options{}}, {"graph.json", ByName("intune"), Options{Bare: true}}, {"fleet.json", ByName("fleet"), Options{}},
		{"sccm.csv", ByName("sccm"), Options{Domain: "corp.example"}}, {"own.csv", mine, Options{}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		c.o.Source, c.o.Now = "test", now
		got, golden := said(t, c.format, text, c.o), filepath.Join("testdata", c.file+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\n%s", c.file, err, got)
		}
	}
}

// What cannot be read says why; rows before it are read.
func TestBrokenFiles(t *testing.T) {
	f := ByName("intune")
	head := "Device name,Last check-in\n"
	for text, want := range map[string]string{
		"":                       "empty file",
		"\xff\xfeD\x00":          "UTF-16",
		"[{":                     "not JSON",
		"[1]":                    "1: refused: not an object",
		`{"deviceName": "a"} x`:  "not JSON",
		"{}":                     `refused: "" cannot name a device`,
		head + "a b,2026-01-01":  `refused: "a b" cannot name a device`,
		head + "pc,":             "refused: no Last check-in",
		head + "pc,soon":         `refused: seen: "soon" is no time`,
		head + "pc,2026-01-01,x": "refused: 3 fields below 2 columns",
		head + "pc," + strings.Repeat("x", maxValue+1): "refused: last check-in: a value of 4097 octets",
		strings.Repeat("a,", maxColumns+1) + "\nx":     "columns",
		"\ufeff" + head + "pc,2026-01-01\n":            `2: pc "pc"`,
		`{"deviceName":"a","lastSyncDateTime":"2026-01-01T00:00:00Z"}` + "\n" + `{"deviceName":"b","lastSyncDateTime":"2026-01-01T00:00:00Z"}`: "2: b",
	} {
		if got := said(t, f, []byte(text), Options{Source: "test", Now: now}); !strings.Contains(got, want) {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
	stop := errors.New("stop")
	n := 0
	if err := Read(strings.NewReader(head+"a,2026-01-01\nb,2026-01-01\n"), f, Options{Source: "s", Now: now}, func(Row) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%v after %d rows", err, n)
	}
	// A file that ends where it was cut is not the file.
	s, err := peek(&io.LimitedReader{R: strings.NewReader(head + "a,2026-01-01\n"), N: 30})
	if err != nil {
		t.Fatal(err)
	}
	if err := readCSV(s, func(int, values, error) error { return nil }); !errors.Is(err, errBig) {
		t.Errorf("cut: %v", err)
	}
}

func TestParseFormat(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "name or device is needed",
		"fields: {nmae: [a]}":                  `unknown field "nmae"`,
		"fields: {name: []}":                   "no column",
		"fields: {name: [a]}\nyess: {}":        "unknown",
		"fields: {name: [a]}\nno: {disk: [b]}": `unknown field "disk"`,
		"fields: [a]":                          "",
		"fields: {name: [a], compliant: [c]}\nyes: 7": "",
	} {
		if f, err := ParseFormat([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}

func TestSystem(t *testing.T) {
	for s, want := range map[string][2]string{
		"Windows": {"windows", ""}, "10.0.19045.3570": {"", "10.0.19045.3570"}, "macOS 14.6.1 (23G93)": {"macos", "14.6.1"},
		"Windows 11 Pro 10.0.22631": {"windows", "10.0.22631"}, "Ubuntu 22.04.3 LTS": {"linux", "22.04.3"}, "": {"", ""},
		"Android 14": {"android", "14"}, "Temple OS": {"", ""}, "Windows 10.0 (19045)": {"windows", "10.0"},
	} {
		if name, version := System(s); name != want[0] || version != want[1] {
			t.Errorf("%q: %q, %q", s, name, version)
		}
	}
}

// FuzzRead: any file is read to its end or refused, and what it says can be stored.
func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, name := range Names() {
			rows := 0
			_ = Read(bytes.NewReader(text), ByName(name), Options{Source: name, Now: now}, func(r Row) error {
				rows++
				if r.Refused == nil && (!posture.ValidID(r.Record.Device) || r.Record.Confidence != policy.Inventory || r.Record.At.IsZero()) {
					t.Errorf("%+v", r.Record)
				}
				return nil
			})
			if rows > len(text)+1 {
				t.Fatalf("%d rows in %d octets", rows, len(text))
			}
		}
		if f, err := ParseFormat(text); err == nil && len(f.Fields) == 0 {
			t.Error("a format of nothing")
		}
	})
}
