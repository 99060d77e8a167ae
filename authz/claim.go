package authz

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"postern/authz/pool"
	"postern/internal/store"
)

// fixedPool is where addresses are leased that belong to an account and lie in no
// pool. A policy's pools cannot be called so.
const fixedPool = "=fixed"

// claim is the address a login asks for. The zero claim asks for none.
type claim struct {
	pool  string
	own   *pool.Claim  // from the rule's pool
	fixed *store.Lease // the account's own
	err   error

	pools  []string // that the rule has for the NAS
	others []string // those that are tried when that one has no address left
	from   func(name string) (*pool.Claim, error)
}

// claim makes the login's claim. An address of the account's own is leased, too:
// in the pool that it lies in, so that nobody else gets it while it is used.
func (l *login) claim(holder string, ttl time.Duration) *claim {
	if a := l.account.Addr; a.IsValid() {
		name, found := l.ruling.pools.Contains(a)
		if !found {
			name = fixedPool
		}
		return &claim{pool: name, fixed: &store.Lease{
			Pool: name, Ranges: []store.Range{{First: a, Last: a}}, Holder: holder, Owner: l.user, TTL: ttl,
		}}
	}
	names := l.decision.Obligations.Pools
	if len(names) == 0 {
		return &claim{}
	}
	names = l.ruling.policy.PoolsAt(names, l.req.NAS.ID, l.req.NAS.Addr)
	if len(names) == 0 {
		return &claim{err: fmt.Errorf("%w: none of the rule's pools is for this NAS", pool.ErrExhausted)}
	}
	c := &claim{pool: names[0], pools: names, others: names[1:], from: func(name string) (*pool.Claim, error) {
		return l.ruling.pools.Claim(name, holder, l.user, ttl)
	}}
	c.own, c.err = c.from(c.pool)
	return c
}

// seqs is what to put into the commit.
func (c *claim) seqs() []store.Seq {
	switch {
	case c.own != nil:
		return c.own.Seqs()
	case c.fixed != nil:
		return []store.Seq{{c.fixed}}
	}
	return nil
}

// finish returns the address after the commit, the zero Addr for none. It asks the rule's
// other pools only where the login has come through: c.pool is the one the address is of.
func (c *claim) finish(ctx context.Context, s store.Store, through bool) (netip.Addr, error) {
	switch {
	case c.err != nil:
		return netip.Addr{}, c.err
	case c.own != nil:
		a, err := c.own.Finish(ctx, s)
		for ; errors.Is(err, pool.ErrExhausted) && through && len(c.others) > 0; c.others = c.others[1:] {
			a, err = c.lease(ctx, s, c.others[0])
		}
		return a, err
	case c.fixed == nil:
		return netip.Addr{}, nil
	}
	for !c.fixed.OK && c.fixed.More {
		if err := s.Do(ctx, store.Seq{c.fixed}); err != nil {
			return netip.Addr{}, err
		}
	}
	if !c.fixed.OK {
		return netip.Addr{}, fmt.Errorf("%w: the account's own address is in use", pool.ErrExhausted)
	}
	return c.fixed.Addr, nil
}

// lease asks another pool.
func (c *claim) lease(ctx context.Context, s store.Store, name string) (netip.Addr, error) {
	own, err := c.from(name)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := s.Do(ctx, own.Seqs()...); err != nil {
		return netip.Addr{}, err
	}
	c.pool, c.own = name, own
	return own.Finish(ctx, s)
}

// join takes the address of the pool in which the same attempt has one already, by
// another service, and gives back what it has of another.
func (c *claim) join(ctx context.Context, s store.Store, name, holder string) (netip.Addr, error) {
	if c.own == nil || name == c.pool || !slices.Contains(c.pools, name) {
		return c.finish(ctx, s, true)
	}
	before := c.pool
	a, err := c.lease(ctx, s, name)
	if err != nil {
		return a, err
	}
	return a, s.Do(ctx, store.Seq{&store.Release{Pool: before, Holder: holder}})
}
