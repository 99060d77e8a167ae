package ad

import (
	"context"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

// lookAtPolicy compares the domain's lockout with ours: whoever guesses must be
// stopped by us before the domain locks the user out.
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
	base := "CN=Password Settings Container,CN=System," + d.dir.base
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: base, Scope: ldap.ScopeSingleLevel, Filter: "(objectClass=msDS-PasswordSettings)", PageSize: pageSize,
		Attributes: []string{"cn", "msDS-LockoutThreshold", "msDS-LockoutObservationWindow"},
	})
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
	text := e.GetEqualFoldAttributeValue(threshold)
	n, err := strconv.Atoi(text)
	theirs := span(e.GetEqualFoldAttributeValue(window))
	const remedy = "lower lockout.user.failures below the domain's threshold, and make its window as long as the domain's"
	switch {
	case err != nil:
		d.found(check, subject, Warn, "look at the lockout policy by hand", "the lockout policy cannot be read")
	case n == 0:
		d.found(check, subject, OK, "", "accounts are not locked")
	case d.cfg.Failures <= 0:
		d.found(check, subject, Bad, "let our own lockout count failures of a user",
			"accounts are locked after %d failures, and we do not count: anybody can lock anybody out from outside", n)
	case d.cfg.Failures >= n:
		d.found(check, subject, Bad, remedy, "accounts are locked after %d failures, we refuse after %d only: anybody can lock anybody out from outside", n, d.cfg.Failures)
	case d.cfg.Window < theirs:
		d.found(check, subject, Warn, remedy, "failures are counted for %v, by us for %v only", theirs, d.cfg.Window)
	default:
		d.found(check, subject, OK, "", "accounts are locked after %d failures in %v, we refuse after %d", n, theirs, d.cfg.Failures)
	}
}
