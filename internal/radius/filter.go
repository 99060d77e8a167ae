package radius

import (
	"fmt"
	"strings"

	"layeh.com/radius/rfc2865"
)

// Names of Filter-Id that mean the same on every node; no policy and no node may
// give them to a filter.
const (
	FilterQuarantine = "quarantine" // held back until the second factor is given
	FilterNone       = "none"       // CoA-Request: no filter any more
)

// typeFilterRule is NAS-Filter-Rule (RFC 4849 §2).
const typeFilterRule Type = 92

// MaxFilterRules bounds the rules of one packet in octets, with the NUL between each
// two; ours. It leaves an Access-Accept a third of its 4096 for all else.
const MaxFilterRules = 2800

// AddFilterRules adds NAS-Filter-Rule: the rules in their order, NUL between them, cut
// wherever an attribute is full (RFC 4849 §2). Beside a Filter-Id, which names these
// rules, it is for our own nodes: others have to pass over it.
func AddFilterRules(p *Packet, rules []string) error {
	for _, r := range rules {
		if !printable(r) {
			return fmt.Errorf("add NAS-Filter-Rule %q: %w", r, ErrValue)
		}
	}
	all := strings.Join(rules, "\x00")
	if len(all) > MaxFilterRules {
		return fmt.Errorf("add %d octets of NAS-Filter-Rule: %w", len(all), ErrValue)
	}
	for len(all) > 0 {
		n := min(len(all), maxAttrValue)
		p.Add(typeFilterRule, Attribute(all[:n]))
		all = all[n:]
	}
	return nil
}

// GetFilterRules reads them; there may be none. What does not separate into rules of
// printable ASCII (RFC 6733 §4.3.1) is an error and not fewer rules: one that is left
// out may have been the one that denies.
func GetFilterRules(p *Packet) ([]string, error) {
	n := 0
	for _, a := range p.Attributes {
		if a.Type == typeFilterRule {
			n += len(a.Attribute)
		}
	}
	switch {
	case n == 0:
		return nil, nil
	case n > MaxFilterRules:
		return nil, fmt.Errorf("%d octets of NAS-Filter-Rule: %w", n, ErrValue)
	}
	var all strings.Builder
	all.Grow(n)
	for _, a := range p.Attributes {
		if a.Type == typeFilterRule {
			all.Write(a.Attribute)
		}
	}
	rules := strings.Split(all.String(), "\x00")
	for _, r := range rules {
		if !printable(r) {
			return nil, fmt.Errorf("NAS-Filter-Rule %q: %w", r, ErrValue)
		}
	}
	return rules, nil
}

// printable holds for text of ASCII, at least one octet of it.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != ""
}

// hasFilter says whether one of the packet's Filter-Id is name.
func hasFilter(p *Packet, name string) bool {
	for _, a := range p.Attributes {
		if a.Type == rfc2865.FilterID_Type && string(a.Attribute) == name {
			return true
		}
	}
	return false
}
