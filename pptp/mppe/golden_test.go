package mppe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden from the reference")

// A golden file is one direction of a link from its first packet on: comments,
// `params`, `start`, then `plain` and the `packet` it becomes, or a `packet`
// and the `error` it is refused with, or `reset`.
type goldenLink struct {
	params Params
	start  [16]byte
	steps  []goldenStep
}

type goldenStep struct {
	line          int
	reset         bool
	plain, packet []byte
	err           error
}

var goldenErrors = map[string]error{
	"short": ErrShort, "not encrypted": ErrNotEncrypted, "not flushed": ErrNotFlushed, "replay": ErrReplay,
	"too old": ErrTooOld, "gap": ErrGap, "nonsense": ErrNonsense, "need reset": ErrNeedReset,
}

func readGolden(tb testing.TB, path string) (g goldenLink) {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var step goldenStep
	for i, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#":
			continue
		case "params":
			for _, p := range allParams {
				if p.String() == rest {
					g.params = p
				}
			}
		case "start":
			g.start = [16]byte(unhex(rest))
		case "reset":
			g.steps = append(g.steps, goldenStep{line: i + 1, reset: true})
		case "plain":
			step.plain = unhex(rest)
		case "packet":
			step.packet, step.line = unhex(rest), i+1
			if step.plain != nil {
				g.steps, step = append(g.steps, step), goldenStep{}
			}
		case "error":
			if step.err = goldenErrors[rest]; step.err == nil {
				tb.Fatalf("%s:%d: no such error", path, i+1)
			}
			g.steps, step = append(g.steps, step), goldenStep{}
		default:
			tb.Fatalf("%s:%d: %q", path, i+1, word)
		}
	}
	if g.params.Strength == Unknown || len(g.steps) == 0 {
		tb.Fatalf("%s: no params or no packets", path)
	}
	return g
}

func goldenFiles(tb testing.TB) []string {
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(paths) < 7 {
		tb.Fatalf("golden files: %v %v", paths, err)
	}
	return paths
}

// TestGolden opens every packet of every file, and where the file has no
// refusals seals the same ones.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, path := range goldenFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			g := readGolden(t, path)
			sealer, opener := NewSealer(&g.start, g.params), NewOpener(&g.start, g.params)
			ref := newReference(g.start, g.params)
			for _, s := range g.steps {
				if s.reset {
					sealer.Reset()
					// What a leap looks like to the reference.
					ref.flush = true
					for ref.count&0xff != 0xff {
						ref.count++
					}
					continue
				}
				out, err := opener.Open(nil, s.packet)
				if !errors.Is(err, s.err) || !bytes.Equal(out, s.plain) {
					t.Errorf("line %d: opened %X, %v; want %X, %v", s.line, out, err, s.plain, s.err)
				}
				if s.err != nil {
					continue
				}
				if got := sealer.Seal(nil, s.plain); !bytes.Equal(got, s.packet) {
					t.Errorf("line %d: sealed %X", s.line, got)
				}
				if got := ref.seal(s.plain); !bytes.Equal(got, s.packet) {
					t.Errorf("line %d: the reference seals %X", s.line, got)
				}
			}
		})
	}
}

// writeGolden makes the files with packets in order; malformed.txt is by hand.
func writeGolden(t *testing.T) {
	for _, p := range allParams {
		var b strings.Builder
		fmt.Fprintf(&b, "# The first packets of a link, from crypto/rc4 and RFC 3078 §7.\n# Start key: RFC 3079 §3.5.3.\nparams %v\nstart %X\n", p, rfcStart)
		ref := newReference(rfcStart, p)
		put := func(comment string, plain []byte) {
			fmt.Fprintf(&b, "\n# %s\nplain %s\npacket %s\n", comment, hex.EncodeToString(plain), hex.EncodeToString(ref.seal(plain)))
		}
		put("an IPv4 header", ipFrame(1, 22))
		put("protocol compressed to one octet", append([]byte{0x21}, ipFrame(2, 22)[2:]...))
		put("an IPv6 header", append([]byte{0x00, 0x57, 0x60}, make([]byte, 39)...))
		put("a length that is no multiple of eight", ipFrame(4, 39))
		if !p.Stateless {
			fmt.Fprint(&b, "\n# The peer asked for a reset: the count leaps to the flag packet 0x0ff.\nreset\n")
			ref.flush, ref.count = true, 0xff
			put("FLUSHED under a changed key", ipFrame(5, 22))
			put("its successor", ipFrame(6, 22))
		}
		name := strings.ReplaceAll(p.String(), " ", "-") + ".txt"
		if err := os.WriteFile(filepath.Join("testdata/golden", name), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
