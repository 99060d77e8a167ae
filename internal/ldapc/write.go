package ldapc

import (
	"context"

	"github.com/go-ldap/ldap/v3"
)

// Add makes an entry. It is sent once at most.
func (c *Client) Add(ctx context.Context, r *ldap.AddRequest) error {
	return c.once(ctx, "add "+r.DN, true, func(l *ldap.Conn) error { return l.Add(r) })
}

// Modify changes an entry. It is sent once at most.
func (c *Client) Modify(ctx context.Context, r *ldap.ModifyRequest) error {
	return c.once(ctx, "modify "+r.DN, true, func(l *ldap.Conn) error { return l.Modify(r) })
}

// Delete removes an entry. It is sent once at most.
func (c *Client) Delete(ctx context.Context, r *ldap.DelRequest) error {
	return c.once(ctx, "delete "+r.DN, true, func(l *ldap.Conn) error { return l.Del(r) })
}

// PasswordModify changes a password (RFC 3062). It is sent once at most.
func (c *Client) PasswordModify(ctx context.Context, r *ldap.PasswordModifyRequest) error {
	return c.once(ctx, "change the password of "+r.UserIdentity, true, func(l *ldap.Conn) error {
		_, err := l.PasswordModify(r)
		return err
	})
}
