package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// Range is a run of addresses of one family, both ends included.
type Range struct{ From, To netip.Addr }

// String returns "FROM-TO", or the one address.
func (r Range) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	return r.From.String() + "-" + r.To.String()
}

func (r Range) overlaps(o Range) bool {
	return r.From.Compare(o.To) <= 0 && o.From.Compare(r.To) <= 0
}

// parseRange reads "192.0.2.0/24", "192.0.2.1" or "192.0.2.1-192.0.2.9".
func parseRange(s string) (Range, error) {
	if from, to, ok := strings.Cut(s, "-"); ok {
		a, errA := netip.ParseAddr(strings.TrimSpace(from))
		b, errB := netip.ParseAddr(strings.TrimSpace(to))
		switch {
		case errA != nil || errB != nil || a.Zone() != "" || b.Zone() != "":
			return Range{}, errors.New("not a range of addresses")
		case a.Is4() != b.Is4():
			return Range{}, errors.New("ends of different families")
		case b.Less(a):
			return Range{}, errors.New("the end is before the beginning")
		}
		return Range{a, b}, nil
	}
	p, err := parseNetwork(s)
	if err != nil {
		return Range{}, err
	}
	return rangeOf(p), nil
}

// parseNetwork reads a network, or an address as the network of itself alone.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("not a network")
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("an address inside a network; the network is %v", p.Masked())
	}
	return p, nil
}

func rangeOf(p netip.Prefix) Range {
	last := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return Range{p.Masked().Addr(), to}
}

// networks is a set of addresses: sorted ranges that do not touch.
type networks []Range

func makeNetworks(ranges []Range) networks {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return a.From.Compare(b.From) })
	var set networks
	for _, r := range sorted {
		if n := len(set); n > 0 && set[n-1].To.BitLen() == r.From.BitLen() &&
			(r.From.Compare(set[n-1].To) <= 0 || set[n-1].To.Next() == r.From) {
			if set[n-1].To.Less(r.To) {
				set[n-1].To = r.To
			}
			continue
		}
		set = append(set, r)
	}
	return set
}

// contains is a binary search; it allocates nothing.
func (s networks) contains(a netip.Addr) bool {
	low, high := 0, len(s)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if s[mid].To.Less(a) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(s) && s[low].From.Compare(a) <= 0
}

// without returns s less the addresses in cut.
func (s networks) without(cut networks) networks {
	out := s
	for _, c := range cut {
		var next networks
		for _, r := range out {
			if !r.overlaps(c) {
				next = append(next, r)
				continue
			}
			if r.From.Less(c.From) {
				next = append(next, Range{r.From, c.From.Prev()})
			}
			if c.To.Less(r.To) {
				next = append(next, Range{c.To.Next(), r.To})
			}
		}
		out = next
	}
	return out
}

// size4 counts the IPv4 ranges.
func (s networks) size4() (n int) {
	for _, r := range s {
		if r.From.Is4() {
			n++
		}
	}
	return n
}

// anybody is the word for all addresses.
const anybody = "any"

var everywhere = Range{netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})}

// prefixes is an IPv4 set in as few networks as there can be, as filters write them: an
// address without a length, and any for all.
func (s networks) prefixes() (texts []string) {
	for _, r := range s {
		if r == everywhere {
			texts = append(texts, anybody)
			continue
		}
		for first, last := uint64(number(r.From)), uint64(number(r.To)); first <= last; {
			// The largest network that begins here and does not go beyond the end.
			size := min(bits.TrailingZeros32(uint32(first)), bits.Len64(last-first+1)-1)
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], uint32(first))
			p := netip.PrefixFrom(netip.AddrFrom4(a), 32-size)
			if p.IsSingleIP() {
				texts = append(texts, p.Addr().String())
			} else {
				texts = append(texts, p.String())
			}
			first += 1 << size
		}
	}
	return texts
}
