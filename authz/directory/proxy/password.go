package proxy

import (
	"bytes"
	"context"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
)

// maxPassword is what User-Password can hold (RFC 2865 §5.2).
const maxPassword = 128

// VerifyPassword implements directory.Directory. What User-Password cannot hold is no
// password: it ends at the first zero octet, and an empty one some servers hand to a
// directory that takes it for an anonymous bind.
func (d *Directory) VerifyPassword(ctx context.Context, n directory.Name, a *directory.Account, password []byte) (directory.Proof, error) {
	if len(password) == 0 || len(password) > maxPassword || bytes.IndexByte(password, 0) >= 0 {
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword, Detail: "not a password that User-Password can hold"}
	}
	q, err := d.request(bare(n))
	if err != nil {
		return directory.Proof{}, err
	}
	if err := rfc2865.UserPassword_Add(q, password); err != nil {
		return directory.Proof{}, err
	}
	accept, err := d.ask(ctx, q, a)
	if err != nil {
		return directory.Proof{}, err
	}
	return directory.Proof{Groups: d.groups(accept)}, nil
}
