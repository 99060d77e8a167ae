package ad

import (
	"context"
	"errors"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
	"postern/internal/failover"
)

// ChangePassword implements directory.Changer. That the new password is the one
// that the peer knows, a logon with it must show.
func (d *Directory) ChangePassword(ctx context.Context, _ directory.Name, a *directory.Account, change *directory.Change) error {
	if a == nil {
		return directory.Rejected{Reason: directory.NoSuchUser}
	}
	defer d.Forget(a.Name)
	var lost error // what another domain controller may have done, and did not say
	err := d.withLogon(ctx, func(ctx context.Context, c *dc) error {
		err := d.asMachine(c, func() error {
			return netlogon.ChangePassword(ctx, d.cfg.netlogon(c.host, c.secret.password), a.Name, &change.Encrypted, &change.OldHash)
		})
		d.tellUnavailable(c, err)
		if failover.IsAway(err) {
			lost = err
		}
		return err
	})
	if err == nil {
		return nil
	}
	answered := answer("change password", err)
	if r, no := directory.IsRejected(answered); no && r.Reason == directory.WrongPassword && lost != nil {
		// The old password may be wrong because it is changed already.
		return directory.Unavailable{Doing: "change password", Err: errors.Join(lost, err)}
	}
	return answered
}

// asMachine does something that takes the machine account's password. Where one is
// refused, and there are others, they are tried.
func (d *Directory) asMachine(c *dc, f func() error) error {
	for tries := 1; ; tries++ {
		err := f()
		if !machineRefused(err) || tries >= c.secret.next() {
			return err
		}
	}
}

// machineRefused says whether a domain controller refused the machine account's
// password.
func machineRefused(err error) bool {
	var u *netlogon.Unavailable
	var s netlogon.Status
	return errors.As(err, &u) && u.Alarm && errors.As(err, &s) && s == netlogon.StatusAccessDenied
}
