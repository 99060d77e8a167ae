package ad

import (
	"testing"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
)

// The table of NTSTATUS values as Samba answers them, see netlogon's own for names.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		status netlogon.Status
		reason directory.Reason
		state  directory.State
	}{
		{0xC000006A, directory.WrongPassword, 0},
		{0xC000006D, directory.WrongPassword, 0},
		{0xC0000064, directory.NoSuchUser, 0},
		{0xC0000072, directory.AccountState, directory.Disabled},
		{0xC0000193, directory.AccountState, directory.Expired},
		{0xC0000234, directory.AccountState, directory.Locked},
		{0xC0000224, directory.AccountState, directory.PasswordMustChange},
		{0xC0000071, directory.AccountState, directory.PasswordExpired},
		{0xC000006F, directory.AccountState, directory.OutsideHours},
		{0xC0000070, directory.AccountState, directory.NotFromHere},
		{0xC000006E, directory.AccountState, directory.Restricted},
		{0xC00002FA, directory.AccountState, directory.Restricted},
		{0xC0000199, directory.AccountState, directory.Restricted},
		{0xC000006C, directory.BadPassword, 0},
		{0xC0001234, directory.WrongPassword, 0},
	} {
		got := refused(c.status)
		if got.Reason != c.reason || got.State != c.state || got.Detail == "" {
			t.Errorf("%v: %+v", c.status, got)
		}
	}
	for s := netlogon.Status(0xC0000000); s < 0xC0000500; s++ {
		if _, known := statuses[s]; known != (s.Class() == netlogon.ClassUser) && s != netlogon.StatusAccessDenied {
			t.Errorf("%v: in the table %v, of class %v", s, known, s.Class())
		}
	}
	if !provesPassword(netlogon.StatusPasswordMustChange) || provesPassword(netlogon.StatusAccountLockedOut) {
		t.Error("a lock proves the password, or must-change does not")
	}
}
