package ldapc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-ldap/ldap/v3/gssapi"
	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/krberror"
)

// bindGSSAPI binds with a Kerberos ticket (RFC 4752), without a security layer:
// that is TLS's part. refused says that the KDC or the server said no, rather than
// nothing.
func (p *pool) bindGSSAPI(ctx context.Context, c *conn, password string) (refused bool, err error) {
	spn := p.cfg.Bind.SPN
	if spn == "" {
		spn = "ldap/" + p.host
	}
	ticket, err := p.ticket(ctx, spn, password)
	if err != nil {
		var k krberror.Krberror
		return errors.As(err, &k) && k.RootCause == krberror.KDCError, err
	}
	defer ticket.Close()
	err = c.do(ctx, func(l *ldap.Conn) error { return l.GSSAPIBind(ticket, spn, "") })
	return !silent(err), err
}

// ticket gets a ticket for the server. gokrb5 waits for a KDC as long as it thinks
// right (five seconds for each), so it runs beside us and is left to itself when ctx
// ends; there is one such at a time, and pool.close waits for it.
func (p *pool) ticket(ctx context.Context, spn, password string) (*gssapi.Client, error) {
	select {
	case p.kdc <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another's ticket: %w", context.Cause(ctx))
	}
	type result struct {
		ticket *gssapi.Client
		err    error
	}
	got := make(chan result)
	p.work.Go(func() { // pool.close waits
		defer func() { <-p.kdc }()
		ticket, err := p.cfg.Bind.ticket(spn, password)
		select {
		case got <- result{ticket, err}:
		case <-ctx.Done():
			if err == nil {
				ticket.Close()
			}
		}
	})
	select {
	case r := <-got:
		return r.ticket, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the KDC: %w", context.Cause(ctx))
	}
}

func (b *Bind) ticket(spn, password string) (*gssapi.Client, error) {
	name, realm, _ := strings.Cut(b.Name, "@")
	var c *gssapi.Client
	var err error
	// gokrb5 insists on an answer to its offer of FAST (RFC 6806 §11) that Samba gives
	// and Windows may not; its manual wants it off for AD.
	noFAST := client.DisablePAFXFAST(true)
	if b.Keytab != "" {
		c, err = gssapi.NewClientWithKeytab(name, realm, b.Keytab, b.Krb5Conf, noFAST)
	} else {
		c, err = gssapi.NewClientWithPassword(name, realm, password, b.Krb5Conf, noFAST)
	}
	if err != nil {
		return nil, fmt.Errorf("set up Kerberos: %w", err)
	}
	if err := c.Login(); err != nil {
		c.Close()
		return nil, fmt.Errorf("log in at the KDC: %w", err)
	}
	if _, _, err := c.GetServiceTicket(spn); err != nil {
		c.Close()
		return nil, fmt.Errorf("get a ticket for %s: %w", spn, err)
	}
	return c, nil
}
