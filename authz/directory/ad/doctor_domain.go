package ad

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
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

// maxMembers bounds how many members are looked at, ours.
const maxMembers = 5000

// lookAtMembers looks at who is meant to log on.
func (d *doctor) lookAtMembers(ctx context.Context) {
	if d.cfg.Group == "" {
		return
	}
	for _, c := range d.dcs {
		if d.lookAtGroup(ctx, c) {
			return
		}
	}
}

// lookAtGroup says whether the server answered.
func (d *doctor) lookAtGroup(ctx context.Context, c *dc) bool {
	const check = "members"
	groups, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.dir.base, Scope: ldap.ScopeWholeSubtree, Filter: groupFilter(d.cfg.Group), Attributes: []string{"objectSid", "sAMAccountName"}, Limit: 2,
	})
	switch {
	case err != nil:
		return false
	case len(groups) != 1:
		d.found(check, d.cfg.Group, Bad, "name a group of the domain", "there is no such group")
		return true
	}
	id, err := parseSID(groups[0].GetEqualFoldRawAttributeValue("objectSid"))
	if err != nil {
		return false
	}
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.dir.base, Scope: ldap.ScopeWholeSubtree, Filter: membersFilter(groups[0].DN, id.rid()),
		Attributes: personAttributes, PageSize: pageSize, Limit: maxMembers,
	})
	if err != nil && !ldapc.IsTooMany(err) {
		d.found(check, d.cfg.Group, Warn, "", "the members cannot be read: %v", err)
		return true
	}
	people, err := readPeople(entries)
	if err != nil {
		d.found(check, d.cfg.Group, Bad, "let the account under bind read it", "%v", err)
		return true
	}
	d.lookAtPeople(ctx, c, groups[0].GetEqualFoldAttributeValue("sAMAccountName"), people)
	return true
}

func (d *doctor) lookAtPeople(ctx context.Context, c *dc, group string, people []*person) {
	const check = "members"
	slices.SortFunc(people, func(a, b *person) int { return strings.Compare(a.canonical(), b.canonical()) })
	accounts, err := d.dir.completeAll(ctx, c, people)
	if err != nil {
		d.found(check, group, Warn, "", "the members' groups cannot be read: %v", err)
		return
	}
	d.lookAtHidden(people)
	active := 0
	for i := range accounts {
		a := &accounts[i]
		if a.State == directory.Active {
			active++
			if left := a.PasswordExpires.Sub(d.dir.cfg.Now()); !a.PasswordExpires.IsZero() && left < soon {
				d.found(check, a.Name, Warn, "let the person change it in time", "the password expires on %s", a.PasswordExpires.Format(time.DateOnly))
			}
			continue
		}
		d.found(check, a.Name, Warn, memberRemedies[a.State], "cannot log on: account %v", a.State)
	}
	d.found(check, group, OK, "", "%d members, of whom %d can log on as far as the directory knows", len(accounts), active)
}

// lookAtHidden tells of policies that apply to members and that we may not read:
// by default administrators alone may.
func (d *doctor) lookAtHidden(people []*person) {
	hidden := make(map[string]int)
	for _, p := range people {
		if p.policy != "" && !d.read[strings.ToLower(p.policy)] {
			hidden[p.policy]++
		}
	}
	for _, dn := range slices.Sorted(maps.Keys(hidden)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(dn, "CN="), ",")
		d.found("lockout", "PSO "+name, Warn, "see that its lockout threshold is above ours, or let the account under bind read it",
			"it applies to %d members, and its lockout cannot be read", hidden[dn])
	}
}

// soon is when an end is near, ours.
const soon = 3 * 24 * time.Hour

// memberRemedies say what to do about a member who cannot log on.
var memberRemedies = map[directory.State]string{
	directory.Disabled:           "enable the account, or take it out of the group",
	directory.Expired:            "give the account a later end, or take it out of the group",
	directory.Locked:             "unlock the account, and look where the wrong passwords come from",
	directory.Restricted:         "take the account out of Protected Users and lift \"smart card required\", which both forbid NTLM, or take it out of the group",
	directory.OutsideHours:       "it may be wanted: the account has logon hours",
	directory.NotFromHere:        "add our workstation name to userWorkstations, or take the account out of the group",
	directory.NoDialin:           "allow dial-in on the account, or leave out honour_dialin",
	directory.PasswordExpired:    "have the person change the password",
	directory.PasswordMustChange: "have the person change the password",
}

// groupFilter finds a group by name, SID or DN.
func groupFilter(text string) string {
	if s, err := sidOf(text); err == nil {
		return anySID([]sid{s})
	}
	t := ldap.EscapeFilter(text)
	if _, err := ldap.ParseDN(text); err == nil {
		return "(&(objectCategory=group)(distinguishedName=" + t + "))"
	}
	return "(&(objectCategory=group)(sAMAccountName=" + t + "))"
}

// membersFilter finds people in a group, nested ones and those whose primary group
// it is.
func membersFilter(dn string, rid uint32) string {
	return "(&" + people + "(|(memberOf:1.2.840.113556.1.4.1941:=" + ldap.EscapeFilter(dn) + ")(primaryGroupID=" + strconv.FormatUint(uint64(rid), 10) + ")))"
}
