package ppp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// optionNames are the options' names in logs, as pppd writes most of them.
var optionNames = map[Proto]map[uint8]string{
	ProtoLCP: {
		lcpMRU: "mru", lcpACCM: "asyncmap", lcpAuth: "auth", lcpQuality: "quality", lcpMagic: "magic",
		lcpPFC: "pcomp", lcpACFC: "accomp", lcpCallback: "callback", lcpMRRU: "mrru",
		lcpEndpoint: "endpoint", lcpLinkDisc: "link-discriminator",
	},
	ProtoCCP: {ccpMPPE: "mppe", 0: "oui", 1: "predictor 1", 2: "predictor 2", 17: "stac", 21: "bsd", 26: "deflate"},
	ProtoIPCP: {
		ipcpAddresses: "addresses", ipcpCompression: "compression", ipcpAddress: "addr", ipcpMobile: "mobile",
		ipcpDNS1: "dns1", ipcpNBNS1: "wins1", ipcpDNS2: "dns2", ipcpNBNS2: "wins2",
	},
}

// String describes the packet for debug logs:
// "LCP Configure-Request id 1 <mru 1400> <magic 0x01020304>". Of protocols that
// carry proofs (CHAP, PAP, EAP) it tells the protocol and the length only.
func (p Packet) String() string {
	q, err := parsePacket(p.Data)
	names, known := optionNames[p.Proto]
	switch {
	case !known:
		return fmt.Sprintf("%s %d octets", p.Proto, len(p.Data))
	case err != nil:
		return fmt.Sprintf("%s malformed: %v", p.Proto, err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s id %d", p.Proto, q.code, q.id)
	switch q.code {
	case CodeConfigureRequest, CodeConfigureAck, CodeConfigureNak, CodeConfigureReject:
		if err := checkOptions(q.data); err != nil {
			fmt.Fprintf(&out, " malformed: %v", err)
			break
		}
		for o := range options(q.data) {
			fmt.Fprintf(&out, " <%s>", o.describe(p.Proto, names))
		}
	case CodeTerminateRequest:
		fmt.Fprintf(&out, " %q", printable(q.data))
	case CodeProtocolReject:
		if len(q.data) >= 2 {
			fmt.Fprintf(&out, " of %s", Proto(binary.BigEndian.Uint16(q.data)))
		}
	case CodeCodeReject:
		if len(q.data) >= 1 {
			fmt.Fprintf(&out, " of %s", Code(q.data[0]))
		}
	default:
		if len(q.data) > 0 {
			fmt.Fprintf(&out, " %d octets", len(q.data))
		}
	}
	return out.String()
}

func (o option) describe(p Proto, names map[uint8]string) string {
	name, ok := names[o.typ]
	if !ok {
		name = fmt.Sprintf("option %d", o.typ)
	}
	v := o.value
	switch {
	case len(v) == 0:
		return name
	case p == ProtoLCP && o.typ == lcpMRU && len(v) == 2:
		return fmt.Sprintf("%s %d", name, binary.BigEndian.Uint16(v))
	case p == ProtoLCP && o.typ == lcpAuth:
		if a := parseAuth(v); a != AuthOther {
			return fmt.Sprintf("%s %s", name, a)
		}
	case p == ProtoCCP && o.typ == ccpMPPE && len(v) == 4:
		b, _ := parseMPPE(v)
		return fmt.Sprintf("%s %s", name, b)
	case p == ProtoIPCP && (o.typ == ipcpAddress || o.typ >= ipcpDNS1) && len(v) == 4:
		return fmt.Sprintf("%s %s", name, netip.AddrFrom4([4]byte(v)))
	}
	return fmt.Sprintf("%s 0x%x", name, v)
}
