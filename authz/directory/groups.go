package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Grouper is a Directory that can say whether somebody may ever be in a group of that
// name. It is for checking policies; no login asks.
type Grouper interface {
	// GroupExists compares as logins do, nested groups and SIDs included. An error is
	// Unavailable.
	GroupExists(ctx context.Context, name string) (bool, error)
}

// ErrGroupsUntold means that a realm does not tell which groups there are, such as a
// RADIUS server, which tells those of who logs in.
var ErrGroupsUntold = errors.New("the directory does not tell which groups there are")

// GroupExists implements Grouper: some realm has the group. Where none has that can
// tell, and another cannot, the error is that one's.
func (rs *Realms) GroupExists(ctx context.Context, name string) (bool, error) {
	var errs []error
	for _, q := range rs.realms {
		g, can := q.Directory.(Grouper)
		if !can {
			errs = append(errs, fmt.Errorf("realm %s: %w", q.Realm.Name, ErrGroupsUntold))
			continue
		}
		exists, err := g.GroupExists(ctx, name)
		if exists && err == nil {
			return true, nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("realm %s: %w", q.Realm.Name, err))
		}
	}
	return false, errors.Join(errs...)
}

// GroupExists implements Grouper: some account of a users file is in the group.
func (f *File) GroupExists(_ context.Context, name string) (bool, error) {
	f.refresh()
	for _, t := range *f.tables.Load() {
		for _, e := range t {
			if slices.ContainsFunc(e.groups, func(g string) bool { return strings.EqualFold(g, name) }) {
				return true, nil
			}
		}
	}
	return false, nil
}
