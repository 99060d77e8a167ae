package policy

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Pool is a set of IPv4 addresses to lease: disjoint ranges in order, excluded
// addresses taken out.
type Pool struct {
	Name   string
	Ranges []Range
	nas    *isNAS // whose clients it is for; nil: everybody's
}

// At says whether the pool is for clients of a NAS, which calls itself by a name and has an
// address. A pool of one site is for its NAS, a shared one for all.
func (p *Pool) At(nas string, address netip.Addr) bool {
	if p.nas == nil {
		return true
	}
	e := evaluation{nasAddress: address.Unmap()}
	e.nas = foldInto(e.buf[:0:maxName], nas)
	return p.nas.match(&e)
}

// PoolsAt are those of the named pools that are for clients of a NAS, in their order.
func (p *Policy) PoolsAt(names []string, nas string, address netip.Addr) []string {
	if !slices.ContainsFunc(names, func(name string) bool { return p.pools[name] == nil || p.pools[name].nas != nil }) {
		return names
	}
	var at []string
	for _, name := range names {
		if q := p.pools[name]; q != nil && q.At(nas, address) {
			at = append(at, name)
		}
	}
	return at
}

// Size counts the pool's addresses.
func (p *Pool) Size() int {
	n := 0
	for _, r := range p.Ranges {
		n += int(number(r.To)-number(r.From)) + 1
	}
	return n
}

// Contains says whether the pool may lease a.
func (p *Pool) Contains(a netip.Addr) bool { return networks(p.Ranges).contains(a) }

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// maxPool bounds a pool, ours: 10.0.0.0/8. What is not leased takes no room anywhere.
const maxPool = 1 << 24

const expectRange = "addresses such as 10.0.0.0/24, 10.0.0.10-10.0.0.99 or 10.0.0.5"

// readPools reads `pools:`: a list of addresses, or a mapping of ranges and
// exclude. No two pools may share an address: both would lease it.
func (r *reader) readPools(n ast.Node) {
	entries, _ := r.mapping(n, "pools by name")
	for _, e := range entries {
		if !validName(e.key) {
			r.fail(e.pos, expectName, "%q cannot name a pool", e.key)
			continue
		}
		p := r.readPool(e)
		if p == nil {
			p = &Pool{Name: e.key} // known, so that rules that use it are not wrong, too
		}
		for _, name := range r.poolNames() {
			other := r.pools[name]
			for _, mine := range p.Ranges {
				for _, theirs := range other.Ranges {
					if mine.overlaps(theirs) {
						r.fail(e.pos, "pools without a common address", "pool %q (%v) overlaps pool %q (%v)", e.key, mine, name, theirs)
					}
				}
			}
		}
		r.pools[e.key] = p
	}
}

func (r *reader) readPool(e entry) *Pool {
	ranges, exclude := e.val, ast.Node(nil)
	var nas *isNAS
	switch e.val.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		entries, clean := r.mapping(e.val, "ranges, exclude and nas", "ranges", "exclude", "nas")
		rs := find(entries, "ranges")
		if rs == nil && !clean {
			return nil
		}
		if rs == nil {
			r.fail(position(e.val), "ranges: a list of addresses", "pool %q has no ranges", e.key)
			return nil
		}
		ranges = rs.val
		if ex := find(entries, "exclude"); ex != nil {
			exclude = ex.val
		}
		if at := find(entries, "nas"); at != nil {
			if m, ok := readNAS(r, at.val).(isNAS); ok {
				nas = &m
			}
		}
	}
	before := len(r.errs)
	have := r.readRanges(ranges, true)
	if exclude != nil {
		have = have.without(r.readRanges(exclude, false))
	}
	p := &Pool{Name: e.key, Ranges: have, nas: nas}
	switch {
	case len(r.errs) > before:
		return nil
	case len(have) == 0:
		r.fail(position(ranges), "at least one address", "pool %q is empty", e.key)
	case p.Size() > maxPool:
		r.fail(position(ranges), "at most 16777216 addresses", "pool %q has %d", e.key, p.Size())
	}
	return p
}

// readRanges reads a list of addresses. From a network that is to be leased its
// first and last address are left out: hosts take them for its name and its
// broadcast.
func (r *reader) readRanges(n ast.Node, lease bool) networks {
	elements, _ := r.sequence(n, "a list of "+expectRange)
	var ranges []Range
	for _, el := range elements {
		s, ok := r.text(el, expectRange)
		if !ok {
			continue
		}
		rg, err := parseRange(s)
		switch {
		case err != nil:
			r.fail(position(el), expectRange, "%q: %v", s, err)
			continue
		case !rg.From.Is4():
			r.fail(position(el), "IPv4 "+expectRange, "%q is not IPv4", s)
			continue
		case lease && (rg.From.IsUnspecified() || rg.From.IsMulticast() || rg.To.IsMulticast() || rg.From.IsLoopback()):
			r.fail(position(el), "unicast addresses", "%q cannot be leased", s)
			continue
		}
		if p, err := parseNetwork(s); lease && err == nil && p.Bits() < 31 {
			rg = Range{rg.From.Next(), rg.To.Prev()}
		}
		ranges = append(ranges, rg)
	}
	return makeNetworks(ranges)
}

// poolWith is the first pool that has an address of a range.
func (r *reader) poolWith(x Range) (name string, theirs Range, overlap bool) {
	for _, name := range r.poolNames() {
		for _, theirs := range r.pools[name].Ranges {
			if x.overlaps(theirs) {
				return name, theirs, true
			}
		}
	}
	return "", Range{}, false
}

func (r *reader) poolNames() []string { return slices.Sorted(maps.Keys(r.pools)) }
