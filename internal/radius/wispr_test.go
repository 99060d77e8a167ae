package radius

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestBandwidth(t *testing.T) {
	_, reply, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return AddBandwidth(p, 2_000_000, math.MaxUint32) })
	if up, down := GetBandwidth(got); up != 2_000_000 || down != math.MaxUint32 {
		t.Errorf("%d %d", up, down)
	}
	// Vendor 14122, types 7 and 8.
	const want = "1a0c" + "0000372a" + "0706" + "001e8480" + "1a0c" + "0000372a" + "0806" + "ffffffff"
	if s := hex.EncodeToString(reply); !strings.HasSuffix(s, want) {
		t.Errorf("on the wire %s", s)
	}
	p := NewRequest(CodeAccessRequest, testSecret)
	if err := errors.Join(AddBandwidth(p, 0, 0), AddBandwidth(p, 0, 5)); err != nil || len(p.Attributes) != 1 {
		t.Errorf("%v, %d attributes", err, len(p.Attributes))
	}
	if up, down := GetBandwidth(p); up != 0 || down != 5 {
		t.Errorf("%d %d", up, down)
	}
	for _, limits := range [][2]uint64{{math.MaxUint32 + 1, 1}, {1, math.MaxUint64}} {
		if err := AddBandwidth(p, limits[0], limits[1]); !errors.Is(err, ErrValue) || len(p.Attributes) != 1 {
			t.Errorf("%v: %v", limits, err)
		}
	}
	if err := AddBandwidthChange(p, 1<<32, 0); !errors.Is(err, ErrValue) || len(p.Attributes) != 1 {
		t.Error(err)
	}
	q := NewRequest(CodeCoARequest, testSecret)
	if err := AddBandwidthChange(q, 0, 7); err != nil || len(q.Attributes) != 2 {
		t.Errorf("a change: %v, %d attributes", err, len(q.Attributes))
	}
	if up, down := GetBandwidth(q); up != 0 || down != 7 {
		t.Errorf("a change: %d %d", up, down)
	}
	p = NewRequest(CodeAccessRequest, testSecret)
	_ = addVendor(p, vendorWISPr, wisprBandwidthMaxUp, []byte{1, 2, 3})
	if up, down := GetBandwidth(p); up != 0 || down != 0 {
		t.Errorf("misshapen: %d %d", up, down)
	}
}
