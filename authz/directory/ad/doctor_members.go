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
	names, byName := make([]string, len(people)), make(map[string]*person, len(people))
	for i, p := range people {
		names[i], byName[p.canonical()] = p.canonical(), p
	}
	accounts, err := d.dir.completeAll(ctx, c, names, byName)
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
		d.found("lockout", "PSO "+name, Warn, "let the account under bind read it",
			"it applies to %d members, and its lockout cannot be read; a threshold of %d is assumed", hidden[dn], hiddenThreshold)
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
