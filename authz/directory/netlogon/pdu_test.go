package netlogon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
)

func TestParsePDU(t *testing.T) {
	for _, g := range readGolden(t, "pdu.txt") {
		t.Run(g.name, func(t *testing.T) {
			p, n, err := parsePDU(g.octets)
			if !errors.Is(err, parseErrors[g.fails]) || err != nil && g.fails == "" {
				t.Fatalf("error %v, want %q", err, g.fails)
			}
			if err != nil {
				return
			}
			if n != len(g.octets) {
				t.Errorf("%d octets of %d", n, len(g.octets))
			}
			if got := fmt.Sprintf("%s call %d flags 0x%02x body %d auth %d", p.kind, p.call, p.flags, len(p.body), len(p.auth)); got != g.reads {
				t.Errorf("reads %s\nwant  %s", got, g.reads)
			}
			if again := p.Append(nil); !bytes.Equal(again, g.octets) {
				t.Errorf("again %x", again)
			}
			// One octet at a time, with others behind it, a stream gives the same.
			stream := iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(g.octets), 1, 2, 3)))
			q, octets, err := readPDU(stream, nil)
			if err != nil || q.kind != p.kind || !bytes.Equal(octets, g.octets) {
				t.Errorf("from a stream: %v %x", err, octets)
			}
		})
	}
}

func TestReadPDUEnds(t *testing.T) {
	whole := unhex(t, "05000203100000002400000002000000 0c00000000000000b8f3fb5835962c7300000000")
	for n := range whole {
		_, _, err := readPDU(bytes.NewReader(whole[:n]), nil)
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Errorf("%d octets: %v, want %v", n, err, want)
		}
	}
}

func TestBindAck(t *testing.T) {
	good := unhex(t, "b810b810 27170000 0400 31333500 0000 01000000 0000 0000 045d888aeb1cc9119fe808002b10486002000000")
	if err := parseBindAck(good); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name string
		edit func(b []byte) []byte
		want error
	}{
		{"rejected by the provider", func(b []byte) []byte { b[20] = 2; b[22] = 1; return b }, errBindRefused},
		{"no result", func(b []byte) []byte { b[16] = 0; return b }, errShortPDU},
		{"fragments of no size", func(b []byte) []byte { b[0], b[1] = 0, 0; return b }, errBadPDU},
		{"an address longer than the PDU", func(b []byte) []byte { b[9] = 0xff; return b }, errShortPDU},
		{"cut off", func(b []byte) []byte { return b[:len(b)-1] }, errShortPDU},
		{"empty", func([]byte) []byte { return nil }, errShortPDU},
	} {
		if err := parseBindAck(c.edit(bytes.Clone(good))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"2000000000000000 05000000 00000000", "RPC fault 0x00000005: access denied"},
		{"2000000000000000 0200011c 00000000", "RPC fault 0x1C010002: no such call"},
		{"2000000000000000 78563412 00000000", "RPC fault 0x12345678"},
		{"20000000000000", errShortPDU.Error()},
	} {
		if err := parseFault(unhex(t, c.body)); err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	// A status in a fault is no status: nothing protects it.
	var s Status
	if errors.As(parseFault(unhex(t, "2000000000000000 6a0000c0 00000000")), &s) {
		t.Error("a fault passes for a DC's answer")
	}
}

func TestPDUNames(t *testing.T) {
	for k := range pduFixed {
		if _, ok := pduNames[k]; !ok {
			t.Errorf("type %d has no name", k)
		}
	}
	if got := pduType(99).String(); got != "PDU of type 99" {
		t.Error(got)
	}
}

func FuzzPDU(f *testing.F) {
	for _, g := range readGolden(f, "pdu.txt") {
		f.Add(g.octets)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := parsePDU(b)
		if err != nil {
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b[:n]) {
			t.Errorf("%x reads as %x", b[:n], again)
		}
		if len(p.body) < pduFixed[p.kind] {
			t.Errorf("%s with a body of %d octets", p.kind, len(p.body))
		}
		if admit(&p, true) == nil && admit(&p, false) == nil && p.kind != pduFault && p.kind != pduShutdown {
			t.Errorf("%s is admitted before and after the bind", p.kind)
		}
		_ = parseBindAck(p.body)
		_ = parseFault(p.body)
	})
}
