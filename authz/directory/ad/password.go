package ad

import (
	"bytes"
	"context"
	"unicode/utf8"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// VerifyPassword implements directory.Directory: by a bind as the person. A DC
// counts failures as it does for a logon.
func (d *Directory) VerifyPassword(ctx context.Context, _ directory.Name, a *directory.Account, password []byte) (directory.Proof, error) {
	// An empty password would make an anonymous bind, which succeeds (RFC 4513 §5.1.2).
	if len(password) == 0 || !utf8.Valid(password) || bytes.IndexByte(password, 0) >= 0 {
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword, Detail: "no password that a directory could have"}
	}
	dn := "CN=" + nobody + "," + d.base
	if a != nil {
		dn = a.Ref
	}
	err := d.withLDAP(ctx, func(ctx context.Context, c *dc) error {
		return c.ldap.Bind(ctx, dn, password)
	})
	switch {
	case err == nil && a == nil:
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	case err == nil:
		return directory.Proof{}, nil
	case ldapc.IsInvalidCredentials(err):
		code, _ := ldapc.SubCode(err)
		r := bindRefused(code)
		if a == nil {
			r.Reason, r.State = directory.NoSuchUser, directory.StateUnknown
		}
		return directory.Proof{}, r
	}
	return directory.Proof{}, directory.Unavailable{Doing: "verify password", Err: err}
}
