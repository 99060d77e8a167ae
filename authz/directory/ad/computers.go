package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// Computer is a computer object, as far as policies ask for it.
type Computer struct {
	Name      string    // sAMAccountName, without its dollar sign
	OS        string    // operatingSystem: "Windows 11 Pro"
	OSVersion string    // operatingSystemVersion: "10.0 (22631)"
	Disabled  bool      // the account
	LastLogon time.Time // lastLogonTimestamp, which is up to 14 days late ([MS-ADA1] §2.351)
	Groups    []string  // names of all groups of the domain that it is in, nested ones included
	Owner     string    // managedBy, where that is a person: the own name in this directory
}

// Bounds of what is read at once, ours. Who has more is told, and nothing is taken for
// known.
const (
	maxComputers = 100_000
	maxGroups    = 100_000
)

var errNoComputers = errors.New("no computer is shown, not even our own: may the account that we bind as read them?")

// Computers reads all computer objects. One domain controller answers all of it: what
// others know may be older.
func (d *Directory) Computers(ctx context.Context) ([]Computer, error) {
	var c *dc
	err := d.withLDAP(ctx, func(ctx context.Context, answers *dc) (err error) {
		c = answers
		_, err = c.position(ctx)
		return err
	})
	var found []Computer
	if err == nil { // what follows may take longer than a login may
		found, err = d.computers(ctx, c)
	}
	if err != nil {
		return nil, directory.Unavailable{Doing: "read computers", Err: err}
	}
	return found, nil
}

func (d *Directory) computers(ctx context.Context, c *dc) ([]Computer, error) {
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: "(objectCategory=computer)", PageSize: pageSize, Limit: maxComputers,
		Attributes: []string{
			"sAMAccountName", "operatingSystem", "operatingSystemVersion", "userAccountControl", "lastLogonTimestamp", "memberOf",
			"primaryGroupID", "managedBy",
		},
	})
	switch {
	case err != nil:
		return nil, err
	case len(entries) == 0:
		return nil, errNoComputers
	}
	groups, err := d.readGroups(ctx, c)
	if err != nil {
		return nil, err
	}
	owners, err := d.owners(ctx, c, entries)
	if err != nil {
		return nil, err
	}
	all := make([]Computer, 0, len(entries))
	for _, e := range entries {
		text := e.GetEqualFoldAttributeValue
		name := strings.TrimSuffix(text("sAMAccountName"), "$")
		if name == "" {
			continue // we may not see whose it is
		}
		if text("userAccountControl") == "" {
			// Whoever may not read it must not take all for enabled.
			return nil, fmt.Errorf("entry %s: userAccountControl: %w", e.DN, errHidden)
		}
		all = append(all, Computer{
			Name: name, OS: text("operatingSystem"), OSVersion: text("operatingSystemVersion"),
			Disabled: readUAC(text("userAccountControl")).has(uacDisabled), LastLogon: readFileTime(text("lastLogonTimestamp")).Time(),
			Groups: groups.of(e.GetEqualFoldAttributeValues("memberOf"), text("primaryGroupID")), Owner: owners[folded(text("managedBy"))],
		})
	}
	return all, nil
}

// folded is a DN as it is compared. Servers spell one DN in one way, but for its letters.
func folded(dn string) string { return strings.ToLower(dn) }

// group is one of the domain's.
type group struct {
	name string
	in   []string // groups that it is a member of, folded
}

// groupTree is the groups of a domain, by folded DN and by RID.
type groupTree struct {
	byDN  map[string]group
	byRID map[string]string // folded DN
}

// readGroups reads all groups: asking for the groups of each computer would be a question
// for each.
func (d *Directory) readGroups(ctx context.Context, c *dc) (*groupTree, error) {
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: "(objectCategory=group)", PageSize: pageSize, Limit: maxGroups,
		Attributes: []string{"sAMAccountName", "memberOf", "objectSid"},
	})
	if err != nil {
		return nil, err
	}
	t := &groupTree{make(map[string]group, len(entries)), make(map[string]string, len(entries))}
	for _, e := range entries {
		g := group{name: e.GetEqualFoldAttributeValue("sAMAccountName")}
		for _, dn := range e.GetEqualFoldAttributeValues("memberOf") {
			g.in = append(g.in, folded(dn))
		}
		t.byDN[folded(e.DN)] = g
		if s, err := parseSID(e.GetEqualFoldRawAttributeValue("objectSid")); err == nil {
			text := s.String()
			t.byRID[text[strings.LastIndexByte(text, '-')+1:]] = folded(e.DN)
		}
	}
	return t, nil
}

// of are the names of the groups that a member of these is in, sorted.
func (t *groupTree) of(memberOf []string, primary string) []string {
	var open []string
	for _, dn := range memberOf {
		open = append(open, folded(dn))
	}
	if dn := t.byRID[primary]; dn != "" {
		open = append(open, dn)
	}
	seen := make(map[string]bool)
	var names []string
	for len(open) > 0 {
		dn := open[len(open)-1]
		open = open[:len(open)-1]
		g, known := t.byDN[dn]
		if seen[dn] || !known {
			continue
		}
		seen[dn] = true
		if g.name != "" {
			names = append(names, g.name)
		}
		open = append(open, g.in...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// owners are the people that manage computers, by folded DN. Groups manage some; nobody
// has a login of theirs.
func (d *Directory) owners(ctx context.Context, c *dc, computers []*ldap.Entry) (map[string]string, error) {
	var dns []string
	for _, e := range computers {
		if dn := e.GetEqualFoldAttributeValue("managedBy"); dn != "" {
			dns = append(dns, dn)
		}
	}
	slices.Sort(dns)
	owners := make(map[string]string)
	for batch := range slices.Chunk(slices.Compact(dns), batchSize) {
		var any strings.Builder
		for _, dn := range batch {
			any.WriteString(ldapc.Equal("distinguishedName", dn))
		}
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: "(&" + people + "(|" + any.String() + "))", Attributes: []string{"sAMAccountName"},
		})
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			owners[folded(e.DN)] = canonical(e.GetEqualFoldAttributeValue("sAMAccountName"))
		}
	}
	return owners, nil
}
