package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// Canonical implements directory.Directory. Where the part in front of the @ is
// another name than the sAMAccountName, only Find knows.
func (d *Directory) Canonical(n directory.Name) string { return canonical(n.User) }

// own says whether a domain is ours.
func (d *Directory) own(domain string) bool {
	return strings.EqualFold(domain, d.cfg.Domain) || strings.EqualFold(domain, d.cfg.NetBIOS)
}

// maxName is what no account's name exceeds: a userPrincipalName may have 1024
// characters, of which User-Name (RFC 2865 §5.1) transports 253.
const maxName = 253

// Find implements directory.Directory.
func (d *Directory) Find(ctx context.Context, n directory.Name) (*directory.Account, error) {
	if n.User == "" || len(n.User)+len(n.Realm) > maxName {
		return nil, directory.Rejected{Reason: directory.NoSuchUser}
	}
	key := cacheKey(n)
	a, err := d.cache.Get(ctx, key, func(ctx context.Context) (*directory.Account, error) { return d.ask(ctx, n) })
	if err != nil {
		if _, no := directory.IsRejected(err); no {
			return nil, err
		}
		return nil, directory.Unavailable{Doing: "find account", Err: err}
	}
	if a.State != directory.Active {
		// What keeps somebody out must not do so longer than it is true: NETLOGON, which
		// may know better, does not look at what is cached.
		d.cache.Forget(key)
	}
	return a, nil
}

// ask looks an account up. All questions go to one domain controller: what another
// knows may be older.
func (d *Directory) ask(ctx context.Context, n directory.Name) (*directory.Account, error) {
	var found *directory.Account
	err := d.withLDAP(ctx, func(ctx context.Context, c *dc) error {
		found = nil
		attributes := append(slices.Clone(personAttributes), d.cfg.Static.Attributes()...)
		if d.cfg.TOTP != "" {
			attributes = append(attributes, d.cfg.TOTP)
		}
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: findFilter(n, d.own), Attributes: attributes, Limit: ambiguous,
		})
		if err != nil {
			return err
		}
		people, err := readPeople(entries)
		if err != nil {
			return err
		}
		p, several := meant(n, people)
		if several {
			return fmt.Errorf("find %q: several accounts have the name", n.User)
		}
		if p == nil {
			return nil
		}
		if found, err = d.complete(ctx, c, p); found != nil {
			d.particulars(entries, p.dn, found)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, directory.Rejected{Reason: directory.NoSuchUser}
	}
	return found, nil
}

// particulars are what only a login needs of one of the entries.
func (d *Directory) particulars(entries []*ldap.Entry, dn string, a *directory.Account) {
	i := slices.IndexFunc(entries, func(e *ldap.Entry) bool { return e.DN == dn })
	if i < 0 {
		return
	}
	if d.cfg.TOTP != "" {
		a.Seeds = directory.NewSeeds(entries[i].GetEqualFoldAttributeValues(d.cfg.TOTP))
	}
	if err := d.cfg.Static.Read(entries[i].GetEqualFoldAttributeValues, a); err != nil {
		d.cfg.Log.Warn("the account's own address or routes are not all used", "user", a.Name, "error", err)
	}
}

// ambiguous is more than a name may find: one by each attribute of findFilter.
const ambiguous = 3

func readPeople(entries []*ldap.Entry) ([]*person, error) {
	people := make([]*person, 0, len(entries))
	for _, e := range entries {
		p, err := readPerson(e)
		if err != nil {
			return nil, err
		}
		people = append(people, p)
	}
	return people, nil
}

// complete makes a person an account with its groups; nil when it is gone.
func (d *Directory) complete(ctx context.Context, c *dc, p *person) (*directory.Account, error) {
	groups, err := d.groups(ctx, c, p)
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := p.account(d.cfg.Now(), d.rules, groups)
	if a.Groups, err = d.describe(ctx, c, groups); err != nil {
		return nil, err
	}
	return &a, nil
}

// cacheKey tells apart what may be two people.
func cacheKey(n directory.Name) string {
	if n.Down || n.Realm == "" {
		return canonical(n.User)
	}
	return canonical(n.User) + "@" + strconv.Quote(strings.ToLower(n.Realm))
}
