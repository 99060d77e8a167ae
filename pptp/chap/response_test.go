package chap

import (
	"bytes"
	"testing"
)

func FuzzResponse(f *testing.F) {
	for _, g := range readGolden(f) {
		if p, err := parsePacket(g.packet); err == nil {
			f.Add(p.Data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseResponse(b); err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Fatalf("%x is written as %x", b, r.Append(nil))
		}
	})
}
