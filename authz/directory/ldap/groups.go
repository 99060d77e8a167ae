package ldap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

// group is a group's entry.
type group struct {
	dn    string
	names []string // and the SID, where it has one
}

// parents remembers which groups a group is in, for looking at many people. A nil
// one remembers nothing. It is safe for concurrent use.
type parents struct {
	mu sync.Mutex
	of map[string][]group // by folded DN
}

func (p *parents) find(dns []string) (known []group, missing []string) {
	if p == nil {
		return nil, dns
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, dn := range dns {
		if of, ok := p.of[foldDN(dn)]; ok {
			known = append(known, of...)
		} else {
			missing = append(missing, dn)
		}
	}
	return known, missing
}

func (p *parents) learn(dn string, of []group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of[foldDN(dn)] = of
}

// foldDN makes equal what a server writes in several ways. Two ways that stay
// different cost a question, no more.
func foldDN(dn string) string {
	if parsed, err := ldap.ParseDN(dn); err == nil {
		dn = parsed.String()
	}
	return strings.ToLower(dn)
}

// groups returns the names of the groups that a person is in, level by level. A
// group is asked about once, so loops end.
func (d *Directory) groups(ctx context.Context, p *person, known *parents) ([]string, error) {
	direct, err := d.searchGroups(ctx, d.memberFilter(p))
	if err != nil {
		return nil, err
	}
	var names []string
	visited := make(map[string]bool)
	level := direct
	for depth := 0; ; depth++ {
		var dns []string
		for _, g := range level {
			if at := foldDN(g.dn); !visited[at] {
				visited[at] = true
				names = append(names, g.names...)
				dns = append(dns, g.dn)
			}
		}
		if len(visited) > maxGroups {
			return nil, fmt.Errorf("%s is in more than %d groups", p.dn, maxGroups)
		}
		if len(dns) == 0 || depth == d.cfg.Nesting {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		if level, err = d.parents(ctx, dns, known); err != nil {
			return nil, err
		}
	}
}

// memberFilter finds the groups that a person is in directly.
func (d *Directory) memberFilter(p *person) string {
	s := &d.cfg.Schema
	f := ldapc.Equal(s.Member, p.dn)
	if !s.Posix {
		return f
	}
	any := []string{f}
	for _, name := range p.uids { // as spelled: memberUid distinguishes capitals
		any = append(any, ldapc.Equal("memberUid", name))
	}
	if p.gid != "" {
		any = append(any, ldapc.And("(objectClass=posixGroup)", ldapc.Equal("gidNumber", p.gid)))
	}
	return ldapc.Or(any...)
}

// parents returns the groups that the groups are in.
func (d *Directory) parents(ctx context.Context, dns []string, known *parents) ([]group, error) {
	found, missing := known.find(dns)
	size := batch
	if known != nil {
		size = 1 // else the answer does not tell whose parents they are
	}
	for some := range slices.Chunk(missing, size) {
		filters := make([]string, len(some))
		for i, dn := range some {
			filters[i] = ldapc.Equal(d.cfg.Schema.Member, dn)
		}
		groups, err := d.searchGroups(ctx, ldapc.Or(filters...))
		if err != nil {
			return nil, err
		}
		if known != nil {
			known.learn(some[0], groups)
		}
		found = append(found, groups...)
	}
	return found, nil
}

func (d *Directory) searchGroups(ctx context.Context, filter string) ([]group, error) {
	entries, err := d.cfg.Client.Search(ctx, &ldapc.Search{
		Base: d.cfg.GroupDN, Scope: ldap.ScopeWholeSubtree, Filter: ldapc.And(filter, d.cfg.Schema.Groups),
		Attributes: []string{d.cfg.Schema.Group, "sambaSID"}, Limit: maxGroups, PageSize: pageSize,
	})
	if err != nil {
		if ldapc.IsNoSuchObject(err) {
			err = fmt.Errorf("there is no %s, or we may not see it: %w", d.cfg.GroupDN, err)
		}
		return nil, err
	}
	groups := make([]group, 0, len(entries))
	for _, e := range entries {
		g := group{dn: e.DN, names: slices.Clone(e.GetEqualFoldAttributeValues(d.cfg.Schema.Group))}
		if sid := e.GetEqualFoldAttributeValue("sambaSID"); sid != "" {
			g.names = append(g.names, sid)
		}
		groups = append(groups, g)
	}
	return groups, nil
}
