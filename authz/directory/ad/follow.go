package ad

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// Changed implements directory.Follower.
//
// One domain controller answers all of it. Each name is looked for, in batches: a
// deleted account is not there any more, and one whose USN went past the mark has
// changed. A group's members do not change when it does, so if any group has, all
// groups of all names are asked for. So they are where the mark says nothing, and
// every recheck.
func (d *Directory) Changed(ctx context.Context, names []string, since directory.Mark) (changed []directory.Account, next directory.Mark, err error) {
	old, err := parseMark(since)
	if err != nil {
		old = mark{} // an empty one, or of an older version of ours
	}
	if len(names) == 0 {
		return nil, since, nil
	}
	// A server that answers is chosen; what follows may take longer than a login may.
	var c *dc
	var at mark
	err = d.withLDAP(ctx, func(ctx context.Context, answers *dc) (err error) {
		c = answers
		at, err = c.position(ctx)
		return err
	})
	if err == nil {
		changed, at, err = d.changed(ctx, c, names, old, at)
	}
	if err != nil {
		return nil, since, directory.Unavailable{Doing: "look for changes", Err: err}
	}
	stale := make(map[string]bool, len(changed))
	for i := range changed {
		stale[changed[i].Name] = true
	}
	d.cache.ForgetIf(func(_ string, a *directory.Account) bool { return stale[a.Name] })
	return changed, directory.Mark(at.String()), nil
}

// changed looks at the names. The position is from before: what changes while we
// look is found the next time again.
func (d *Directory) changed(ctx context.Context, c *dc, names []string, old, at mark) ([]directory.Account, mark, error) {
	now := d.cfg.Now()
	all := !old.fresh(now, at.invocation)
	if !all {
		at.all = old.all
		var err error
		if all, err = d.groupsChanged(ctx, c, old.usn); err != nil {
			return nil, mark{}, err
		}
	}
	if all {
		at.all = now
		d.names.forget()
	}
	// What AD computes is left out of the first look: of that, time alone changes a
	// password's end without a USN, and a recheck sees it.
	attributes := storedAttributes
	if all {
		attributes = personAttributes
	}
	people, err := d.people(ctx, c, names, attributes)
	if err != nil {
		return nil, mark{}, err
	}
	var changed []directory.Account
	var stale []string
	for _, name := range names {
		switch p := people[name]; {
		case p == nil:
			changed = append(changed, directory.Account{Name: name, State: directory.Gone})
		case all || p.usn > old.usn || p.state(now, d.rules, nil) != directory.Active:
			// One that is not active is told each time: that costs little, and an end of
			// hours changes no USN.
			stale = append(stale, name)
		}
	}
	if !all && len(stale) > 0 {
		if people, err = d.people(ctx, c, stale, personAttributes); err != nil {
			return nil, mark{}, err
		}
	}
	accounts, err := d.completeAll(ctx, c, stale, people)
	return append(changed, accounts...), at, err
}

// people looks for names, in batches. Who is not there is not in the map.
func (d *Directory) people(ctx context.Context, c *dc, names, attributes []string) (map[string]*person, error) {
	all := make(map[string]*person, len(names))
	for batch := range slices.Chunk(names, batchSize) {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: anyOf(batch), Attributes: attributes,
		})
		if err != nil {
			return nil, err
		}
		people, err := readPeople(entries)
		if err != nil {
			return nil, err
		}
		for _, p := range people {
			all[p.canonical()] = p
		}
	}
	return all, nil
}

// groupsChanged says whether any group has changed since. Which one does not help:
// it may be nested anywhere.
func (d *Directory) groupsChanged(ctx context.Context, c *dc, usn int64) (bool, error) {
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: changedGroups(usn), Attributes: []string{"uSNChanged"}, Limit: 1,
	})
	if err != nil && !ldapc.IsTooMany(err) {
		return false, err
	}
	return len(entries) > 0 || ldapc.IsTooMany(err), nil
}

// parallel is how many questions about groups are under way at once, ours: one
// connection's worth for each, and logins need some, too.
const parallel = 4

// completeAll asks for the groups of many. The answers are in the order of names.
func (d *Directory) completeAll(ctx context.Context, c *dc, names []string, people map[string]*person) ([]directory.Account, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	accounts := make([]directory.Account, len(names))
	work := make(chan int)
	var askers sync.WaitGroup
	for range min(parallel, len(names)) {
		askers.Go(func() { // waited for below
			for i := range work {
				a, err := d.completeOne(ctx, c, names[i], people[names[i]])
				if err != nil {
					cancel(err)
				}
				accounts[i] = a
			}
		})
	}
	for i := range names {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	askers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return accounts, nil
}

// completeOne is complete for somebody who may be gone by now.
func (d *Directory) completeOne(ctx context.Context, c *dc, name string, p *person) (directory.Account, error) {
	gone := directory.Account{Name: name, State: directory.Gone}
	if p == nil {
		return gone, nil
	}
	a, err := d.complete(ctx, c, p)
	if a == nil || err != nil {
		return gone, err
	}
	return *a, nil
}

// position is where a domain controller's USNs are now.
func (c *dc) position(ctx context.Context) (mark, error) {
	root, err := c.ldap.RootDSE(ctx)
	if err != nil {
		return mark{}, err
	}
	usn, err := strconv.ParseInt(root.GetEqualFoldAttributeValue("highestCommittedUSN"), 10, 64)
	if err != nil {
		return mark{}, fmt.Errorf("read highestCommittedUSN: %w", err)
	}
	entries, err := c.ldap.Search(ctx, &ldapc.Search{
		Base: root.GetEqualFoldAttributeValue("dsServiceName"), Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"invocationId"},
	})
	if err != nil && !ldapc.IsNoSuchObject(err) {
		return mark{}, err
	}
	m := mark{usn: usn}
	if len(entries) > 0 {
		m.invocation = hex.EncodeToString(entries[0].GetEqualFoldRawAttributeValue("invocationId"))
	}
	return m, nil // without an invocation no mark is ever fresh
}
