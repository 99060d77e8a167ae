package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/internal/radius"
)

// Static says where a directory keeps an account's own address and the networks behind its
// client, Framed-IP-Address and Framed-Route in the words of RADIUS. Active Directory has
// msRADIUSFramedIPAddress and msRADIUSFramedRoute, which its console shows under Dial-in.
type Static struct {
	Address, Route string         // attributes; "": none
	Within         []netip.Prefix // what routes must be in: who may write the attribute may not draw others' traffic
}

// Attributes are those to read.
func (s Static) Attributes() []string {
	return slices.DeleteFunc([]string{s.Address, s.Route}, func(a string) bool { return a == "" })
}

// maxRoutes bounds the routes of an account, ours: an answer has room for them.
const maxRoutes = 16

// Read reads an entry's values into an account. What cannot be read is left out, and the
// error says what.
func (s Static) Read(values func(attribute string) []string, a *Account) error {
	var errs []error
	if s.Address != "" {
		switch list := values(s.Address); {
		case len(list) > 1:
			errs = append(errs, fmt.Errorf("%s: %d addresses", s.Address, len(list)))
		case len(list) == 1:
			addr, err := parseFramedAddress(list[0])
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.Address, err))
			}
			a.Addr = addr
		}
	}
	if s.Route != "" {
		for _, v := range values(s.Route) {
			p, err := radius.ParseRoute(v, netip.Addr{})
			switch {
			case err != nil:
			case !slices.ContainsFunc(s.Within, func(w netip.Prefix) bool { return w.Bits() <= p.Bits() && w.Contains(p.Addr()) }):
				err = fmt.Errorf("%v is not within what may be routed to clients", p)
			case len(a.Routes) == maxRoutes:
				err = fmt.Errorf("%v is one too many", p)
			case !slices.Contains(a.Routes, p):
				a.Routes = append(a.Routes, p)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.Route, err))
			}
		}
		slices.SortFunc(a.Routes, netip.Prefix.Compare) // servers return values in any order
	}
	return errors.Join(errs...)
}

// parseFramedAddress reads an address as text, or as the number that Active Directory
// keeps, signed (2.5.5.9). Of RFC 2865 §5.8's two special ones neither names an address.
func parseFramedAddress(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(s)
	if n, isNumber := strconv.ParseInt(s, 10, 64); isNumber == nil && n >= -1<<31 && n < 1<<32 {
		u := uint32(n)
		a, err = netip.AddrFrom4([4]byte{byte(u >> 24), byte(u >> 16), byte(u >> 8), byte(u)}), nil
	}
	switch {
	case err != nil || !a.Is4():
		return netip.Addr{}, fmt.Errorf("%q is no IPv4 address", s)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a == netip.AddrFrom4([4]byte{255, 255, 255, 254}):
		return netip.Addr{}, nil
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast():
		return netip.Addr{}, fmt.Errorf("%v is nobody's address", a)
	}
	return a, nil
}
