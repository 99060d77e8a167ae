package gre

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
//	hex: 3081 880b ...     octets; may be repeated
//	reads: {CallID:7 ...}  what a test prints for them, and the payload, - for none
//	fails: short           the error
//	again: no              does not encode to the same octets
type packet struct {
	name, reads, fails string
	octets             []byte
	lossy              bool
}

var parseErrors = map[string]error{
	"":      nil,
	"short": ErrShort, "version": ErrVersion, "flags": ErrFlags,
	"key": ErrKey, "length": ErrLength, "payload": ErrPayload,
	"datagram": ErrDatagram, "fragment": ErrFragment,
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
		case "again":
			p.lossy = value == "no"
		default:
			t.Fatalf("testdata/%s: unknown line %q", file, line)
		}
	}
	return all
}

func octets(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}
