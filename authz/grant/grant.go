// Package grant remembers second factors: who gave one is not asked again from the
// same place for as long as the policy says.
//
// A user's grants are one bounded list in the store, under the user's tag, read in the
// one read of a login. Using a grant writes the list anew by compare and set, as a guard
// of the login's commit: what was revoked meanwhile, or used up, is not used. What is
// lost by that is decided again on the list as it is then ([Query.Again]).
//
// A grant is good for the shorter of what the policy said when it was given and of what
// it says when it is used, from the same network (all bits that either policy names;
// IPv6 by its /64), by the same device where either asks for it, and until the user's
// password is set anew. It says which factor it stands for; whether that is enough the
// policy says.
package grant

import (
	"net/netip"
	"strings"
	"time"

	"postern/policy"
)

const (
	// maxGrants is how many a user has; the oldest goes first. It bounds what a login
	// reads, and is more than one person's networks and devices.
	maxGrants = 20
	// maxDevice bounds a name that the client gives itself.
	maxDevice = 64
	// grain is how exactly the last use is known. Logins that come together so write
	// the same list, and none of them loses to the other.
	grain = time.Minute
	// clockSlack is how much later than the grant a password may have been set and still
	// be the one that it was given with: changed in the login's own dialogue, and the
	// directory's clock is not ours.
	clockSlack = 10 * time.Second
	// tries bounds how often a list is written that others write, too.
	tries = 16
)

// Grant is one remembered factor.
type Grant struct {
	ID       string        `json:"id"`
	Factor   string        `json:"factor"` // authz.Factor's name
	Source   netip.Addr    `json:"src"`
	Bits     int           `json:"bits"` // of Source that must be the same
	Device   string        `json:"device,omitempty"`
	Bound    bool          `json:"bound,omitempty"` // to Device, whatever it is
	Given    time.Time     `json:"given"`
	Used     time.Time     `json:"used"`
	For      time.Duration `json:"for"`
	Idle     time.Duration `json:"idle,omitempty"`     // 0: without limit
	Decision string        `json:"decision,omitempty"` // ID of the login that it was given in
}

// Network is where it is good.
func (g *Grant) Network() netip.Prefix {
	p, err := g.Source.Prefix(g.Bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Until is when it ends if it is not used, or not used again.
func (g *Grant) Until() time.Time { return until(g, g.For, g.Idle) }

func until(g *Grant, life, idle time.Duration) time.Time {
	end := g.Given.Add(life)
	if i := g.Used.Add(idle); idle > 0 && i.Before(end) {
		end = i
	}
	return end
}

// Place is where a login comes from, and what the policy says of remembering there.
type Place struct {
	Source   netip.Addr
	Device   string // the client's name for itself; a claim
	Remember policy.Remember
}

// bits of a source that must be the same, when the policy names this many for IPv4. A
// home has all of an IPv6 /64.
func bits(a netip.Addr, named int) int {
	switch {
	case a.Is6():
		return 64
	case named <= 0 || named > 32:
		return 32
	}
	return named
}

// good says whether a grant is good for a login.
func (g *Grant) good(now time.Time, p *Place, passwordSet time.Time) bool {
	source := p.Source.Unmap()
	r := &p.Remember
	switch {
	case r.For <= 0 || !source.IsValid() || source.BitLen() != g.Source.BitLen():
		return false
	case !now.Before(until(g, min(g.For, r.For), shorter(g.Idle, r.Idle))):
		return false
	case passwordSet.After(g.Given.Add(clockSlack)):
		return false
	case (g.Bound || r.Device) && !strings.EqualFold(g.Device, device(p.Device)):
		return false
	}
	net, err := g.Source.Prefix(max(g.Bits, bits(source, r.Prefix)))
	return err == nil && net.Contains(source)
}

// shorter is the shorter of two limits, 0 being none.
func shorter(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}

func device(name string) string {
	if len(name) > maxDevice {
		return name[:maxDevice]
	}
	return name
}
