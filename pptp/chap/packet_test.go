package chap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// read parses a packet down to its last field, writes it again and describes
// it; what both machines do with a packet, in one place for tests.
func read(b []byte) (text string, again []byte, err error) {
	p, err := parsePacket(b)
	if err != nil {
		return "", nil, err
	}
	switch p.Code {
	case CodeChallenge:
		c, err := parseChallenge(p.Data)
		if err != nil {
			return "", nil, err
		}
		text = fmt.Sprintf("%v id=%d value=%x name=%q", p.Code, p.Ident, c.Value, c.Name)
		p.Data = c.Append(nil)
	case CodeResponse:
		r, err := parseResponse(p.Data)
		if err != nil {
			return "", nil, err
		}
		text = fmt.Sprintf("%v id=%d peer=%x nt=%x name=%q", p.Code, p.Ident, r.PeerChallenge, r.NTResponse, r.Name)
		p.Data = r.Append(nil)
	case CodeChangePassword:
		c, err := parseChange(p.Data)
		if err != nil {
			return "", nil, err
		}
		text = fmt.Sprintf("%v id=%d password=%x… hash=%x peer=%x nt=%x", p.Code, p.Ident, c.EncryptedPassword[:8], c.EncryptedHash, c.PeerChallenge, c.NTResponse)
		p.Data = c.Append(nil)
	case CodeSuccess, CodeFailure:
		text = fmt.Sprintf("%v id=%d text=%q", p.Code, p.Ident, p.Data)
	default:
		return "", nil, ErrCode
	}
	return text, p.Append(nil), nil
}

type golden struct {
	where  string
	packet []byte
	reads  string
	err    error
}

var goldenErrors = map[string]error{
	"length": ErrLength, "code": ErrCode, "value": ErrValue, "flags": ErrFlags, "name": ErrName,
}

func readGolden(tb testing.TB) (all []golden) {
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(paths) < 3 {
		tb.Fatalf("golden files: %v %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		var b []byte
		for i, line := range strings.Split(string(text), "\n") {
			where := fmt.Sprintf("%s:%d", path, i+1)
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "", "#":
			case "packet":
				if b, err = hex.DecodeString(rest); err != nil {
					tb.Fatalf("%s: %v", where, err)
				}
			case "reads":
				all = append(all, golden{where, b, rest, nil})
			case "refused":
				if goldenErrors[rest] == nil {
					tb.Fatalf("%s: no such error", where)
				}
				all = append(all, golden{where, b, "", goldenErrors[rest]})
			default:
				tb.Fatalf("%s: %q", where, line)
			}
		}
	}
	return all
}

func TestGolden(t *testing.T) {
	for _, g := range readGolden(t) {
		text, again, err := read(g.packet)
		if !errors.Is(err, g.err) || text != g.reads {
			t.Errorf("%s: %s, %v", g.where, text, err)
		}
		if err == nil && !bytes.HasPrefix(g.packet, again) {
			t.Errorf("%s: written again as %x", g.where, again)
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, g := range readGolden(f) {
		f.Add(g.packet)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text, again, err := read(b)
		if err == nil && !bytes.HasPrefix(b, again) {
			t.Fatalf("%x reads %s and is written as %x", b, text, again)
		}
	})
}

func TestNames(t *testing.T) {
	for c, want := range map[Code]string{CodeUnknown: "Code(0)", CodeResponse: "Response", CodeChangePassword: "Change-Password", 9: "Code(9)"} {
		if c.String() != want {
			t.Errorf("code %d is called %q", uint8(c), c)
		}
	}
	seen := map[string]bool{}
	for r := ReasonUnknown; r <= NoRandomness; r++ {
		if seen[r.String()] {
			t.Errorf("two reasons are called %q", r)
		}
		seen[r.String()] = true
	}
	if Reason(99).String() != ReasonUnknown.String() {
		t.Error("a reason that is none has a name")
	}
}

func TestTextPacketBounded(t *testing.T) {
	p, err := parsePacket(textPacket(CodeFailure, 1, strings.Repeat("x", 1<<17)))
	if err != nil || len(p.Data) != maxText {
		t.Errorf("%d octets, %v", len(p.Data), err)
	}
}
