package swarm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"postern/pptp/client"
)

// Locals reads addresses for clients: ADDR, ADDR-ADDR and PREFIX, comma-separated. Of
// a prefix the first and the last address are left out. At most `most` are returned.
func Locals(list string, most int) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, one := range strings.Split(list, ",") {
		first, last, err := addresses(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		for a := first; a.IsValid() && len(all) < most && a.Compare(last) <= 0; a = a.Next() {
			all = append(all, a)
		}
	}
	return all, nil
}

func addresses(s string) (first, last netip.Addr, err error) {
	fail := fmt.Errorf("%q: an IPv4 address, a range or a prefix wanted", s)
	if p, err := netip.ParsePrefix(s); err == nil {
		if !p.Addr().Is4() {
			return first, last, fail
		}
		first, last = p.Masked().Addr(), lastOf(p)
		if p.Bits() < 31 {
			first, last = first.Next(), last.Prev()
		}
		return first, last, nil
	}
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	first, errFirst := netip.ParseAddr(from)
	last, errLast := netip.ParseAddr(to)
	if errFirst != nil || errLast != nil || !first.Is4() || !last.Is4() || last.Less(first) {
		return first, last, fail
	}
	return first, last, nil
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// Servers finds PPTP servers: HOST or HOST:PORT, comma-separated. A name stands for
// all its IPv4 addresses.
func Servers(ctx context.Context, list string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, one := range strings.Split(list, ",") {
		host, port := strings.TrimSpace(one), uint64(client.Port)
		if h, p, err := net.SplitHostPort(host); err == nil {
			if port, err = strconv.ParseUint(p, 10, 16); err != nil || port == 0 {
				return nil, fmt.Errorf("server %q: no such port", one)
			}
			host = h
		}
		if host == "" {
			return nil, fmt.Errorf("server %q: no host", one)
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		if err != nil {
			return nil, fmt.Errorf("server %s: %w", host, err)
		}
		for _, a := range found {
			all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		}
	}
	return all, nil
}

// loopbackLocals are for servers on this machine: as many addresses as a node's limits
// for one need, and not the server's own, where a raw socket would see both ends.
const loopbackLocals = "127.77.0.1-127.77.0.64"

// DefaultLocals are the addresses of so many clients of these servers: none where the
// kernel finds one.
func DefaultLocals(servers []netip.AddrPort, clients int) []netip.Addr {
	for _, s := range servers {
		if s.Addr().IsLoopback() {
			all, _ := Locals(loopbackLocals, clients) // TestLocals reads it
			return all
		}
	}
	return nil
}
