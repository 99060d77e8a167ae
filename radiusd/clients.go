package radiusd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"postern/internal/radius"
)

// client is a configured client at work. A reload makes new ones.
type client struct {
	Client
	signed *atomic.Bool // RequireAuto: it has signed; outlives reloads
	warned sync.Once    // that MS-CHAP came over UDP
}

// mustSign says whether an unsigned Access-Request of the client is dropped.
func (c *client) mustSign() bool {
	switch c.Require {
	case RequireNo:
		return false
	case RequireAuto:
		return c.signed.Load()
	case RequireYes:
	}
	return true
}

// clients is the table of clients. It does not change; a reload swaps it.
type clients struct {
	byName     map[string]*client
	byNetwork  map[netip.Prefix]*client
	lengths4   []int // prefix lengths there are, longest first
	lengths6   []int
	byCertName map[string]*client
}

// newClients builds the table, and keeps what was learnt about clients of the same
// name in old, which may be nil. The error holds everything that is wrong.
func newClients(list []Client, old *clients) (*clients, error) {
	t := &clients{
		byName: make(map[string]*client), byNetwork: make(map[netip.Prefix]*client), byCertName: make(map[string]*client),
	}
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("radiusd: client %q: "+format, append([]any{name}, args...)...))
	}
	for _, one := range list {
		c := &client{Client: one, signed: new(atomic.Bool)}
		if c.Strengths == 0 {
			c.Strengths = radius.Encryption128
		}
		if old != nil && old.byName[c.Name] != nil {
			c.signed = old.byName[c.Name].signed
		}
		switch {
		case c.Name == "":
			bad("", "a client needs a name")
		case t.byName[c.Name] != nil:
			bad(c.Name, "a second one of this name")
		}
		t.byName[c.Name] = c
		if len(c.Networks) > 0 && c.Secret.IsZero() {
			bad(c.Name, "networks without a secret")
		}
		if c.CoA != "" && c.Secret.IsZero() {
			bad(c.Name, "a CoA address without a secret")
		}
		if len(c.Networks) == 0 && len(c.Certificates) == 0 {
			bad(c.Name, "neither networks nor certificates to know it by")
		}
		for _, n := range c.Networks {
			n, ok := unmapped(n)
			if !ok {
				bad(c.Name, "%v is no network", n)
				continue
			}
			if other := t.byNetwork[n]; other != nil {
				bad(c.Name, "%v belongs to client %q already", n, other.Name)
			}
			t.byNetwork[n] = c
			lengths := &t.lengths6
			if n.Addr().Is4() {
				lengths = &t.lengths4
			}
			if !slices.Contains(*lengths, n.Bits()) {
				*lengths = append(*lengths, n.Bits())
			}
		}
		for _, name := range c.Certificates {
			if other := t.byCertName[name]; name == "" || other != nil {
				bad(c.Name, "certificate name %q is empty or taken", name)
			}
			t.byCertName[name] = c
		}
	}
	longestFirst := func(a, b int) int { return b - a }
	slices.SortFunc(t.lengths4, longestFirst)
	slices.SortFunc(t.lengths6, longestFirst)
	return t, errors.Join(errs...)
}

// unmapped makes ::ffff:192.0.2.0/120 the 192.0.2.0/24 that it is.
func unmapped(n netip.Prefix) (netip.Prefix, bool) {
	if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
	}
	return n.Masked(), n.IsValid()
}

// at finds the client at an address.
func (t *clients) at(a netip.Addr) *client {
	a = a.Unmap().WithZone("")
	lengths := t.lengths6
	if a.Is4() {
		lengths = t.lengths4
	}
	for _, bits := range lengths {
		n, err := a.Prefix(bits)
		if err != nil {
			return nil
		}
		if c := t.byNetwork[n]; c != nil {
			return c
		}
	}
	return nil
}

// certified finds the client that one of the names belongs to.
func (t *clients) certified(names ...string) *client {
	for _, n := range names {
		if c := t.byCertName[n]; c != nil {
			return c
		}
	}
	return nil
}

// certNames are the names a certificate of a client proves: its DNS names, or where
// it has none its common name (RFC 6614 §2.3 leaves the choice to us).
func certNames(c *x509.Certificate) []string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames
	}
	return []string{c.Subject.CommonName}
}

// inProcess is whoever asks from within the process: a node of ours, for nobody else
// shares our memory. It is believed, but gets no more than other nodes do.
func inProcess(name string) *client {
	return &client{Client: Client{Name: name, Node: true, Strengths: radius.Encryption128}, signed: new(atomic.Bool)}
}
