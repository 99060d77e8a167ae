package radius

import (
	"encoding/binary"
	"iter"

	"layeh.com/radius/rfc2865"
)

const (
	vendorMicrosoft uint32 = 311
	vendorHeader           = 4                                        // RFC 2865 §5.26: the vendor's number
	maxVendorValue         = maxAttrValue - vendorHeader - attrHeader // 247
)

// Microsoft's types (RFC 2548 §2) that are looked for here and not through layeh's
// dictionary.
const (
	msCHAPResponse  = 1
	msCHAPCPW1      = 3
	msCHAPCPW2      = 4
	msCHAPNTEncPW   = 6
	msCHAPChallenge = 11
	msCHAPMPPEKeys  = 12
	msMPPESendKey   = 16
	msMPPERecvKey   = 17
	msCHAP2Response = 25
	msCHAP2CPW      = 27
)

// vendorAttributes walks one vendor's attributes in order; values are views into p.
// A Vendor-Specific may hold several (RFC 2865 §5.26). Where a length is wrong the
// rest of that one is left alone and the walk goes on behind it, so that it ends
// whatever came.
func vendorAttributes(p *Packet, vendor uint32) iter.Seq2[byte, Attribute] {
	return func(yield func(byte, Attribute) bool) {
		for _, a := range p.Attributes {
			if a.Type != rfc2865.VendorSpecific_Type || len(a.Attribute) < vendorHeader ||
				binary.BigEndian.Uint32(a.Attribute) != vendor {
				continue
			}
			for v := a.Attribute[vendorHeader:]; len(v) >= attrHeader; {
				n := int(v[1])
				if n < attrHeader || n > len(v) {
					break
				}
				if !yield(v[0], v[attrHeader:n:n]) {
					return
				}
				v = v[n:]
			}
		}
	}
}

func lookupVendor(p *Packet, vendor uint32, typ byte) (Attribute, bool) {
	for t, v := range vendorAttributes(p, vendor) {
		if t == typ {
			return v, true
		}
	}
	return nil, false
}

func addVendor(p *Packet, vendor uint32, typ byte, value []byte) error {
	if len(value) > maxVendorValue {
		return ErrValue
	}
	a := binary.BigEndian.AppendUint32(make(Attribute, 0, vendorHeader+attrHeader+len(value)), vendor)
	a = append(append(a, typ, byte(attrHeader+len(value))), value...)
	p.Add(rfc2865.VendorSpecific_Type, a)
	return nil
}
