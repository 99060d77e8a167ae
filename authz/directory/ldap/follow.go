package ldap

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// Ours.
const (
	// overlap is how far a server's clock, or a replica's copy, may be behind us. What
	// changed within it is told again, which costs little.
	overlap = 10 * time.Minute
	// recheck is how often everybody is told, whatever the directory says of changes.
	recheck = time.Hour
	// allGone is how many people at once are not believed to be gone, all of them.
	allGone = 10
	// parallel is how many questions about groups are under way at once; logins need
	// connections, too.
	parallel = 2
)

// Changed implements directory.Follower.
//
// The names are looked for in batches, so that a deleted account is missed and a
// time that has come is noticed; both change no timestamp. A group's members do not
// change when it does, so if any group has, or there is one more or less, the groups
// of all names are asked for. So they are every recheck.
func (d *Directory) Changed(ctx context.Context, names []string, since directory.Mark) (changed []directory.Account, next directory.Mark, err error) {
	if len(names) == 0 {
		return nil, since, nil
	}
	old, err := parseMark(since)
	if err != nil {
		old = mark{} // an empty one, or of an older version of ours
	}
	changed, at, err := d.changed(ctx, names, old)
	if err != nil {
		return nil, since, directory.Unavailable{Doing: "look for changes", Err: err}
	}
	gone := make(map[string]bool, len(changed))
	for i := range changed {
		gone[changed[i].Name] = true
	}
	d.forget(gone)
	return changed, directory.Mark(at.String()), nil
}

func (d *Directory) changed(ctx context.Context, names []string, old mark) ([]directory.Account, mark, error) {
	at := mark{look: d.cfg.Now(), all: old.all}
	groups, known, err := d.groupsDigest(ctx)
	if err != nil {
		return nil, mark{}, err
	}
	at.groups = groups
	all := !known || at.groups != old.groups || at.look.Sub(old.all) >= recheck || at.look.Before(old.all)
	if all {
		at.all = at.look
	}
	from := old.look.Add(-overlap)
	var changed []directory.Account
	var stale []*person
	for some := range slices.Chunk(names, batch) {
		found, err := d.peopleNamed(ctx, some)
		if err != nil {
			return nil, mark{}, err
		}
		for _, name := range some {
			p := found[name]
			if p == nil {
				changed = append(changed, directory.Account{Name: name, State: directory.Gone})
				continue
			}
			modified, err := parseTime(p.modified)
			if all || err != nil || !modified.Before(from) || p.state != directory.Active {
				stale = append(stale, p)
			}
		}
	}
	if len(names) >= allGone && len(changed) == len(names) {
		return nil, mark{}, fmt.Errorf("none of %d accounts is there any more: this looks like a replica that is being filled", len(names))
	}
	accounts, err := d.completeAll(ctx, stale)
	return append(changed, accounts...), at, err
}

// peopleNamed finds people by their canonical names.
func (d *Directory) peopleNamed(ctx context.Context, names []string) (map[string]*person, error) {
	filters := make([]string, len(names))
	for i, name := range names {
		filters[i] = ldapc.Equal(d.cfg.Schema.User, name)
	}
	entries, err := d.people(ctx, ldapc.Or(filters...), 2*batch)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*person, len(entries))
	for _, e := range entries {
		p := d.read(e)
		if found[p.name] != nil {
			return nil, fmt.Errorf("several accounts have the name %q", p.name)
		}
		found[p.name] = p
	}
	return found, nil
}

// groupsDigest changes when any group does. known is false where the directory does
// not tell when a group was changed.
func (d *Directory) groupsDigest(ctx context.Context) (digest [16]byte, known bool, err error) {
	entries, err := d.cfg.Client.Search(ctx, &ldapc.Search{
		Base: d.cfg.GroupDN, Scope: ldap.ScopeWholeSubtree, Filter: d.cfg.Schema.Groups, Attributes: []string{"modifyTimestamp", "entryCSN"},
		PageSize: pageSize,
	})
	if ldapc.IsTooMany(err) {
		return digest, false, nil // the groups of all names are fewer questions
	}
	if err != nil {
		return digest, false, err
	}
	lines := make([]string, len(entries))
	known = true
	for i, e := range entries {
		// entryCSN (OpenLDAP) tells apart what happened in one second.
		modified := e.GetEqualFoldAttributeValue("modifyTimestamp") + " " + e.GetEqualFoldAttributeValue("entryCSN")
		known = known && modified != " "
		lines[i] = foldDN(e.DN) + " " + modified + "\n"
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range lines {
		h.Write([]byte(l))
	}
	copy(digest[:], h.Sum(nil))
	return digest, known, nil
}

// completeAll asks for the groups of many. The answers are in the order of people.
func (d *Directory) completeAll(ctx context.Context, people []*person) ([]directory.Account, error) {
	known := &parents{of: make(map[string][]group)}
	accounts := make([]directory.Account, len(people))
	errs := make([]error, parallel)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var askers sync.WaitGroup
	for n := range parallel {
		askers.Go(func() { // waited for below
			for i := n; i < len(people); i += parallel {
				a, err := d.complete(ctx, people[i], known)
				if err != nil {
					errs[n] = err
					cancel()
					return
				}
				accounts[i] = *a
			}
		})
	}
	askers.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	return accounts, errors.Join(errs...)
}

// forget drops accounts from the cache, under whatever name they were asked for.
func (d *Directory) forget(names map[string]bool) {
	d.cache.ForgetIf(func(_ string, a *directory.Account) bool { return names[a.Name] })
}
