package mppe

// Protocol numbers of PPP, RFC 1332 §2 and RFC 5072 §2, whose first octet (0)
// PFC may leave out.
const (
	protoIP   = 0x21
	protoIPv6 = 0x57
)

// peekLen is what is decrypted to judge a packet: the protocol number and, of
// an IPv6 header, the octets up to its payload length. minPlain is the least a
// packet may hold: a compressed protocol number and an IPv4 header.
const (
	peekLen  = 8
	minPlain = 1 + 20
)

// plausible tells whether a packet of size octets may begin with head: an IP
// protocol number, and a header that fits. The number alone would let one
// forgery in 120 through, because with PFC it is a single octet; this way it
// is fewer than one in 50,000. RFC 3078 §3 would encrypt any protocol from
// 0x0021 to 0x00FA, but only for IP and IPv6 does this project open an NCP.
func plausible(head *[peekLen]byte, size int) bool {
	b := head[:]
	if b[0] == 0 {
		b, size = b[1:], size-1
	}
	proto, b, size := b[0], b[1:], size-1
	switch proto {
	case protoIP: // RFC 791 §3.1: version, header length, total length
		total := int(b[2])<<8 | int(b[3])
		return size >= 20 && b[0] >= 0x45 && b[0] <= 0x4f && total >= 20 && total <= size
	case protoIPv6: // RFC 8200 §3: version, payload length
		return size >= 40 && b[0]>>4 == 6 && int(b[4])<<8|int(b[5]) <= size-40
	}
	return false
}
