package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// Canonical implements directory.Directory.
func (d *Directory) Canonical(n directory.Name) string { return canonical(n.User) }

// Find implements directory.Directory.
func (d *Directory) Find(ctx context.Context, n directory.Name) (*directory.Account, error) {
	// Such a name is nobody's: an attribute of a directory's is UTF-8 (RFC 4517 §3.3.6).
	if n.User == "" || len(n.User) > maxName || !utf8.ValidString(n.User) || strings.ContainsRune(n.User, 0) {
		return nil, directory.Rejected{Reason: directory.NoSuchUser}
	}
	return d.cache.Get(ctx, canonical(n.User), func(ctx context.Context) (*directory.Account, error) {
		return d.ask(ctx, n.User)
	})
}

// ask looks an account up.
func (d *Directory) ask(ctx context.Context, name string) (*directory.Account, error) {
	entries, err := d.people(ctx, ldapc.Equal(d.cfg.Schema.User, name), 2, d.particulars()...)
	if len(entries) > 1 {
		err = errors.New("several accounts have the name")
	}
	if err != nil {
		return nil, directory.Unavailable{Doing: fmt.Sprintf("find %q", name), Err: err}
	}
	if len(entries) == 0 {
		// As much work as for somebody who is in no group.
		if _, err := d.groups(ctx, &person{dn: d.nobody(), uids: []string{name}}, nil); err != nil {
			return nil, directory.Unavailable{Doing: "find groups of nobody", Err: err}
		}
		return nil, directory.Rejected{Reason: directory.NoSuchUser}
	}
	a, err := d.complete(ctx, d.read(entries[0]), nil)
	if err != nil {
		return nil, directory.Unavailable{Doing: fmt.Sprintf("find groups of %q", name), Err: err}
	}
	if d.cfg.TOTP != "" {
		a.Seeds = directory.NewSeeds(entries[0].GetEqualFoldAttributeValues(d.cfg.TOTP))
	}
	if err := d.cfg.Static.Read(entries[0].GetEqualFoldAttributeValues, a); err != nil {
		d.cfg.Log.Warn("the account's own address or routes are not all used", "user", a.Name, "error", err)
	}
	return a, nil
}

// particulars are what is read besides of who logs in, and of nobody else.
func (d *Directory) particulars() []string {
	attributes := d.cfg.Static.Attributes()
	if d.cfg.TOTP != "" {
		attributes = append(attributes, d.cfg.TOTP)
	}
	return attributes
}

// nobody is asked about in place of people who do not exist.
func (d *Directory) nobody() string { return d.cfg.Schema.User + "=postern-nobody," + d.cfg.BaseDN }

// people searches among the accounts; more are attributes to read besides.
func (d *Directory) people(ctx context.Context, filter string, limit int, more ...string) ([]*ldapc.Entry, error) {
	entries, err := d.cfg.Client.Search(ctx, &ldapc.Search{
		Base: d.cfg.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: ldapc.And(filter, d.cfg.Schema.People, d.cfg.Filter),
		Attributes: append(d.personAttributes(), more...), Limit: limit,
	})
	if ldapc.IsNoSuchObject(err) {
		err = fmt.Errorf("there is no %s, or we may not see it: %w", d.cfg.BaseDN, err)
	}
	return entries, err
}

// person is an account's entry.
type person struct {
	dn, name  string
	uids      []string // the name as it is spelled, and others of his
	sid       string
	gid       string
	modified  string // modifyTimestamp; "": not told
	state     directory.State
	passwords passwords
}

// personAttributes are all that is read of people, but for the hash: half of them
// are operational and come only by name (RFC 4511 §4.5.1.8).
func (d *Directory) personAttributes() []string {
	return append([]string{d.cfg.Schema.User, "gidNumber", "sambaSID", "ipaNTSecurityIdentifier", "modifyTimestamp"}, stateAttributes...)
}

// read makes an entry a person.
func (d *Directory) read(e *ldapc.Entry) *person {
	p := &person{
		dn: e.DN, name: nameOf(e, d.cfg.Schema.User), uids: e.GetEqualFoldAttributeValues(d.cfg.Schema.User), gid: e.GetEqualFoldAttributeValue("gidNumber"),
		modified: e.GetEqualFoldAttributeValue("modifyTimestamp"), sid: e.GetEqualFoldAttributeValue("sambaSID"),
	}
	if p.sid == "" {
		p.sid = e.GetEqualFoldAttributeValue("ipaNTSecurityIdentifier")
	}
	var err error
	if p.state, p.passwords, err = readState(e, d.cfg.Now(), d.cfg.LockTime); err != nil {
		d.cfg.Log.Warn("account is refused, because its state cannot be read", "dn", e.DN, "error", err)
	}
	return p
}

// nameOf is an entry's canonical name. Of several values it is the one that the DN
// begins with, else the first in the alphabet: servers return them in any order.
func nameOf(e *ldapc.Entry, attribute string) string {
	values := e.GetEqualFoldAttributeValues(attribute)
	if len(values) == 0 {
		return ""
	}
	if dn, err := ldap.ParseDN(e.DN); err == nil && len(dn.RDNs) > 0 {
		for _, a := range dn.RDNs[0].Attributes {
			if strings.EqualFold(a.Type, attribute) {
				return canonical(a.Value)
			}
		}
	}
	return canonical(slices.Min(values))
}

// complete makes a person an account, with its groups.
func (d *Directory) complete(ctx context.Context, p *person, known *parents) (*directory.Account, error) {
	groups, err := d.groups(ctx, p, known)
	if err != nil {
		return nil, err
	}
	return &directory.Account{
		Name: p.name, SID: p.sid, Ref: p.dn, Groups: groups, State: p.state,
		PasswordSet: p.passwords.set, PasswordExpires: p.passwords.expires,
	}, nil
}
