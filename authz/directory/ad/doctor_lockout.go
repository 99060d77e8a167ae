package ad

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

// lookAtPolicy compares the domain's lockout with ours. We stop short of it whatever ours
// says, see Lockout; but ours should be the first, for its locks grow.
func (d *doctor) lookAtPolicy(ctx context.Context) {
	const check = "lockout"
	for _, c := range d.dcs {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.dir.base, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"lockoutThreshold", "lockOutObservationWindow"},
		})
		if err != nil || len(entries) == 0 {
			continue
		}
		d.compareLockout(check, d.cfg.Domain, entries[0], "lockoutThreshold", "lockOutObservationWindow")
		d.lookAtPSOs(ctx, c)
		return
	}
}

// lookAtPSOs looks at the policies that take the place of the domain's for some.
func (d *doctor) lookAtPSOs(ctx context.Context, c *dc) {
	const check = "lockout"
	entries, err := c.ldap.Search(ctx, searchPSOs(d.dir.base))
	if err != nil && !ldapc.IsNoSuchObject(err) {
		d.found(check, d.cfg.Domain, Warn, "look at the password settings objects by hand", "password settings objects cannot be read: %v", err)
		return
	}
	d.read = make(map[string]bool, len(entries))
	for _, e := range entries {
		d.read[strings.ToLower(e.DN)] = true
		d.compareLockout(check, "PSO "+e.GetEqualFoldAttributeValue("cn"), e, "msDS-LockoutThreshold", "msDS-LockoutObservationWindow")
	}
}

func (d *doctor) compareLockout(check, subject string, e *ldap.Entry, threshold, window string) {
	p, readable := readPolicy(e, threshold, window)
	strangers := p.threshold - 2
	switch n := p.threshold; {
	case !readable:
		d.found(check, subject, Warn, "let the account under bind read it", "the lockout policy cannot be read; a threshold of %d is assumed", hiddenThreshold)
	case n == 0:
		d.found(check, subject, OK, "", "accounts are not locked")
	case d.cfg.Failures <= 0:
		d.found(check, subject, Bad, "let our own lockout count failures of a user",
			"accounts are locked after %d failures, and we do not count: anybody can lock anybody out from outside", n)
	case n == 1:
		d.found(check, subject, Bad, "raise the threshold to 3 or more",
			"accounts are locked after one failure: anybody can lock anybody out from outside, and nothing we do can prevent it")
	case n == 2:
		d.found(check, subject, Warn, "raise the threshold to 3 or more",
			"accounts are locked after 2 failures: we stop after one, and a stranger's keeps out the user as well until it is forgotten in %v", p.window)
	case d.cfg.Failures > strangers:
		d.found(check, subject, Warn, fmt.Sprintf("lower lockout.user.failures to %d, so that ours locks first and for longer each time", strangers),
			"accounts are locked after %d failures in %v: whatever lockout.user.failures says (%d), strangers get %d and the user at the usual address one more",
			n, p.window, d.cfg.Failures, strangers)
	default:
		d.found(check, subject, OK, "", "accounts are locked after %d failures in %v, ours after %d; strangers never get more than %d", n, p.window, d.cfg.Failures, strangers)
	}
}
