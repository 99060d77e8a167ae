package client

import "encoding/binary"

// IPv4 (RFC 791 §3.1) and ICMP echo (RFC 792), no more than a ping needs.
const (
	ipv4Header    = 20
	icmpHeader    = 8
	icmpEcho      = 8
	icmpEchoReply = 0
	protoICMP     = 1
	ttl           = 64
	maskFragment  = 0x3FFF // more fragments, offset
)

// echo is an echo request or reply. data is a view.
type echo struct {
	src, dst [4]byte
	reply    bool
	id, seq  uint16
	data     []byte
}

// parseEcho reads a whole IPv4 packet. Not ok: it is no echo, or a damaged one.
func parseEcho(b []byte) (e echo, ok bool) {
	if len(b) < ipv4Header || b[0]>>4 != 4 || b[9] != protoICMP {
		return echo{}, false
	}
	ihl := int(b[0]&15) * 4
	if ihl < ipv4Header || len(b) < ihl+icmpHeader || binary.BigEndian.Uint16(b[6:])&maskFragment != 0 {
		return echo{}, false
	}
	m := b[ihl:]
	if m[0] != icmpEcho && m[0] != icmpEchoReply || m[1] != 0 || onesSum(m) != 0xFFFF {
		return echo{}, false
	}
	return echo{
		src: [4]byte(b[12:]), dst: [4]byte(b[16:]), reply: m[0] == icmpEchoReply,
		id: binary.BigEndian.Uint16(m[4:]), seq: binary.BigEndian.Uint16(m[6:]), data: m[icmpHeader:],
	}, true
}

// Append appends the echo as an IPv4 packet.
func (e echo) Append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, ipv4Header+icmpHeader)...)
	b = append(b, e.data...)
	p := b[at:]
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[4:], e.seq)
	p[8], p[9] = ttl, protoICMP
	copy(p[12:], e.src[:])
	copy(p[16:], e.dst[:])
	binary.BigEndian.PutUint16(p[10:], ^onesSum(p[:ipv4Header]))
	m := p[ipv4Header:]
	m[0] = icmpEcho
	if e.reply {
		m[0] = icmpEchoReply
	}
	binary.BigEndian.PutUint16(m[4:], e.id)
	binary.BigEndian.PutUint16(m[6:], e.seq)
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
