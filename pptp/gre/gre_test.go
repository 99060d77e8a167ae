package gre

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestParse(t *testing.T) {
	for _, p := range readGolden(t, "header.txt") {
		t.Run(p.name, func(t *testing.T) {
			want := parseErrors[p.fails]
			if p.fails == "protocol" {
				want = ErrProtocol
			} else if want == nil && p.fails != "" {
				t.Fatalf("no error is called %q", p.fails)
			}
			h, err := Parse(p.octets)
			if !errors.Is(err, want) {
				t.Fatalf("error %v, want %v", err, want)
			}
			if err != nil {
				return
			}
			got := fmt.Sprintf("{CallID:%d HasSeq:%t HasAck:%t Seq:%d Ack:%d} %s",
				h.CallID, h.HasSeq, h.HasAck, h.Seq, h.Ack, octets(h.Payload))
			if got != p.reads {
				t.Errorf("reads\n%s, want\n%s", got, p.reads)
			}
			if again := encode(&h); bytes.Equal(again, p.octets) == p.lossy {
				t.Errorf("again %x, was %x", again, p.octets)
			}
			if cap(h.Payload) != len(h.Payload) {
				t.Error("the payload has room to append, over what is not ours")
			}
		})
	}
}

func encode(h *Header) []byte {
	buf := append(make([]byte, MaxHeader), h.Payload...)
	return buf[Prepend(buf, MaxHeader, h.CallID, h.HasSeq, h.Seq, h.HasAck, h.Ack):]
}

func TestPrependLeavesRoom(t *testing.T) {
	buf := bytes.Repeat([]byte{0xee}, 40)
	if off := Prepend(buf, 30, 1, false, 9, true, 2); off != 18 {
		t.Errorf("begins at %d", off)
	}
	if !bytes.Equal(buf[:18], bytes.Repeat([]byte{0xee}, 18)) || !bytes.Equal(buf[30:], bytes.Repeat([]byte{0xee}, 10)) {
		t.Errorf("written outside: %x", buf)
	}
}

func TestPrependRefuses(t *testing.T) {
	for _, tt := range []struct{ size, off int }{{40, 15}, {40, 41}, {40, -1}, {MaxHeader + 65536, MaxHeader}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d octets with %d in front went through", tt.size, tt.off)
				}
			}()
			Prepend(make([]byte, tt.size), tt.off, 1, true, 1, true, 1)
		}()
	}
	Prepend(make([]byte, MaxHeader+65535), MaxHeader, 1, true, 1, true, 1)
}

func FuzzParse(f *testing.F) {
	for _, p := range readGolden(f, "header.txt") {
		f.Add(p.octets)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil {
			if h.Payload != nil || h.CallID != 0 || h.Seq != 0 || h.Ack != 0 || h.HasSeq || h.HasAck {
				t.Fatalf("%v, and yet %+v", err, h)
			}
			return
		}
		again := encode(&h)
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func TestHeaderAllocatesNothing(t *testing.T) {
	buf := make([]byte, 1400)
	seq := uint32(0)
	if n := testing.AllocsPerRun(100, func() {
		seq++
		off := Prepend(buf, MaxHeader, 7, true, seq, true, seq)
		h, err := Parse(buf[off:])
		if err != nil || h.Seq != seq || h.Ack != seq || len(h.Payload) != len(buf)-MaxHeader {
			t.Fatalf("%+v, %v", h, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkParse(b *testing.B) {
	buf := make([]byte, 1400)
	off := Prepend(buf, MaxHeader, 7, true, 1, true, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(buf[off:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrepend(b *testing.B) {
	buf := make([]byte, 1400)
	b.ReportAllocs()
	for b.Loop() {
		Prepend(buf, MaxHeader, 7, true, 1, true, 1)
	}
}
