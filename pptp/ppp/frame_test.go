package ppp

import (
	"bytes"
	"testing"
)

func TestAppendHeader(t *testing.T) {
	for _, c := range []struct {
		p         Proto
		acfc, pfc bool
		want      []byte
	}{
		{ProtoIP, false, false, []byte{0xFF, 3, 0, 0x21}},
		{ProtoIP, true, false, []byte{0, 0x21}},
		{ProtoIP, false, true, []byte{0xFF, 3, 0x21}},
		{ProtoMPPE, true, true, []byte{0xFD}},
		{ProtoIPCP, true, true, []byte{0x80, 0x21}}, // two octets: no short form
		{ProtoLCP, true, true, []byte{0xFF, 3, 0xC0, 0x21}},
	} {
		if got := AppendHeader(nil, c.p, c.acfc, c.pfc); !bytes.Equal(got, c.want) {
			t.Errorf("%s %v %v: %x, want %x", c.p, c.acfc, c.pfc, got, c.want)
		}
	}
}

func TestIsControl(t *testing.T) {
	for p, want := range map[Proto]bool{
		ProtoIP: false, ProtoIPv6: false, ProtoMPPE: false, ProtoVJComp: false,
		ProtoIPCP: true, ProtoCCP: true, ProtoLCP: true, ProtoCHAP: true, ProtoACSCP: true, ProtoEAP: true,
	} {
		if IsControl(p) != want {
			t.Errorf("%s", p)
		}
	}
}

// The data path's two calls allocate nothing.
func TestFramingAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 64)
	frame := []byte{0xFF, 3, 0, 0xFD, 1, 2, 3, 4}
	if n := testing.AllocsPerRun(100, func() {
		p, payload, err := ParseFrame(frame)
		if err != nil || len(payload) != 4 {
			t.Fatal(err)
		}
		buf = AppendHeader(buf[:0], p, true, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, g := range readGolden(f) {
		f.Add(g.frame)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, payload, err := ParseFrame(b)
		if err != nil {
			if p != ProtoUnknown || payload != nil {
				t.Fatalf("an error and %s %x", p, payload)
			}
			return
		}
		// What was accepted is one of the four ways to write it.
		for _, form := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
			if out := append(AppendHeader(nil, p, form[0], form[1]), payload...); bytes.Equal(out, b) {
				_ = Packet{p, payload}.String()
				return
			}
		}
		if p == ProtoLCP && bytes.HasPrefix(b, []byte{0xC0, 0x21}) { // taken short, never sent so
			return
		}
		t.Fatalf("%x read as %s %x", b, p, payload)
	})
}
