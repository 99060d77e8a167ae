package netlogon

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packet is one entry of a golden file: octets and what they read as.
//
//	name: what it is
//	hex: 0500 0c03 ...     octets; may be repeated
//	reads: ...             what a test prints for them
//	fails: short           the error
type packet struct {
	name, reads, fails string
	octets             []byte
}

var parseErrors = map[string]error{
	"":      nil,
	"short": errShortPDU, "version": errBadPDU, "type": errPDUType, "auth": errPDUAuth, "big": errBigPDU,
	"tower": errTower, "reply": errMapReply,
}

func readGolden(t testing.TB, file string) []packet {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []packet
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		if key == "name" {
			all = append(all, packet{name: value})
			continue
		}
		p := &all[len(all)-1]
		switch key {
		case "hex":
			b, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			p.octets = append(p.octets, b...)
		case "reads":
			p.reads = value
		case "fails":
			p.fails = value
		default:
			t.Fatalf("testdata/%s: unknown line %q", file, line)
		}
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
