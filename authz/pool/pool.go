// Package pool gives addresses to sessions: named pools of IPv4 ranges, leased
// through the store. A user gets the address of last time if it is free, else
// one never used, else the one free for longest; an address is leased again only
// when it was released or its lease has run out.
package pool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"postern/internal/store"
)

// Errors of a lease.
var (
	ErrExhausted = errors.New("pool exhausted")
	ErrUnknown   = errors.New("no such pool")
)

// Spec is a pool as configured; see ParseRange for its parts. Of an excluded
// prefix all addresses are excluded.
type Spec struct {
	Name    string
	Include []string
	Exclude []string
}

// Pools are all pools of a service. They never change: a reload makes new ones,
// and what is leased stays leased.
type Pools struct {
	names []string
	pools map[string]*pool
}

type pool struct {
	name   string
	spans  []span
	ranges []store.Range
	size   int
}

// New reads pools, and reports every mistake: two pools with one address would
// lease it twice.
func New(specs []Spec) (*Pools, error) {
	ps := &Pools{pools: map[string]*pool{}}
	var errs []error
	for _, spec := range specs {
		p, err := parse(spec)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if ps.pools[p.name] != nil {
			errs = append(errs, fmt.Errorf("pool %q is there twice", p.name))
			continue
		}
		for _, name := range ps.names {
			if a, b, meet := meeting(p.spans, ps.pools[name].spans); meet {
				errs = append(errs, fmt.Errorf("pool %q: %v overlaps %v of pool %q", p.name, a, b, name))
			}
		}
		ps.names = append(ps.names, p.name)
		ps.pools[p.name] = p
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ps, nil
}

func parse(spec Spec) (*pool, error) {
	if spec.Name == "" {
		return nil, errors.New("pool without a name")
	}
	var in, out []span
	var errs []error
	for _, s := range spec.Include {
		r, err := ParseRange(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("pool %q: %w", spec.Name, err))
			continue
		}
		in = append(in, span{number(r.First), number(r.Last)})
	}
	for _, s := range spec.Exclude {
		x, err := whole(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("pool %q: exclude: %w", spec.Name, err))
			continue
		}
		out = append(out, x)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p := &pool{name: spec.Name, spans: subtract(union(in), out)}
	for _, x := range p.spans {
		p.ranges = append(p.ranges, x.addrs())
		p.size += x.size()
	}
	switch {
	case p.size == 0:
		return nil, fmt.Errorf("pool %q has no address", p.name)
	case p.spans[0].first == 0:
		return nil, fmt.Errorf("pool %q: 0.0.0.0 is no address", p.name)
	case len(p.ranges) > store.MaxRanges:
		return nil, fmt.Errorf("pool %q: %d separate ranges, want %d at most", p.name, len(p.ranges), store.MaxRanges)
	}
	return p, nil
}

func meeting(a, b []span) (x, y span, meet bool) {
	for _, x := range a {
		for _, y := range b {
			if x.meets(y) {
				return x, y, true
			}
		}
	}
	return span{}, span{}, false
}

// Overlap names the first of the prefixes (local routes, say) that shares an
// address with a pool.
func (ps *Pools) Overlap(prefixes []netip.Prefix) error {
	for _, q := range prefixes {
		if !q.IsValid() || !q.Addr().Is4() {
			continue
		}
		for _, name := range ps.names {
			if x, _, meet := meeting(ps.pools[name].spans, []span{prefixSpan(q)}); meet {
				return fmt.Errorf("pool %q: %v overlaps %v", name, x, q)
			}
		}
	}
	return nil
}

// Names lists the pools as configured.
func (ps *Pools) Names() []string { return slices.Clone(ps.names) }

// Size is the number of addresses of a pool, 0 if there is none.
func (ps *Pools) Size(name string) int {
	if p := ps.pools[name]; p != nil {
		return p.size
	}
	return 0
}

// Contains names the pool of an address.
func (ps *Pools) Contains(a netip.Addr) (name string, found bool) {
	if a = a.Unmap(); !a.Is4() {
		return "", false
	}
	n := number(a)
	for _, name := range ps.names {
		for _, x := range ps.pools[name].spans {
			if n >= x.first && n <= x.last {
				return name, true
			}
		}
	}
	return "", false
}

// Claim asks for one address.
type Claim struct {
	pool *pool
	op   store.Lease
}

// Claim asks for an address of a pool for holder (a session ID), which sticks to
// owner (a user). It is leased for ttl, then renewed with the session.
func (ps *Pools) Claim(name, holder, owner string, ttl time.Duration) (*Claim, error) {
	p := ps.pools[name]
	if p == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return &Claim{p, store.Lease{Pool: name, Ranges: p.ranges, Holder: holder, Owner: owner, TTL: ttl}}, nil
}

// Seqs is what to put into the Do that commits the login.
func (c *Claim) Seqs() []store.Seq { return []store.Seq{{&c.op}} }

// Finish is called after that Do and returns the address or ErrExhausted. Only
// where a big pool was cut anew does it have to ask the store again.
func (c *Claim) Finish(ctx context.Context, s store.Store) (netip.Addr, error) {
	for !c.op.OK && c.op.More {
		if err := s.Do(ctx, c.Seqs()...); err != nil {
			return netip.Addr{}, err
		}
	}
	if !c.op.OK {
		return netip.Addr{}, fmt.Errorf("%w: %q", ErrExhausted, c.pool.name)
	}
	return c.op.Addr, nil
}

// Usage is how much of a pool is leased.
type Usage struct {
	Name       string
	Used, Size int
}

// Usage reads all pools in one trip. Used may exceed Size while sessions hold
// addresses that the pool no longer has.
func (ps *Pools) Usage(ctx context.Context, s store.Store) ([]Usage, error) {
	ops := make([]*store.Leased, len(ps.names))
	seqs := make([]store.Seq, len(ps.names))
	for i, name := range ps.names {
		ops[i] = &store.Leased{Pool: name}
		seqs[i] = store.Seq{ops[i]}
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	if err := s.Do(ctx, seqs...); err != nil {
		return nil, err
	}
	us := make([]Usage, len(ps.names))
	for i, name := range ps.names {
		us[i] = Usage{name, ops[i].N, ps.pools[name].size}
	}
	return us, nil
}
