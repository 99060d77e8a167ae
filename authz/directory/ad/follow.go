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
	for i := range changed {
		d.forget(changed[i].Name)
	}
	return changed, directory.Mark(at.String()), nil
}

// changed looks at the names. The position is from before: what changes while we
// look is found the next time again.
func (d *Directory) changed(ctx context.Context, c *dc, names []string, old, at mark) ([]directory.Account, mark, error) {
	now := d.cfg.Now()
	all := !old.fresh(now, at.invocation)
	if all {
		at.all = now
	} else {
		at.all = old.all
		var err error
		if all, err = d.groupsChanged(ctx, c, old.usn); err != nil {
			return nil, mark{}, err
		}
	}
	if all {
		d.names.forget()
	}
	var changed []directory.Account
	var stale []*person
	for batch := range slices.Chunk(names, batchSize) {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: anyOf(batch), Attributes: personAttributes, PageSize: pageSize,
		})
		if err != nil {
			return nil, mark{}, err
		}
		people, err := readPeople(entries)
		if err != nil {
			return nil, mark{}, err
		}
		for _, name := range batch {
			i := slices.IndexFunc(people, func(p *person) bool { return p.canonical() == name })
			switch {
			case i < 0:
				changed = append(changed, directory.Account{Name: name, State: directory.Gone})
			case all || people[i].usn > old.usn || people[i].state(now, d.rules, nil) != directory.Active:
				// An account that is not active is told each time: that costs little, and a
				// lock or an end of hours changes no USN.
				stale = append(stale, people[i])
			}
		}
	}
	accounts, err := d.completeAll(ctx, c, stale)
	return append(changed, accounts...), at, err
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

// completeAll asks for the groups of many. The answers are in the order of people.
func (d *Directory) completeAll(ctx context.Context, c *dc, people []*person) ([]directory.Account, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	accounts := make([]directory.Account, len(people))
	work := make(chan int)
	var askers sync.WaitGroup
	for range min(parallel, len(people)) {
		askers.Go(func() { // waited for below
			for i := range work {
				a, err := d.complete(ctx, c, people[i])
				switch {
				case err != nil:
					cancel(err)
				case a == nil:
					accounts[i] = directory.Account{Name: people[i].canonical(), State: directory.Gone}
				default:
					accounts[i] = *a
				}
			}
		})
	}
	for i := range people {
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
