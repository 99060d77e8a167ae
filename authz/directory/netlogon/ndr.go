package netlogon

import (
	"encoding/binary"
	"unicode/utf16"
)

// The little of NDR (C706 chapter 14) that the plain calls need: little-endian,
// every value aligned to its size.

type encoder struct{ b []byte }

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) octets(b []byte) { e.b = append(e.b, b...) }

func (e *encoder) uint16(v uint16) {
	e.align(2)
	e.b = binary.LittleEndian.AppendUint16(e.b, v)
}

func (e *encoder) uint32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

// text is a conformant and varying string with its NUL (C706 §14.3.4.2).
func (e *encoder) text(s string) {
	units := append(utf16.Encode([]rune(s)), 0)
	e.uint32(uint32(len(units)))
	e.uint32(0)
	e.uint32(uint32(len(units)))
	for _, u := range units {
		e.b = binary.LittleEndian.AppendUint16(e.b, u)
	}
}

// decoder reads what an encoder wrote. Past the end it gives zeros and short is set.
type decoder struct {
	b     []byte
	off   int
	short bool
}

func (d *decoder) align(n int) {
	for d.off%n != 0 {
		d.off++
	}
}

// octets returns a view of the next n octets, or nil.
func (d *decoder) octets(n uint32) []byte {
	if d.off > len(d.b) || uint64(n) > uint64(len(d.b)-d.off) {
		d.short = true
		return nil
	}
	v := d.b[d.off : d.off+int(n) : d.off+int(n)]
	d.off += int(n)
	return v
}

func (d *decoder) uint16() uint16 {
	d.align(2)
	if b := d.octets(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	d.align(4)
	if b := d.octets(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// done says whether everything was there, and nothing more.
func (d *decoder) done() bool { return !d.short && d.off == len(d.b) }
