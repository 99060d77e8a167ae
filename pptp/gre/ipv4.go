package gre

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Fixed by RFC 791 §3.1 and RFC 2784.
const (
	ipv4Header = 20
	protocol   = 47
)

// Why a datagram is not read.
var (
	ErrDatagram = errors.New("gre: not a whole IPv4 datagram")
	ErrFragment = errors.New("gre: fragment of an IPv4 datagram")
	ErrNotGRE   = errors.New("gre: not IP protocol 47")
)

// ParseIPv4 finds the GRE packet in an IPv4 datagram: options are skipped, what
// follows the datagram's length is cut off, the header's checksum is not checked.
// The payload is a view into b.
//
// A fragment is refused, the first as well as the others. From Listen none comes:
// Linux puts datagrams together before raw sockets see them.
func ParseIPv4(b []byte) (src, dst netip.Addr, payload []byte, err error) {
	if len(b) < ipv4Header {
		return src, dst, nil, ErrDatagram
	}
	total := int(binary.BigEndian.Uint16(b[2:]))
	n, err := checkIPv4(b, total)
	if err == nil && total > len(b) {
		err = ErrDatagram
	}
	if err != nil {
		return src, dst, nil, err
	}
	return sourceIPv4(b), netip.AddrFrom4([4]byte(b[16:20])), b[n:total:total], nil
}

// checkIPv4 judges the first 20 octets of a datagram of total octets and returns
// how long its header is with options.
func checkIPv4(b []byte, total int) (int, error) {
	n := int(b[0]&0x0f) * 4
	switch {
	case b[0]>>4 != 4 || n < ipv4Header || n > total:
		return 0, ErrDatagram
	case binary.BigEndian.Uint16(b[6:])&0x3fff != 0: // more fragments, offset
		return 0, ErrFragment
	case b[9] != protocol:
		return 0, ErrNotGRE
	}
	return n, nil
}

func sourceIPv4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[12:16])) }
