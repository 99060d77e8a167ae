package pool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/store"
)

// span is a run of IPv4 addresses as numbers, both ends included.
type span struct{ first, last uint32 }

// ParseRange reads what a pool is made of: 10.1.0.0/24, 10.1.0.10-10.1.0.99 or
// 10.1.0.5. Of a prefix the first and the last address are left out (but for /31
// and /32): some clients take them for network and broadcast even on a
// point-to-point link. A range says what it means.
func ParseRange(s string) (store.Range, error) {
	if first, last, found := strings.Cut(s, "-"); found {
		a, err1 := netip.ParseAddr(strings.TrimSpace(first))
		b, err2 := netip.ParseAddr(strings.TrimSpace(last))
		if err1 != nil || err2 != nil || !a.Is4() || !b.Is4() || b.Less(a) {
			return store.Range{}, fmt.Errorf("range %q: want two IPv4 addresses, the lower first: 10.1.0.10-10.1.0.99", s)
		}
		return store.Range{First: a, Last: b}, nil
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil || !p.Addr().Is4() {
			return store.Range{}, fmt.Errorf("prefix %q: want an IPv4 prefix: 10.1.0.0/24", s)
		}
		if p != p.Masked() {
			return store.Range{}, fmt.Errorf("prefix %q: has host bits, want %v", s, p.Masked())
		}
		x := prefixSpan(p)
		if p.Bits() < 31 {
			x.first, x.last = x.first+1, x.last-1
		}
		return x.addrs(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return store.Range{}, fmt.Errorf("address %q: want an IPv4 address, range or prefix", s)
	}
	return store.Range{First: a, Last: a}, nil
}

func prefixSpan(p netip.Prefix) span {
	first := number(p.Masked().Addr())
	return span{first, first | uint32(uint64(math.MaxUint32)>>p.Bits())}
}

// whole is ParseRange for exclusions: of a prefix everything.
func whole(s string) (span, error) {
	r, err := ParseRange(s)
	if err != nil {
		return span{}, err
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return prefixSpan(p), nil
	}
	return span{number(r.First), number(r.Last)}, nil
}

// union sorts and joins.
func union(list []span) []span {
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var out []span
	for _, x := range list {
		if n := len(out); n > 0 && uint64(x.first) <= uint64(out[n-1].last)+1 {
			out[n-1].last = max(out[n-1].last, x.last)
		} else {
			out = append(out, x)
		}
	}
	return out
}

// subtract takes holes out of a union.
func subtract(list, holes []span) []span {
	for _, h := range holes {
		var out []span
		for _, x := range list {
			if h.last < x.first || h.first > x.last {
				out = append(out, x)
				continue
			}
			if h.first > x.first {
				out = append(out, span{x.first, h.first - 1})
			}
			if h.last < x.last {
				out = append(out, span{h.last + 1, x.last})
			}
		}
		list = out
	}
	return list
}

func (x span) size() int          { return int(x.last-x.first) + 1 }
func (x span) meets(y span) bool  { return x.first <= y.last && y.first <= x.last }
func (x span) addrs() store.Range { return store.Range{First: address(x.first), Last: address(x.last)} }

func (x span) String() string {
	if x.first == x.last {
		return address(x.first).String()
	}
	return address(x.first).String() + "-" + address(x.last).String()
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
