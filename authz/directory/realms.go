package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Realm is a directory with the names that select it.
type Realm struct {
	Name      string
	Directory Directory

	Before  []string // domains in front: CORP in CORP\alice
	Behind  []string // domains behind: corp.example in alice@corp.example
	Default bool     // names without a domain
	Any     bool     // names with a domain that selects no other
	// Suffix makes canonical names differ between realms: alice@SUFFIX. "" leaves
	// them as the directory gives them.
	Suffix string
}

// Realms is the Directory of all realms. What it hands out is qualified: the
// realm's name and suffix are in the accounts.
type Realms struct {
	realms []*qualified
	before map[string]*qualified
	behind map[string]*qualified
	bare   *qualified // nil: such names are nobody's
	any    *qualified
}

// NewRealms refuses realms that contradict one another.
func NewRealms(realms ...Realm) (*Realms, error) {
	rs := &Realms{before: make(map[string]*qualified), behind: make(map[string]*qualified)}
	suffixes := make(map[string]string)
	var errs []error
	for i := range realms {
		q := &qualified{Realm: realms[i]}
		rs.realms = append(rs.realms, q)
		for _, names := range []struct {
			of    map[string]*qualified
			list  []string
			shape string
		}{{rs.before, q.Before, `%s\NAME`}, {rs.behind, q.Behind, "NAME@%s"}} {
			for _, n := range names.list {
				if other := names.of[key(n)]; other != nil && other != q {
					errs = append(errs, fmt.Errorf("realms %s and %s both want "+names.shape, other.Name, q.Name, n))
				}
				names.of[key(n)] = q
			}
		}
		for _, catch := range []struct {
			want bool
			one  **qualified
			what string
		}{{q.Default, &rs.bare, "names without a domain"}, {q.Any, &rs.any, "names of any domain"}} {
			if !catch.want {
				continue
			}
			if *catch.one != nil {
				errs = append(errs, fmt.Errorf("realms %s and %s both want %s", (*catch.one).Name, q.Name, catch.what))
			}
			*catch.one = q
		}
		if other, twice := suffixes[key(q.Suffix)]; twice {
			errs = append(errs, fmt.Errorf("realms %s and %s have the same canonical names", other, q.Name))
		}
		suffixes[key(q.Suffix)] = q.Name
	}
	return rs, errors.Join(errs...)
}

// of returns the realm that a name selects; nil: none.
func (rs *Realms) of(n Name) *qualified {
	if n.Realm == "" {
		return rs.bare
	}
	selected := rs.behind
	if n.Down {
		selected = rs.before
	}
	if q := selected[key(n.Realm)]; q != nil {
		return q
	}
	return rs.any
}

// Canonical implements Directory.
func (rs *Realms) Canonical(n Name) string {
	if q := rs.of(n); q != nil {
		return q.Canonical(n)
	}
	if n.Realm == "" {
		return key(n.User)
	}
	return key(n.User + "@" + n.Realm)
}

// Find implements Directory.
func (rs *Realms) Find(ctx context.Context, n Name) (*Account, error) {
	q := rs.of(n)
	if q == nil {
		return nil, Rejected{Reason: NoSuchUser, Detail: "no realm of that name"}
	}
	return q.Find(ctx, n)
}

// VerifyMSCHAPv2 implements Directory.
func (rs *Realms) VerifyMSCHAPv2(ctx context.Context, n Name, a *Account, r *MSCHAPv2) (Proof, error) {
	q := rs.of(n)
	if q == nil {
		return Proof{}, Rejected{Reason: NoSuchUser, Detail: "no realm of that name"}
	}
	return q.VerifyMSCHAPv2(ctx, n, a, r)
}

// VerifyPassword implements Directory.
func (rs *Realms) VerifyPassword(ctx context.Context, n Name, a *Account, password []byte) (Proof, error) {
	q := rs.of(n)
	if q == nil {
		return Proof{}, Rejected{Reason: NoSuchUser, Detail: "no realm of that name"}
	}
	return q.VerifyPassword(ctx, n, a, password)
}

// CanChange says whether people of the name's realm can change their passwords here.
func (rs *Realms) CanChange(n Name) bool {
	q := rs.of(n)
	if q == nil {
		return false
	}
	_, can := q.Directory.(Changer)
	return can
}

