package authz

import (
	"context"
	"fmt"
	"net/netip"
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
	name := l.decision.Obligations.Pool
	if name == "" {
		return &claim{}
	}
	c, err := l.ruling.pools.Claim(name, holder, l.user, ttl)
	return &claim{pool: name, own: c, err: err}
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

// finish returns the address after the commit, the zero Addr for none.
func (c *claim) finish(ctx context.Context, s store.Store) (netip.Addr, error) {
	switch {
	case c.err != nil:
		return netip.Addr{}, c.err
	case c.own != nil:
		return c.own.Finish(ctx, s)
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
