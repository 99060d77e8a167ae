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
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: findFilter(n, d.own), Attributes: personAttributes, Limit: ambiguous,
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
		found, err = d.complete(ctx, c, p)
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

var errGone = errors.New("the account has gone meanwhile")

// groups asks for the SIDs of all groups that a person is in, nested ones and the
// primary one included.
func (d *Directory) groups(ctx context.Context, c *dc, p *person) ([]sid, error) {
	// tokenGroups is computed, and for a base search only ([MS-ADTS] §3.1.1.4.5.19).
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: p.dn, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"tokenGroups"},
	})
	if err != nil && !ldapc.IsNoSuchObject(err) {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errGone
	}
	var sids []sid
	for _, raw := range entries[0].GetEqualFoldRawAttributeValues("tokenGroups") {
		s, err := parseSID(raw)
		if err != nil {
			return nil, fmt.Errorf("entry %s: tokenGroups: %w", p.dn, err)
		}
		sids = append(sids, s)
	}
	if len(sids) > 0 {
		d.alarms.clear(d.cfg.Now(), c.host, AlarmGroups)
		return sids, nil
	}
	// Everybody has a primary group: we may not read the attribute.
	d.alarms.raise(d.cfg.Now(), c.host, AlarmGroups, "tokenGroups of "+p.dn+" is empty")
	return d.groupsInChain(ctx, c, p)
}

// groupsInChain is the slower way, which sees no groups of other domains.
func (d *Directory) groupsInChain(ctx context.Context, c *dc, p *person) ([]sid, error) {
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: groupsOf(p.dn), Attributes: []string{"objectSid"}, PageSize: pageSize,
	})
	if err != nil {
		return nil, err
	}
	primary := p.sid.domain()
	primary.sub[primary.n], primary.n = p.primary, primary.n+1
	sids := []sid{primary}
	for _, e := range entries {
		s, err := parseSID(e.GetEqualFoldRawAttributeValue("objectSid"))
		if err != nil {
			return nil, fmt.Errorf("entry %s: objectSid: %w", e.DN, err)
		}
		sids = append(sids, s)
	}
	return sids, nil
}

// Ours: below the smallest MaxPageSize, and below what filters get slow at.
const (
	pageSize  = 500
	batchSize = 100
)

// describe returns the groups as policies may name them: by name and by SID.
func (d *Directory) describe(ctx context.Context, c *dc, sids []sid) ([]string, error) {
	found, missing := d.names.find(d.cfg.Now(), sids)
	for batch := range slices.Chunk(missing, batchSize) {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: anySID(batch), Attributes: []string{"objectSid", "sAMAccountName"}, PageSize: pageSize,
		})
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if s, err := parseSID(e.GetEqualFoldRawAttributeValue("objectSid")); err == nil {
				found[s] = e.GetEqualFoldAttributeValue("sAMAccountName")
			}
		}
		d.names.learn(d.cfg.Now(), batch, found)
	}
	return withNames(sids, found), nil
}

// withNames puts the names in front of the SIDs.
func withNames(sids []sid, found map[sid]string) []string {
	groups := make([]string, 0, 2*len(sids))
	for _, s := range sids {
		if name := found[s]; name != "" {
			groups = append(groups, name)
		}
	}
	for _, s := range sids {
		groups = append(groups, s.String())
	}
	return groups
}

// cacheKey tells apart what may be two people.
func cacheKey(n directory.Name) string {
	if n.Down || n.Realm == "" {
		return canonical(n.User)
	}
	return canonical(n.User) + "@" + strconv.Quote(strings.ToLower(n.Realm))
}
