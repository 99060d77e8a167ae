package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/internal/store"
)

// Keeper lists and revokes grants: for users in the portal, and for operators.
type Keeper struct{ store store.Store }

// New makes a Keeper.
func New(s store.Store) *Keeper { return &Keeper{s} }

// List returns a user's grants that are good by the policy they were given under,
// newest first. The policy in force may shorten them further.
func (k *Keeper) List(ctx context.Context, user string) ([]Grant, error) {
	list, _, _, now, err := k.load(ctx, user)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(g Grant) bool { return !now.Before(g.Until()) })
	slices.SortStableFunc(list, func(a, b Grant) int { return b.Given.Compare(a.Given) })
	return list, nil
}

func (k *Keeper) load(ctx context.Context, user string) (list []Grant, found bool, raw string, now time.Time, err error) {
	get, clock := &store.Get{Key: store.UserGrants(user)}, &store.Time{}
	if err := k.store.Do(ctx, store.Seq{get, clock}); err != nil {
		return nil, false, "", time.Time{}, err
	}
	if get.Found {
		if err := parse(get.Value, &list); err != nil {
			return nil, true, get.Value, clock.Now, err
		}
	}
	return list, get.Found, get.Value, clock.Now, nil
}

// Revoke takes one grant away; false: there is none of that ID.
func (k *Keeper) Revoke(ctx context.Context, user, id string) (bool, error) {
	n, err := k.remove(ctx, user, func(g *Grant) bool { return g.ID == id })
	return n > 0, err
}

// RevokeAll takes all grants away, those too that nobody can read, and returns how many
// there were.
func (k *Keeper) RevokeAll(ctx context.Context, user string) (int, error) {
	return k.remove(ctx, user, func(*Grant) bool { return true })
}

// errChanging: so many write the list at once that we never came to it.
var errChanging = errors.New("grants change all the time")

func (k *Keeper) remove(ctx context.Context, user string, which func(*Grant) bool) (int, error) {
	for range tries {
		list, found, raw, now, err := k.load(ctx, user)
		switch {
		case err != nil && raw == "":
			return 0, err
		case !found:
			return 0, nil
		case err != nil && !which(&Grant{}):
			return 0, err // a list that cannot be read is taken away as a whole only
		}
		kept := slices.DeleteFunc(slices.Clone(list), func(g Grant) bool { return which(&g) })
		if len(kept) == len(list) && err == nil {
			return 0, nil
		}
		op := swap(store.UserGrants(user), found, raw, now, kept)
		if err := k.store.Do(ctx, store.Seq{op}); err != nil {
			return 0, err
		}
		if op.OK {
			return len(list) - len(kept), nil
		}
	}
	return 0, fmt.Errorf("user %s: %w", user, errChanging)
}

// Remember writes a factor down by itself, after a login's commit found the list
// changed.
func (k *Keeper) Remember(ctx context.Context, q *Query, w *Write, p *Place) error {
	for range tries {
		if err := q.Again(w); err != nil {
			return err
		}
		again, err := q.Give(w.Grant.Given, p, w.Grant.Factor, w.Grant.Decision)
		if again == nil || err != nil {
			return err
		}
		if err := k.store.Do(ctx, again.Seqs()...); err != nil {
			return err
		}
		if again.OK() {
			return nil
		}
		w = again
	}
	return fmt.Errorf("user %s: %w", q.user, errChanging)
}
