package radius

import (
	"slices"
	"testing"

	"layeh.com/radius/rfc2865"
)

func someChange() (challenge [16]byte, c MSCHAP2CPW) {
	c = MSCHAP2CPW{Ident: 9, EncryptedHash: [16]byte{1, 15: 2}, PeerChallenge: [16]byte{3, 15: 4}, NTResponse: [24]byte{5, 23: 6}, Flags: 0}
	for i := range c.EncryptedPassword {
		c.EncryptedPassword[i] = byte(i) ^ byte(i>>8)
	}
	return [16]byte{7, 15: 8}, c
}

func changePacket(t testing.TB) *Packet {
	p := NewRequest(CodeAccessRequest, testSecret)
	challenge, c := someChange()
	if err := AddMSCHAP2CPW(p, &challenge, &c); err != nil {
		t.Fatal(err)
	}
	return p
}

// changeOnTheWire is what FuzzMSAttributes cuts into Vendor-Specific attributes
// again: full ones first, as it cuts by length alone.
func changeOnTheWire(t testing.TB) []byte {
	var full, rest []byte
	for _, a := range changePacket(t).Attributes {
		switch {
		case a.Type != rfc2865.VendorSpecific_Type:
		case len(a.Attribute) == maxAttrValue:
			full = append(full, a.Attribute...)
		case rest == nil:
			rest = slices.Clone(a.Attribute)
		default: // several in one Vendor-Specific
			rest = append(rest, a.Attribute[vendorHeader:]...)
		}
	}
	return append(full, rest...)
}

func TestMSCHAP2CPW(t *testing.T) {
	p := changePacket(t)
	challenge, want := someChange()
	// RFC 2548 §2.3.4: type 27, length 70, code 7, Ident, hash, challenge, reserved,
	// response, flags.
	v := p.Attributes[1].Attribute
	if len(v) != 4+70 || v[3] != 0x37 || v[4] != 27 || v[5] != 70 || v[6] != 7 || v[7] != 9 || v[8] != 1 || v[23] != 2 ||
		v[24] != 3 || v[39] != 4 || v[40] != 0 || v[47] != 0 || v[48] != 5 || v[71] != 6 || v[72] != 0 || v[73] != 0 {
		t.Errorf("on the wire % x", v)
	}
	// §2.2: type 6, code 6, Ident, sequence numbers from 1, as FreeRADIUS reads them.
	lengths := []int{243, 243, 30}
	for i, a := range p.Attributes[2:] {
		v := a.Attribute
		if i >= len(lengths) || len(v) != 4+6+lengths[i] || v[4] != 6 || int(v[5]) != 6+lengths[i] || v[6] != 6 || v[7] != 9 || v[8] != 0 || int(v[9]) != i+1 {
			t.Fatalf("fragment %d: % x", i, v)
		}
	}
	gotChallenge, got, ok := GetMSCHAP2CPW(p)
	if !ok || gotChallenge != challenge || got != want || !carriesMSCHAP(p) {
		t.Errorf("%v %+v %v", gotChallenge, got, ok)
	}
	slices.Reverse(p.Attributes)
	if _, got, ok := GetMSCHAP2CPW(p); !ok || got != want {
		t.Error("the order of attributes matters")
	}
	packed := NewRequest(CodeAccessRequest, testSecret)
	for b := changeOnTheWire(t); len(b) > 0; {
		n := min(len(b), maxAttrValue)
		packed.Add(rfc2865.VendorSpecific_Type, b[:n])
		b = b[n:]
	}
	if _, got, ok := GetMSCHAP2CPW(packed); !ok || got != want || len(packed.Attributes) != 3 {
		t.Error("several in one Vendor-Specific are not read")
	}
	p.Attributes = p.Attributes[:2] // fragments, by now
	if !carriesMSCHAP(p) {
		t.Error("fragments alone may go by UDP")
	}
}

// What is not whole is no change at all.
func TestMSCHAP2CPWRefused(t *testing.T) {
	for about, spoil := range map[string]func(p *Packet){
		"no challenge":            func(p *Packet) { p.Attributes = slices.Delete(p.Attributes, 0, 1) },
		"challenge of version 1":  func(p *Packet) { p.Attributes[0].Attribute = unhex(t, "00000137 0b 0a 0102030405060708") },
		"no change":               func(p *Packet) { p.Attributes = slices.Delete(p.Attributes, 1, 2) },
		"two changes":             func(p *Packet) { p.Attributes = append(p.Attributes, p.Attributes[1]) },
		"another code":            func(p *Packet) { p.Attributes[1].Attribute[6] = 6 },
		"another fragment code":   func(p *Packet) { p.Attributes[3].Attribute[6] = 7 },
		"fragment of another one": func(p *Packet) { p.Attributes[3].Attribute[7]++ },
		"first missing":           func(p *Packet) { p.Attributes = slices.Delete(p.Attributes, 2, 3) },
		"last missing":            func(p *Packet) { p.Attributes = p.Attributes[:4] },
		"all missing":             func(p *Packet) { p.Attributes = p.Attributes[:2] },
		"one twice":               func(p *Packet) { p.Attributes = append(p.Attributes, p.Attributes[3]) },
		"counted from 0": func(p *Packet) {
			for _, a := range p.Attributes[2:] {
				a.Attribute[9]--
			}
		},
		"a gap":    func(p *Packet) { p.Attributes[4].Attribute[9]++ },
		"too long": func(p *Packet) { _ = addVendor(p, vendorMicrosoft, msCHAPNTEncPW, []byte{6, 9, 0, 4, 0}) },
		"an empty fragment": func(p *Packet) {
			_ = addVendor(p, vendorMicrosoft, msCHAPNTEncPW, []byte{6, 9, 0, 4})
		},
	} {
		p := changePacket(t)
		spoil(p)
		if _, got, ok := GetMSCHAP2CPW(p); ok || got != (MSCHAP2CPW{}) {
			t.Errorf("%s: taken, or left behind: % x", about, got.EncryptedHash)
		}
	}
}
