package tun

import "encoding/binary"

// Fixed by RFC 791 §3.1, RFC 9293 §3.1 and §3.2.
const (
	ipv4Header  = 20
	tcpHeader   = 20
	protocolTCP = 6

	tcpFlagSYN   = 0x02
	tcpEnd       = 0
	tcpNop       = 1
	tcpMSS       = 2
	tcpMSSLength = 4
)

// Source is the source address of an IPv4 packet. Not ok: it is none.
func Source(ip []byte) (addr [4]byte, ok bool) {
	if len(ip) < ipv4Header || ip[0]>>4 != 4 {
		return addr, false
	}
	return [4]byte(ip[12:16]), true
}

// Destination is the destination address of an IPv4 packet. Not ok: it is none.
func Destination(ip []byte) (addr [4]byte, ok bool) {
	if len(ip) < ipv4Header || ip[0]>>4 != 4 {
		return addr, false
	}
	return [4]byte(ip[16:20]), true
}

// ClampMSS lowers the maximum segment size in a TCP SYN over IPv4 to what a link
// of this MTU carries, and says whether it did. Hosts behind the node do not learn
// of the tunnel's smaller MTU where routers drop ICMP. Anything else, also what is
// malformed, is left alone. ip is changed in place, the checksum included.
//
// RFC 6691: options do not count, so that it is always the MTU less 40.
func ClampMSS(ip []byte, mtu int) bool {
	limit := mtu - ipv4Header - tcpHeader
	tcp := synHeader(ip)
	if tcp == nil || limit <= 0 || limit > 0xffff {
		return false
	}
	changed := false
	for at := tcpHeader; at < len(tcp) && tcp[at] != tcpEnd; {
		if tcp[at] == tcpNop {
			at++
			continue
		}
		if at+2 > len(tcp) {
			break
		}
		n := int(tcp[at+1])
		if n < 2 || at+n > len(tcp) {
			break
		}
		if tcp[at] == tcpMSS && n == tcpMSSLength && lower(tcp, at+2, uint16(limit)) {
			changed = true
		}
		at += n
	}
	return changed
}

// synHeader returns the TCP header of a SYN, options included, or nil.
func synHeader(ip []byte) []byte {
	if len(ip) < ipv4Header || ip[0]>>4 != 4 || ip[9] != protocolTCP ||
		binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 { // not the first fragment
		return nil
	}
	n := int(ip[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if n < ipv4Header || total > len(ip) || total < n+tcpHeader {
		return nil
	}
	tcp := ip[n:total]
	n = int(tcp[12]>>4) * 4
	if tcp[13]&tcpFlagSYN == 0 || n < tcpHeader || n > len(tcp) {
		return nil
	}
	return tcp[:n]
}

// lower puts limit at tcp[at:] if it is less than what is there, and corrects the
// checksum as RFC 1624 §3 has it: HC' = ~(~HC + ~m + m').
func lower(tcp []byte, at int, limit uint16) bool {
	old := binary.BigEndian.Uint16(tcp[at:])
	if old <= limit {
		return false
	}
	binary.BigEndian.PutUint16(tcp[at:], limit)
	was, is := old, limit
	if at%2 != 0 { // behind a single NOP: its octets belong to two words
		was, is = was<<8|was>>8, is<<8|is>>8
	}
	sum := uint32(^binary.BigEndian.Uint16(tcp[16:])) + uint32(^was) + uint32(is)
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
	return true
}