// ChangePassword implements Changer.
func (rs *Realms) ChangePassword(ctx context.Context, n Name, a *Account, c *Change) error {
	q := rs.of(n)
	if q == nil {
		return Rejected{Reason: NoSuchUser, Detail: "no realm of that name"}
	}
	ch, can := q.Directory.(Changer)
	if !can {
		return Rejected{Reason: BadPassword, Detail: "the realm's directory changes no passwords"}
	}
	return ch.ChangePassword(ctx, n, q.own(a), c)
}

// Locker returns the name's realm, and what locks accounts there by itself; nil: nothing
// does.
func (rs *Realms) Locker(n Name) (realm string, l Locker) {
	q := rs.of(n)
	if q == nil {
		return "", nil
	}
	if own, locks := q.Directory.(Locker); locks {
		return q.Realm.Name, qualifiedLocker{q, own}
	}
	return q.Realm.Name, nil
}

// qualifiedLocker takes qualified accounts.
type qualifiedLocker struct {
	q *qualified
	l Locker
}

// Lockout implements Locker.
func (l qualifiedLocker) Lockout(ctx context.Context, n Name, a *Account) (Lockout, error) {
	return l.l.Lockout(ctx, n, l.q.own(a))
}

// Followed is a realm whose sessions follow it.
type Followed struct {
	Follower
	Realm string
	Owns  func(canonical string) bool // whether a name is one of the realm's
}

// Followed returns the realms that can be followed.
func (rs *Realms) Followed() []Followed {
	var all []Followed
	for _, q := range rs.realms {
		if f, can := q.Directory.(Follower); can {
			all = append(all, Followed{qualifiedFollower{q, f}, q.Name, func(name string) bool { return rs.owner(name) == q }})
		}
	}
	return all
}

// Qualified is the canonical name of somebody whom a realm's directory calls so.
func (rs *Realms) Qualified(realm, own string) string {
	for _, q := range rs.realms {
		if q.Name == realm {
			return q.name(own)
		}
	}
	return own
}

// owner is the realm of a canonical name: that of its suffix, or the one without.
func (rs *Realms) owner(canonical string) *qualified {
	var rest *qualified
	for _, q := range rs.realms {
		if q.Suffix == "" {
			rest = q
		} else if strings.HasSuffix(canonical, "@"+key(q.Suffix)) {
			return q
		}
	}
	return rest
}

// qualified is a realm whose accounts say so.
type qualified struct{ Realm }

// name qualifies a canonical name.
func (q *qualified) name(own string) string {
	if q.Suffix == "" {
		return own
	}
	return own + "@" + key(q.Suffix)
}

// own is an account as the realm's directory knows it.
func (q *qualified) own(a *Account) *Account {
	if a == nil || q.Suffix == "" {
		return a
	}
	own := *a
	own.Name = strings.TrimSuffix(a.Name, "@"+key(q.Suffix))
	return &own
}

func (q *qualified) Canonical(n Name) string { return q.name(q.Directory.Canonical(n)) }

func (q *qualified) Find(ctx context.Context, n Name) (*Account, error) {
	found, err := q.Directory.Find(ctx, n)
	if err != nil {
		return nil, err
	}
	a := *found // it may be in a cache
	a.Name, a.Realm = q.name(a.Name), q.Realm.Name
	return &a, nil
}

func (q *qualified) VerifyMSCHAPv2(ctx context.Context, n Name, a *Account, r *MSCHAPv2) (Proof, error) {
	return q.Directory.VerifyMSCHAPv2(ctx, n, q.own(a), r)
}

func (q *qualified) VerifyPassword(ctx context.Context, n Name, a *Account, password []byte) (Proof, error) {
	return q.Directory.VerifyPassword(ctx, n, q.own(a), password)
}

// qualifiedFollower follows a realm by qualified names.
type qualifiedFollower struct {
	q *qualified
	f Follower
}

// Changed implements Follower.
func (f qualifiedFollower) Changed(ctx context.Context, names []string, since Mark) ([]Account, Mark, error) {
	own := make([]string, len(names))
	for i, n := range names {
		own[i] = n
		if f.q.Suffix != "" {
			own[i] = strings.TrimSuffix(n, "@"+key(f.q.Suffix))
		}
	}
	changed, next, err := f.f.Changed(ctx, own, since)
	for i := range changed {
		changed[i].Name, changed[i].Realm = f.q.name(changed[i].Name), f.q.Name
	}
	return changed, next, err
}
