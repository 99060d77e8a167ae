package ad

import (
	"postern/authz/directory"
	"postern/authz/directory/netlogon"
)

// statuses are what a domain controller's no means. All of netlogon.ClassUser are
// here, and what is about the user in a change only.
var statuses = map[netlogon.Status]directory.Rejected{
	netlogon.StatusNoSuchUser:         {Reason: directory.NoSuchUser},
	netlogon.StatusWrongPassword:      {Reason: directory.WrongPassword},
	netlogon.StatusLogonFailure:       {Reason: directory.WrongPassword},
	netlogon.StatusAccountDisabled:    state(directory.Disabled),
	netlogon.StatusAccountExpired:     state(directory.Expired),
	netlogon.StatusAccountLockedOut:   state(directory.Locked),
	netlogon.StatusPasswordExpired:    state(directory.PasswordExpired),
	netlogon.StatusPasswordMustChange: state(directory.PasswordMustChange),
	netlogon.StatusInvalidLogonHours:  state(directory.OutsideHours),
	netlogon.StatusInvalidWorkstation: state(directory.NotFromHere),

	// Forbidden to this account, or to this account here.
	netlogon.StatusAccountRestriction:      state(directory.Restricted), // Protected Users
	netlogon.StatusSmartcardRequired:       state(directory.Restricted),
	netlogon.StatusInsufficientLogonInfo:   state(directory.Restricted),
	netlogon.StatusLogonNotGranted:         state(directory.Restricted),
	netlogon.StatusLogonTypeNotGranted:     state(directory.Restricted),
	netlogon.StatusAuthFirewallFailed:      state(directory.Restricted),
	netlogon.StatusInterdomainTrustAccount: state(directory.Restricted),
	netlogon.StatusWorkstationTrustAccount: state(directory.Restricted),
	netlogon.StatusServerTrustAccount:      state(directory.Restricted),

	// Of a change.
	netlogon.StatusPasswordRestriction: {Reason: directory.BadPassword},
	netlogon.StatusIllFormedPassword:   {Reason: directory.BadPassword},
	netlogon.StatusAccessDenied:        {Reason: directory.BadPassword}, // "user cannot change password"
}

// refused is what a domain controller's no says. One that nobody foresaw is a no
// as well.
func refused(s netlogon.Status) directory.Rejected {
	r, known := statuses[s]
	if !known {
		r.Reason = directory.WrongPassword
	}
	r.Detail = s.Error()
	return r
}

// provesPassword says whether a no tells that the password was right: what is due
// is a new one, which is told to nobody else.
func provesPassword(s netlogon.Status) bool {
	return s == netlogon.StatusPasswordExpired || s == netlogon.StatusPasswordMustChange
}
