package chap

import (
	"bytes"
	"testing"
)

func FuzzChallenge(f *testing.F) {
	for _, g := range readGolden(f) {
		if p, err := parsePacket(g.packet); err == nil {
			f.Add(p.Data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseChallenge(b); err == nil && !bytes.Equal(c.Append(nil), b) {
			t.Fatalf("%x is written as %x", b, c.Append(nil))
		}
	})
}
