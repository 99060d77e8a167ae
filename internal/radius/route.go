package radius

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"layeh.com/radius/rfc2865"
)

// ParseRoute reads a network in the words of RFC 2865 §5.22, "10.1.0.0/16 0.0.0.0 1", or
// alone. The gateway is the client: 0.0.0.0, or the address that it has. Metrics are the
// NAS' to choose. A network without a length, which RFC 2865 would have by its class, is
// not read: who writes one today does not mean that.
func ParseRoute(s string, client netip.Addr) (netip.Prefix, error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return netip.Prefix{}, errors.New("an empty route")
	}
	p, err := netip.ParsePrefix(words[0])
	switch {
	case err != nil || !p.Addr().Is4():
		return netip.Prefix{}, fmt.Errorf("%q is no IPv4 network such as 10.1.0.0/16", words[0])
	case len(words) > 1 && words[1] != "0.0.0.0" && (!client.IsValid() || words[1] != client.String()):
		return netip.Prefix{}, fmt.Errorf("%v by way of %q, want 0.0.0.0, which is the client", p, words[1])
	case slices.ContainsFunc(nowhere, p.Overlaps):
		return netip.Prefix{}, fmt.Errorf("%v cannot be behind a client", p)
	}
	return p.Masked(), nil
}

// nowhere is what no network that one can be led to has in it: this host, loopback,
// multicast and what is reserved (RFC 6890 §2.2.2, RFC 5771).
var nowhere = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
}

// GetRoutes reads the Framed-Routes of a client that has an address. The errors are one
// for each that could not be read and is not among them.
func GetRoutes(p *Packet, client netip.Addr) (routes []netip.Prefix, errs []error) {
	texts, err := rfc2865.FramedRoute_GetStrings(p)
	if err != nil {
		return nil, []error{fmt.Errorf("read Framed-Route: %w", err)}
	}
	for _, text := range texts {
		r, err := ParseRoute(text, client)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("read Framed-Route: %w", err))
		case !slices.Contains(routes, r):
			routes = append(routes, r)
		}
	}
	return routes, errs
}
