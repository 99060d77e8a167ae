package radius

import (
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
)

func TestNodeHealth(t *testing.T) {
	want := NodeHealth{
		At: time.UnixMilli(1_700_000_000_123).UTC(), Boot: "3f2a", Version: "v1.2.3", State: NodeDraining, Sessions: 200, Calls: 210, Starting: 10,
		Spooled: 3, Load: 1.25, CPUs: 8, Dropped: 1 << 40, Stray: 7,
	}
	p := &Packet{Code: CodeStatusServer}
	if err := AddNodeHealth(p, &want); err != nil {
		t.Fatal(err)
	}
	if got, ok := ReadNodeHealth(p); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, ok := ReadNodeHealth(&Packet{Code: CodeStatusServer}); ok || got != (NodeHealth{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// What has another shape, or is of a later release, is passed over.
func TestNodeHealthOdd(t *testing.T) {
	p := &Packet{Code: CodeStatusServer}
	for _, a := range []struct {
		typ byte
		v   string
	}{
		{nodeTime, "\xff\xff\xff\xff\xff\xff\xff\xff"}, {nodeVersion, "\x1b[2J"}, {nodeVersion, strings.Repeat("x", maxNodeText+1)},
		{nodeSessions, "\xff\xff\xff\xff"}, {nodeCalls, "\x01"}, {nodeState, "\x00\x00\x00\x09"}, {nodeDropped, "\x00\x00\x00\x01"}, {200, "what is this"},
	} {
		if err := addVendor(p, vendorPostern, a.typ, []byte(a.v)); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := ReadNodeHealth(p); ok || got != (NodeHealth{}) {
		t.Errorf("%+v, %v", got, ok)
	}
}

func TestDuty(t *testing.T) {
	for _, d := range []struct{ said, want Duty }{
		{Duty{}, Duty{}},
		{Duty{State: NodeServing, Rate: 7}, Duty{State: NodeServing}},
		{Duty{State: NodeDraining, Rate: 60, Wait: 30 * time.Second}, Duty{State: NodeDraining, Rate: 60, Wait: 30 * time.Second}},
		{Duty{State: NodeDraining, Rate: 1 << 30, Wait: 1000 * time.Hour}, Duty{State: NodeDraining, Rate: MaxDrainRate, Wait: MaxDrainWait}},
		{Duty{State: NodeDrained}, Duty{}},
	} {
		p := &Packet{Code: CodeAccessAccept}
		if err := AddDuty(p, d.said); err != nil {
			t.Fatal(err)
		}
		if got := ReadDuty(p); got != d.want {
			t.Errorf("%+v: %+v, not %+v", d.said, got, d.want)
		}
	}
}

func FuzzNode(f *testing.F) {
	p := &Packet{Code: CodeStatusServer}
	if err := AddNodeHealth(p, &NodeHealth{At: time.UnixMilli(1), Boot: "b", Version: "v", State: NodeServing}); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(p.Attributes[0].Attribute))
	f.Add([]byte(p.Attributes[1].Attribute))
	f.Add([]byte("\x00\x00\x7e\xd9\x20\x06\x00\x00\x00\x02\x21\x06\xff\xff\xff\xff\x22\x02\x00"))
	f.Fuzz(func(t *testing.T, v []byte) {
		p := &Packet{Code: CodeStatusServer}
		p.Add(rfc2865.VendorSpecific_Type, v)
		if h, ok := ReadNodeHealth(p); ok {
			q := &Packet{Code: CodeStatusServer}
			if err := AddNodeHealth(q, &h); err != nil {
				t.Fatal(err)
			}
			if again, _ := ReadNodeHealth(q); again != h {
				t.Errorf("%+v, then %+v", h, again)
			}
		}
		d := ReadDuty(p)
		q := &Packet{Code: CodeAccessAccept}
		if err := AddDuty(q, d); err != nil {
			t.Fatal(err)
		}
		if again := ReadDuty(q); again != d {
			t.Errorf("%+v, then %+v", d, again)
		}
	})
}
