package pptp

import (
	"encoding/binary"
	"slices"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
)

// typeFilterRule is NAS-Filter-Rule (RFC 4849 §2).
const typeFilterRule radius.Type = 92

// vendorAttribute names an attribute of a vendor's.
type vendorAttribute struct {
	vendor uint32
	typ    byte
}

// Those that a CoA-Request may carry: [MS-RNAP] §2.2.1.3, WISPr 1.0 annex D.
var (
	quarantineTimeout = vendorAttribute{311, 37}
	quarantineURL     = vendorAttribute{14122, 4}
	bandwidthUp       = vendorAttribute{14122, 7}
	bandwidthDown     = vendorAttribute{14122, 8}
)

// typed is one attribute within a Vendor-Specific; value is a view.
type typed struct {
	typ   byte
	value []byte
}

// vendorAttributes takes a Vendor-Specific apart (RFC 2865 §5.26). What does not come
// apart without a rest is refused: in a request to change a session every attribute
// is mandatory.
func vendorAttributes(v []byte) (vendor uint32, all []typed, err error) {
	const header = 4
	if len(v) < header {
		return 0, nil, radius.CauseInvalidValue
	}
	vendor = binary.BigEndian.Uint32(v)
	for v = v[header:]; len(v) > 0; {
		if len(v) < 2 || v[1] < 2 || int(v[1]) > len(v) {
			return 0, nil, radius.CauseInvalidValue
		}
		n := int(v[1])
		all = append(all, typed{v[0], v[2:n:n]})
		v = v[n:]
	}
	return vendor, all, nil
}

// carries tells whether p has one of these. What does not come apart has none.
func carries(p *radius.Packet, wanted ...vendorAttribute) bool {
	for _, a := range p.Attributes {
		if a.Type != rfc2865.VendorSpecific_Type {
			continue
		}
		vendor, all, err := vendorAttributes(a.Attribute)
		if err == nil && slices.ContainsFunc(all, func(one typed) bool { return slices.Contains(wanted, vendorAttribute{vendor, one.typ}) }) {
			return true
		}
	}
	return false
}
