package radius

import "encoding/binary"

// vendorOurs marks attributes between our own nodes and services; others pass over
// them (RFC 2865 §5.26). It is a number that is far from those the IANA gives out, one
// after the other.
const vendorOurs uint32 = 0x504f53

// Types of vendorOurs.
const (
	ourDisconnectCode = 1 // two octets: RFC 3145 §3
)

// AddDisconnectCode adds to an Accounting Stop why the PPP link ended, for which
// Acct-Terminate-Cause has eighteen words; zero, no information, is not worth a place.
func AddDisconnectCode(p *Packet, code uint16) error {
	if code == 0 {
		return nil
	}
	return addVendor(p, vendorOurs, ourDisconnectCode, binary.BigEndian.AppendUint16(nil, code))
}

// GetDisconnectCode reads it; what is absent or misshapen is zero.
func GetDisconnectCode(p *Packet) uint16 {
	v, _ := lookupVendor(p, vendorOurs, ourDisconnectCode)
	if len(v) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(v)
}
