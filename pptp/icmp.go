package pptp

import "encoding/binary"

// ICMP as RFC 792 and RFC 1191 §4 have it, no more than a node has to say.
const (
	icmpHeader            = 8
	icmpUnreachable       = 3
	codeFragmentationNeed = 4
	protoICMP             = 1
	icmpTTL               = 64
	flagDF                = 0x4000
	maskOffset            = 0x1FFF
	// icmpQuote is how much of the packet is quoted: the header and eight octets
	// are due (RFC 792), more helps a host behind NAT or a tunnel.
	icmpQuote = 512
)

// icmpTooBig answers ip with "fragmentation needed and DF set". Nil where there must
// be no answer (RFC 1122 §3.2.2): to ICMP errors, to all but a first fragment, to
// senders that are no host; and to packets that may be fragmented, which are lost
// here: a node's TUN device has the usual MTU, so that hardly any is too big.
func icmpTooBig(from [4]byte, ip []byte, mtu int) []byte {
	if len(ip) < ipv4Header || ip[0]>>4 != 4 {
		return nil
	}
	ihl := int(ip[0]&15) * 4
	frag := binary.BigEndian.Uint16(ip[6:])
	switch {
	case ihl < ipv4Header || len(ip) < ihl+icmpHeader,
		frag&flagDF == 0 || frag&maskOffset != 0,
		ip[9] == protoICMP && ip[ihl] != 0 && ip[ihl] != 8, // neither echo nor echo reply
		ip[12] == 0 || ip[12] >= 224:
		return nil
	}
	quote := ip[:min(len(ip), icmpQuote)]
	b := make([]byte, ipv4Header+icmpHeader, ipv4Header+icmpHeader+len(quote))
	b = append(b, quote...)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = icmpTTL, protoICMP
	copy(b[12:16], from[:])
	copy(b[16:20], ip[12:16])
	binary.BigEndian.PutUint16(b[10:], ^onesSum(b[:ipv4Header]))
	m := b[ipv4Header:]
	m[0], m[1] = icmpUnreachable, codeFragmentationNeed
	binary.BigEndian.PutUint16(m[6:], uint16(mtu))
	binary.BigEndian.PutUint16(m[2:], ^onesSum(m))
	return b
}

// onesSum is the Internet checksum's sum (RFC 1071).
func onesSum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return uint16(sum)
}
