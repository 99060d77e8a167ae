package netlogon

import (
	"bytes"
	"testing"
)

func TestEncoder(t *testing.T) {
	var e encoder
	e.octets([]byte{1})
	e.uint16(0x0302)
	e.text("Ä😀")
	e.octets([]byte{9})
	e.uint32(0x0d0c0b0a)
	want := unhex(t, "01 00 0203 04000000 00000000 04000000 c400 3dd8 00de 0000 09 000000 0a0b0c0d")
	if !bytes.Equal(e.b, want) {
		t.Errorf("%x\nwant %x", e.b, want)
	}
}

func TestDecoder(t *testing.T) {
	d := decoder{b: unhex(t, "01 00 0203 0a0b0c0d 07")}
	if got := d.octets(1); !bytes.Equal(got, []byte{1}) {
		t.Error(got)
	}
	if a, b := d.uint16(), d.uint32(); a != 0x0302 || b != 0x0d0c0b0a || d.short || d.done() {
		t.Errorf("%x %x %+v", a, b, d)
	}
	if d.octets(1); !d.done() {
		t.Errorf("%+v", d)
	}
	// Past the end, also far past it, there is nothing.
	if v := d.uint32(); v != 0 || !d.short || d.done() {
		t.Errorf("%x %+v", v, d)
	}
	if v := d.octets(1<<32 - 1); v != nil {
		t.Error(v)
	}
	if v := d.uint16(); v != 0 {
		t.Error(v)
	}
}
