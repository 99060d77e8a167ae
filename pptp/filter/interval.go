package filter

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
)

// span is the numbers first to last, both included: addresses or ports.
type span struct{ first, last uint32 }

// join sorts spans and makes one of those that overlap or touch: the kernel refuses
// such intervals in a set.
func join(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return 0
	})
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && uint64(s.first) <= uint64(out[n-1].last)+1 {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// addresses are the IPv4 prefixes among those given.
func addresses(prefixes []netip.Prefix) []span {
	spans := make([]span, 0, len(prefixes))
	for _, p := range prefixes {
		if !p.IsValid() || !p.Addr().Is4() {
			continue
		}
		a := p.Masked().Addr().As4()
		first := binary.BigEndian.Uint32(a[:])
		spans = append(spans, span{first, first | uint32(1<<(32-p.Bits())-1)})
	}
	return join(spans)
}

func ports(ranges []PortRange) []span {
	spans := make([]span, 0, len(ranges))
	for _, r := range ranges {
		spans = append(spans, span{uint32(r.First), uint32(r.Last)})
	}
	return join(spans)
}

// width is the octets of a number in a set or packet.
type width int

const (
	portWidth    width = 2
	addressWidth width = 4
)

func (w width) bytes(v uint32) []byte {
	if w == portWidth {
		return binary.BigEndian.AppendUint16(nil, uint16(v))
	}
	return binary.BigEndian.AppendUint32(nil, v)
}

// whole is all numbers there are.
func (w width) whole() span { return span{0, 1<<(8*w) - 1} }

// elements are joined spans as an interval set has them: each begins with an element
// and ends before another. What reaches to the last number has no end.
func (w width) elements(spans []span) []nftables.SetElement {
	all := make([]nftables.SetElement, 0, 2*len(spans))
	for _, s := range spans {
		all = append(all, nftables.SetElement{Key: w.bytes(s.first)})
		if s.last != w.whole().last {
			all = append(all, nftables.SetElement{Key: w.bytes(s.last + 1), IntervalEnd: true})
		}
	}
	return all
}

// intervals is an interval set of the configuration. The kernel does not change one in
// one step: depending on its age, elements that a transaction brings hide some of those
// that it takes away before it is over, or are found only a moment after its rules are
// (nft_set_rbtree, nft_set_pipapo). So a set is never changed. Another one takes its
// place, by another name; it is there before the rules that speak of it, and it goes
// with those that spoke of the first.
type intervals struct {
	base   string
	spans  []span
	change int // how often it was replaced
}

func newIntervals(base string, prefixes []netip.Prefix) *intervals {
	return &intervals{base: base, spans: addresses(prefixes)}
}

// replaced is the set with other elements, or itself if they are the same.
func (i *intervals) replaced(prefixes []netip.Prefix) *intervals {
	spans := addresses(prefixes)
	if slices.Equal(spans, i.spans) {
		return i
	}
	return &intervals{base: i.base, spans: spans, change: i.change + 1}
}

func (i *intervals) name() string {
	if i.change == 0 {
		return i.base
	}
	return i.base + suffixChange + strconv.Itoa(i.change)
}

func (i *intervals) set() set {
	return set{name: i.name(), key: nftables.TypeIPAddr, interval: true, elements: addressWidth.elements(i.spans)}
}
