package radiusd

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc3162"

	"postern/authz"
	"postern/internal/radius"
)

// What access and accounting read alike.

// nas names the server that asks for its client. A NAS that names itself in no way
// is its address, or its name in our configuration.
func nas(t *ticket) authz.NAS {
	p := t.packet
	n := authz.NAS{ID: text(rfc2865.NASIdentifier_GetString(p)), Port: uint32(rfc2865.NASPort_Get(p)), Client: t.client.Name}
	if typ, err := rfc2865.NASPortType_Lookup(p); err == nil {
		n.Type = typ.String()
	}
	n.Addr = addr(rfc2865.NASIPAddress_Get(p))
	if !n.Addr.IsValid() {
		n.Addr = addr(rfc3162.NASIPv6Address_Get(p))
	}
	if !n.Addr.IsValid() {
		n.Addr = t.from.addr.Addr().Unmap()
	}
	if n.ID == "" && !n.Addr.IsValid() {
		n.ID = t.client.Name
	}
	return n
}

// source is the client's own address: Tunnel-Client-Endpoint (RFC 2868 §3.3) where
// there is one, else Calling-Station-Id, which may be a telephone number or a MAC
// address as well.
func source(p *radius.Packet) netip.Addr {
	if _, s, err := rfc2868.TunnelClientEndpoint_LookupString(p); err == nil {
		if a := parseEndpoint(s); a.IsValid() {
			return a
		}
	}
	return parseEndpoint(rfc2865.CallingStationID_GetString(p))
}

// parseEndpoint reads an address, with a port behind it as some NAS write it. What
// is none is the zero Addr.
func parseEndpoint(s string) netip.Addr {
	s = strings.TrimRight(s, "\x00")
	a, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}
		}
		a = ap.Addr()
	}
	if a = a.Unmap().WithZone(""); a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// tunnel is Tunnel-Type by name, "" for none.
func tunnel(p *radius.Packet) string {
	if _, typ, err := rfc2868.TunnelType_Lookup(p); err == nil {
		return typ.String()
	}
	return ""
}

// noState is what a request has that carries no single State: a challenge of ours is
// answered by it, and not a login begun.
var noState = []byte{0}

// stateOf is State, nil for none. RFC 2865 §5.24, §5.44 have no more than one.
func stateOf(p *radius.Packet) []byte {
	var found []byte
	for _, a := range p.Attributes {
		if a.Type != rfc2865.State_Type {
			continue
		}
		if found != nil || len(a.Attribute) == 0 {
			return noState
		}
		found = a.Attribute
	}
	return found
}

// addr is an address attribute; absent, misshapen and 0.0.0.0 are the zero Addr.
func addr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}

// text is an attribute that becomes part of keys, records and log lines, for which
// different octets must stay different: what is no plain text is written with
// escapes, a backslash among it. User-Name is never put through it: it is hashed as
// it was typed.
func text(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == utf8.RuneError }) {
		return s
	}
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}

// proxyStates is how many octets of Proxy-State a reply must carry back.
func proxyStates(p *radius.Packet) int {
	sum := 0
	for _, a := range p.Attributes {
		if a.Type == rfc2865.ProxyState_Type {
			sum += 2 + len(a.Attribute)
		}
	}
	return sum
}
