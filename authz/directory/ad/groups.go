package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

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

// Ours: below MaxPageSize, which is 1000 (RFC 2696), and below what filters get slow
// at. A batch is not paged: that would cost Samba several times as much.
const (
	pageSize  = 500
	batchSize = 100
)

// describe returns the groups as policies may name them: by name and by SID.
func (d *Directory) describe(ctx context.Context, c *dc, sids []sid) ([]string, error) {
	found, missing := d.names.find(d.cfg.Now(), sids)
	for batch := range slices.Chunk(missing, batchSize) {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: anySID(batch), Attributes: []string{"objectSid", "sAMAccountName"},
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
