package control

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// packet is one entry of a golden file: octets and what they read as.
//
//	name: what it is
//	hex: 0010 0001 "text" 00*59      octets, text, repetition; may be repeated
//	reads: EchoRequest{...}          the message, as %+v prints it
//	fails: magic                     the error; with reads: comes with the message
//	again: no                        does not encode to the same octets
type packet struct {
	name, reads, fails, where string
	octets                    []byte
	lossy                     bool
}

var parseErrors = map[string]error{
	"":      nil,
	"short": ErrShort, "magic": ErrMagic, "kind": ErrKind,
	"length": ErrLength, "value": ErrValue,
}

func readGolden(t testing.TB, file string) []packet {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []packet
	for i, line := range strings.Split(string(text), "\n") {
		where := fmt.Sprintf("testdata/%s:%d", file, i+1)
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case line == "" || line[0] == '#':
			continue
		case !ok:
			t.Fatalf("%s: no key", where)
		case key == "name":
			all = append(all, packet{name: value, where: where})
			continue
		case len(all) == 0:
			t.Fatalf("%s: no name before", where)
		}
		p := &all[len(all)-1]
		switch key {
		case "hex":
			p.octets = append(p.octets, octets(t, where, value)...)
		case "reads":
			p.reads = strings.TrimPrefix(strings.TrimSuffix(line, "\r"), "reads: ")
		case "fails":
			p.fails = value
		case "again":
			p.lossy = value == "no"
		default:
			t.Fatalf("%s: unknown key %q", where, key)
		}
	}
	if len(all) == 0 {
		t.Fatalf("testdata/%s: empty", file)
	}
	return all
}

func octets(t testing.TB, where, s string) []byte {
	t.Helper()
	var b []byte
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if s[0] == '"' {
			text, rest, ok := strings.Cut(s[1:], `"`)
			if !ok {
				t.Fatalf("%s: text without end", where)
			}
			b, s = append(b, text...), rest
			continue
		}
		var word, times string
		word, s, _ = strings.Cut(s, " ")
		word, times, _ = strings.Cut(word, "*")
		n := 1
		if times != "" {
			var err error
			if n, err = strconv.Atoi(times); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
		}
		raw, err := hex.DecodeString(word)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		b = append(b, bytes.Repeat(raw, n)...)
	}
	return b
}

// golden checks every packet of a file against its reading, and that messages
// encode to the octets they were read from.
func golden(t *testing.T, file string) {
	t.Helper()
	for _, p := range readGolden(t, file) {
		t.Run(p.name, func(t *testing.T) {
			want, ok := parseErrors[p.fails]
			if !ok || (p.reads == "" && want == nil) {
				t.Fatalf("%s: says neither what it reads as nor how it fails", p.where)
			}
			m, n, err := Parse(p.octets)
			if !errors.Is(err, want) || (want == nil && err != nil) {
				t.Fatalf("%s: error %v, want %v", p.where, err, want)
			}
			got := ""
			if m != nil {
				got = strings.TrimPrefix(fmt.Sprintf("%T%+v", m, m), "control.")
			}
			if got != p.reads {
				t.Fatalf("%s: reads as\n%s\nwant\n%s", p.where, got, p.reads)
			}
			if m == nil {
				if n != 0 {
					t.Errorf("%s: %d octets taken by an error", p.where, n)
				}
				return
			}
			again := m.Append([]byte("before"))
			if !bytes.HasPrefix(again, []byte("before")) {
				t.Errorf("%s: Append wrote over the buffer", p.where)
			}
			again = again[len("before"):]
			if same := bytes.Equal(again, p.octets); same == p.lossy {
				t.Errorf("%s: encoded again: same is %v\n%x\n%x", p.where, same, again, p.octets)
			}
			if len(again) != n {
				t.Errorf("%s: %d octets taken, %d encoded", p.where, n, len(again))
			}
		})
	}
}

var goldenFiles = []string{
	"start.txt", "stop.txt", "echo.txt", "outgoing.txt", "incoming.txt",
	"clear.txt", "wanerror.txt", "linkinfo.txt", "malformed.txt",
}

// TestGoldenFiles sees to it that no golden file is forgotten by the fuzzers.
func TestGoldenFiles(t *testing.T) {
	found, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(found) != len(goldenFiles) {
		t.Errorf("%d golden files, %d listed (%v)", len(found), len(goldenFiles), err)
	}
}

// seed gives all golden packets to a fuzzer.
func seed(f *testing.F, add func(octets []byte)) {
	f.Helper()
	for _, file := range goldenFiles {
		for _, p := range readGolden(f, file) {
			add(p.octets)
		}
	}
}

// enum checks the names of all values of an enum from the first to the last,
// and that the one after them is unknown.
func enum[E interface {
	~uint8 | ~uint16
	String() string
}](t *testing.T, last E, names ...string) {
	t.Helper()
	for i, want := range names {
		if got := (last + 1 - E(len(names)) + E(i)).String(); got != want {
			t.Errorf("%T(%d) is %q, want %q", last, i, got, want)
		}
	}
	if got, want := (last + 1).String(), fmt.Sprintf("unknown (%d)", uint16(last)+1); got != want {
		t.Errorf("%T after the last is %q, want %q", last, got, want)
	}
	var zero E
	if got := zero.String(); got != "unknown" && got != "none" && got != "closed" {
		t.Errorf("%T zero is %q", last, got)
	}
}
