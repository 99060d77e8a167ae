package ad

import (
	"slices"
	"strings"
	"time"

	"postern/authz/directory"
)

// rules are what the operator wants honoured beside what AD enforces itself.
type rules struct {
	dialin      bool   // msNPAllowDialin, which NETLOGON does not look at
	workstation string // our name for userWorkstations; "": not compared
}

// state is what AD thinks of the account at a time. What forbids the logon for good
// goes before what a new password would mend: a disabled account must not be led
// through a change.
func (p *person) state(now time.Time, r rules, groups []sid) directory.State {
	switch {
	case p.flags.has(uacDisabled):
		return directory.Disabled
	case p.expires.past(now):
		return directory.Expired
	case p.computed.has(uacLockout):
		return directory.Locked
	case p.flags.has(uacSmartcard), slices.ContainsFunc(groups, p.protected):
		return directory.Restricted
	case !p.hours.allow(now):
		return directory.OutsideHours
	case r.workstation != "" && !p.mayUse(r.workstation):
		return directory.NotFromHere
	case r.dialin && p.noDialin:
		return directory.NoDialin
	case p.passwordOld(now) && p.passwordSet == 0:
		return directory.PasswordMustChange
	case p.passwordOld(now):
		return directory.PasswordExpired
	}
	return directory.Active
}

// protected says whether a group is Protected Users, whose members AD refuses NTLM.
func (p *person) protected(group sid) bool {
	return group.rid() == ridProtectedUsers && group.domain() == p.sid.domain()
}

// passwordOld says whether a new password is due. AD computes it, PSOs included;
// where it does not (before 2008) the computed end is absent, too.
func (p *person) passwordOld(now time.Time) bool {
	if p.flags.has(uacNeverExpires) || p.flags.has(uacSmartcard) {
		return false
	}
	return p.computed.has(uacPasswordExpired) || p.passwordSet == 0 || p.passwordEnd.past(now)
}

// mayUse says whether userWorkstations has a name.
func (p *person) mayUse(workstation string) bool {
	if p.stations == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(p.stations, ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), workstation)
	})
}

// account is the person as everybody else sees it. Groups are added by the caller.
func (p *person) account(now time.Time, r rules, groups []sid) directory.Account {
	return directory.Account{
		Name: p.canonical(), SID: p.sid.String(), Ref: p.dn, State: p.state(now, r, groups),
		PasswordSet: p.passwordSet.Time(), PasswordExpires: p.passwordEnd.Time(),
	}
}
