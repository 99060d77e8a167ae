package ppp

import "fmt"

// Proto is a PPP protocol number (RFC 1661 §2).
//
// Handled in: protoNames below, the session's dispatch.
type Proto uint16

const (
	ProtoUnknown Proto = 0
	ProtoIP      Proto = 0x0021
	ProtoVJComp  Proto = 0x002D // RFC 1332 §4; we reject the option, so never carried
	ProtoVJUncmp Proto = 0x002F
	ProtoIPv6    Proto = 0x0057
	ProtoMPPE    Proto = 0x00FD // RFC 1962 §2 "compressed datagram": with MPPE an encrypted one
	ProtoIPCP    Proto = 0x8021
	ProtoIPV6CP  Proto = 0x8057
	ProtoCCP     Proto = 0x80FD
	ProtoACSCP   Proto = 0x8235 // Apple Client Server Protocol Control: macOS asks for it
	ProtoLCP     Proto = 0xC021
	ProtoPAP     Proto = 0xC023
	ProtoLQR     Proto = 0xC025
	ProtoCBCP    Proto = 0xC029
	ProtoCHAP    Proto = 0xC223
	ProtoEAP     Proto = 0xC227
)

var protoNames = map[Proto]string{
	ProtoIP: "IP", ProtoVJComp: "VJ compressed", ProtoVJUncmp: "VJ uncompressed",
	ProtoIPv6: "IPv6", ProtoMPPE: "MPPE", ProtoIPCP: "IPCP", ProtoIPV6CP: "IPV6CP",
	ProtoCCP: "CCP", ProtoACSCP: "ACSCP", ProtoLCP: "LCP", ProtoPAP: "PAP",
	ProtoLQR: "LQR", ProtoCBCP: "CBCP", ProtoCHAP: "CHAP", ProtoEAP: "EAP",
}

// String names the protocol for logs.
func (p Proto) String() string {
	if s, ok := protoNames[p]; ok {
		return s
	}
	return fmt.Sprintf("protocol 0x%04x", uint16(p))
}

// IsControl reports whether p is a control protocol: the NCPs (0x8000-0xBFFF) and
// the link-layer protocols (0xC000-0xFFFF) of RFC 1661 §2. They are never
// encrypted: MPPE takes 0x0021 to 0x00FA only (RFC 3078 §3).
func IsControl(p Proto) bool { return p >= 0x8000 }

// wellFormed tells the numbers RFC 1661 §2 allows: an even first octet, an odd second.
func (p Proto) wellFormed() bool { return p&0x0101 == 0x0001 }
