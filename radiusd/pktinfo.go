package radiusd

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A socket that listens on all addresses must answer from the one it was asked at,
// or the NAS drops the reply (RFC 2865 §3 knows a server by its address). Linux tells
// which it was beside each datagram, and takes the same form for what is sent:
// IP_PKTINFO (ip(7)), IPV6_PKTINFO (RFC 3542 §6.1), the latter with ::ffff:a.b.c.d
// on a socket that serves both.

// controlRoom is enough for either, and the time of arrival.
const controlRoom = 128

// askDestination makes the kernel tell.
func askDestination(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask for destination addresses: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		switch {
		case err != nil:
			failed = err
		case domain == unix.AF_INET:
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		default:
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	}); err != nil {
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("ask for destination addresses: %w", failed)
	}
	return nil
}

const (
	pktinfo4Len  = 12 // interface, address to answer from, destination
	pktinfo6Len  = 20 // destination, interface
	pktinfo4From = 4
	pktinfo6Link = 16
)

// replyFrom makes of the control message that came with a request the one to send
// the answer with; nil where there is nothing to say. The interface is left to the
// routes, but for link-local addresses, which mean nothing without.
func replyFrom(control []byte) []byte {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return nil
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= pktinfo4Len:
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(data[pktinfo4From:])})
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= pktinfo6Len:
			info := unix.Inet6Pktinfo{Addr: [16]byte(data)}
			a := netip.AddrFrom16(info.Addr)
			if a.IsMulticast() {
				return nil
			}
			if a.IsLinkLocalUnicast() && !a.Is4In6() {
				info.Ifindex = binary.NativeEndian.Uint32(data[pktinfo6Link:])
			}
			return unix.PktInfo6(&info)
		}
		control = rest
	}
	return nil
}
