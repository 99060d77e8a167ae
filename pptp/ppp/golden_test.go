package ppp

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// golden is one frame of testdata: a comment, hex ('-' for none), and its reading.
type golden struct {
	where   string
	frame   []byte
	reading string
}

func readGolden(tb testing.TB) []golden {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no golden files: %v", err)
	}
	var out []golden
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var frame []byte
		have := false
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			switch {
			case line == "" || line[0] == '#':
			case line[0] == '=':
				if !have {
					tb.Fatalf("%s: reading without a frame: %s", file, line)
				}
				out = append(out, golden{file, frame, strings.TrimSpace(line[1:])})
				have = false
			default:
				if have {
					tb.Fatalf("%s: frame without a reading before %s", file, line)
				}
				have = true
				if frame, err = hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(line, "-"), " ", "")); err != nil {
					tb.Fatalf("%s: %s: %v", file, line, err)
				}
			}
		}
	}
	return out
}

func TestGolden(t *testing.T) {
	all := readGolden(t)
	for _, g := range all {
		proto, payload, err := ParseFrame(g.frame)
		reading := Packet{proto, payload}.String()
		if err != nil {
			reading = "error " + err.Error()
		}
		if reading != g.reading {
			t.Errorf("%s: %x\n got %s\nwant %s", g.where, g.frame, reading, g.reading)
		}
	}
	if len(all) < 60 {
		t.Errorf("only %d golden packets read", len(all))
	}
}

// seeds are the golden control packets of a protocol, from the code on.
func seeds(tb testing.TB, p Proto) (out [][]byte) {
	for _, g := range readGolden(tb) {
		if proto, payload, err := ParseFrame(g.frame); err == nil && proto == p {
			out = append(out, payload)
		}
	}
	return out
}

// goldenWith is the first control packet of p whose reading has text in it.
func goldenWith(tb testing.TB, p Proto, text string) []byte {
	tb.Helper()
	for _, b := range seeds(tb, p) {
		if strings.Contains((Packet{p, b}).String(), text) {
			return b
		}
	}
	tb.Fatalf("no golden %s packet with %q", p, text)
	return nil
}
