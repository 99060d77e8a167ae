package pptp

import "encoding/binary"

// What a node says and does about packets that are too big: ICMP (RFC 792, RFC 1191
// §4) and fragments (RFC 791 §2.3).
const (
	icmpHeader            = 8
	icmpUnreachable       = 3
	codeFragmentationNeed = 4
	protoICMP             = 1
	icmpTTL               = 64
	flagDF                = 0x4000
	flagMF                = 0x2000
	maskOffset            = 0x1FFF
	// icmpQuote is how much of the packet is quoted: the header and eight octets
	// are due (RFC 792), more helps a host behind NAT or a tunnel.
	icmpQuote = 512
)

// icmpTooBig answers ip with "fragmentation needed and DF set". Nil where there must
// be no answer (RFC 1122 §3.2.2): to ICMP errors, to all but a first fragment, to
// senders that are no host.
func icmpTooBig(from [4]byte, ip []byte, mtu int) []byte {
	if len(ip) < ipv4Header || ip[0]>>4 != 4 {
		return nil
	}
	ihl := int(ip[0]&15) * 4
	frag := binary.BigEndian.Uint16(ip[6:])
	switch {
	case ihl < ipv4Header || len(ip) < ihl+icmpHeader,
		frag&maskOffset != 0,
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

// mustNotFragment tells whether ip has the DF bit, or cannot be read.
func mustNotFragment(ip []byte) bool {
	return len(ip) < ipv4Header || binary.BigEndian.Uint16(ip[6:])&flagDF != 0
}

// fragment cuts ip into packets of at most mtu octets, each with room in front. The
// header's options are repeated in every piece: one too many does no harm, one that
// is missing might. Nil if there is nothing to cut.
func fragment(ip []byte, mtu, room int) [][]byte {
	ihl := int(ip[0]&15) * 4
	if ihl < ipv4Header || len(ip) <= ihl || mtu < ihl+8 {
		return nil
	}
	field := binary.BigEndian.Uint16(ip[6:])
	offset, flags := field&maskOffset, field&^uint16(maskOffset)
	step := (mtu - ihl) &^ 7
	var pieces [][]byte
	for data := ip[ihl:]; len(data) > 0; {
		n := min(step, len(data))
		b := make([]byte, room, room+ihl+n)
		b = append(append(b, ip[:ihl]...), data[:n]...)
		data = data[n:]
		h := b[room : room+ihl]
		f := flags | offset
		if len(data) > 0 {
			f |= flagMF
		}
		binary.BigEndian.PutUint16(h[2:], uint16(ihl+n))
		binary.BigEndian.PutUint16(h[6:], f)
		h[10], h[11] = 0, 0
		binary.BigEndian.PutUint16(h[10:], ^onesSum(h))
		offset += uint16(n / 8)
		pieces = append(pieces, b)
	}
	return pieces
}
