package radius

import (
	"bytes"
	"testing"

	"layeh.com/radius/rfc2865"
)

func TestDisconnectCode(t *testing.T) {
	for _, code := range []uint16{0, 1, 16, 1<<16 - 1} {
		p := &Packet{Code: CodeAccountingRequest}
		if err := AddDisconnectCode(p, code); err != nil || GetDisconnectCode(p) != code {
			t.Errorf("%d: %d, %v", code, GetDisconnectCode(p), err)
		}
	}
	p := &Packet{Code: CodeAccountingRequest}
	if err := AddDisconnectCode(p, 16); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0, 'P', 'O', 'S', 1, 4, 0, 16}; !bytes.Equal(p.Get(rfc2865.VendorSpecific_Type), want) {
		t.Errorf("% x, want % x", p.Get(rfc2865.VendorSpecific_Type), want)
	}
	for _, bad := range [][]byte{{0, 'P', 'O', 'S', 1, 3, 16}, {0, 'P', 'O', 'S', 1, 5, 0, 0, 16}, {0, 'P', 'O', 'S', 1, 9, 0, 16}, {0, 'P', 'O', 'S'}} {
		p := &Packet{}
		p.Add(rfc2865.VendorSpecific_Type, bad)
		if got := GetDisconnectCode(p); got != 0 {
			t.Errorf("% x: %d", bad, got)
		}
	}
}
