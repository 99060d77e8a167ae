package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/radius"
)

// RFC 2865 §5.1, §5.32.
const maxAttribute = 253

// request is what all requests have.
func (d *Directory) request(name string) (*radius.Packet, error) {
	if name == "" || len(name) > maxAttribute {
		return nil, directory.Rejected{Reason: directory.NoSuchUser, Detail: fmt.Sprintf("a name of %d octets", len(name))}
	}
	// A password is hidden under this secret until the client hides it under the
	// server's own.
	q := radius.NewRequest(radius.CodeAccessRequest, radius.NewSecret(rand.Text()))
	return q, errors.Join(
		rfc2865.UserName_AddString(q, name),
		rfc2865.NASIdentifier_AddString(q, d.cfg.NAS),
		rfc2865.NASPortType_Add(q, rfc2865.NASPortType_Value_Virtual),
	)
}

// ask returns an Access-Accept, or why there is none. Of an account that is nobody's
// the answer says that, whatever the server thinks of the name.
func (d *Directory) ask(ctx context.Context, q *radius.Packet, a *directory.Account) (*radius.Packet, error) {
	reply, err := d.cfg.Upstream.Exchange(ctx, q)
	if err != nil {
		return nil, directory.Unavailable{Doing: "ask the upstream RADIUS server", Err: err}
	}
	var no directory.Rejected
	switch reply.Code {
	case radius.CodeAccessAccept:
		if a != nil {
			return reply, nil
		}
		return nil, directory.Rejected{Reason: directory.NoSuchUser, Detail: "Access-Accept from upstream, but no such account"}
	case radius.CodeAccessReject:
		no = rejected(reply)
	case radius.CodeAccessChallenge:
		no = directory.Rejected{
			Reason: directory.AccountState, State: directory.Restricted,
			Detail: "Access-Challenge from upstream: it wants more than a password",
		}
	default:
		return nil, unusable(fmt.Errorf("%v in answer to Access-Request", reply.Code))
	}
	if a == nil {
		no.Reason, no.State = directory.NoSuchUser, directory.StateUnknown
	}
	return nil, no
}

// unusable is an answer from which a login cannot be made.
func unusable(err error) error {
	return directory.Unavailable{Doing: "read the upstream RADIUS server's answer", Err: err}
}
