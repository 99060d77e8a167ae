package ad

import (
	"context"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

// machineAge is when a machine password is old, ours: Windows members change theirs
// every 30 days, and nothing forces them.
const machineAge = 90 * 24 * time.Hour

// lookAtMachine looks at the machine account.
func (d *doctor) lookAtMachine(ctx context.Context) {
	const check = "machine"
	name := d.cfg.Machine + "$"
	for _, c := range d.dcs {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.dir.base, Scope: ldap.ScopeWholeSubtree, Filter: "(sAMAccountName=" + ldap.EscapeFilter(name) + ")",
			Attributes: []string{"pwdLastSet", "userAccountControl"}, Limit: 1,
		})
		if err != nil {
			continue
		}
		if len(entries) == 0 {
			d.found(check, name, Bad, "run `postern ad join`", "there is no such account in the domain")
			return
		}
		flags := readUAC(entries[0].GetEqualFoldAttributeValue("userAccountControl"))
		set := readFileTime(entries[0].GetEqualFoldAttributeValue("pwdLastSet")).Time()
		age := d.dir.cfg.Now().Sub(set)
		switch {
		case flags.has(uacDisabled):
			d.found(check, name, Bad, "enable the account", "the machine account is disabled")
		case set.IsZero():
			d.found(check, name, Warn, "run `postern ad join` again", "the machine account's password was never set")
		case age > machineAge:
			d.found(check, name, Warn, "run `postern ad rotate`", "the machine account's password is %d days old", int(age/(24*time.Hour)))
		default:
			d.found(check, name, OK, "", "the machine account's password was set on %s", set.Format(time.DateOnly))
		}
		return
	}
}
