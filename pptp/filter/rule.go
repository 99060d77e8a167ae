package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Action is what a rule does to the packets it names.
type Action uint8

// The zero Action is none: a Rule that has it is refused.
const (
	NoAction Action = iota
	Permit
	Deny
)

var actionNames = [...]string{NoAction: "no action", Permit: "permit", Deny: "deny"}

func (a Action) String() string { return nameOf(actionNames[:], int(a)) }

// Direction is seen from the client, as RFC 6733 §4.3.1 has it.
type Direction uint8

// The zero Direction is none: a Rule that has it is refused.
const (
	NoDirection Direction = iota
	In                    // from the client
	Out                   // to the client, and opened by the other side
)

var directionNames = [...]string{NoDirection: "no direction", In: "in", Out: "out"}

func (d Direction) String() string { return nameOf(directionNames[:], int(d)) }

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "unknown " + strconv.Itoa(i)
}

// Protocol is an IP protocol number, or AnyProtocol.
type Protocol uint16

// Fixed by IANA, but for AnyProtocol, which is RFC 6733's "ip".
const (
	ICMP        Protocol = 1
	TCP         Protocol = 6
	UDP         Protocol = 17
	GRE         Protocol = 47
	AnyProtocol Protocol = 256
)

// protocolNames are RFC 6733's words. Other protocols are numbers.
var protocolNames = map[Protocol]string{ICMP: "icmp", TCP: "tcp", UDP: "udp", AnyProtocol: "ip"}

func (p Protocol) String() string {
	if name, ok := protocolNames[p]; ok {
		return name
	}
	return strconv.Itoa(int(p))
}

// PortRange is ports First to Last, both included.
type PortRange struct{ First, Last uint16 }

// Rule is one rule of a filter. It speaks of destination ports, in both directions:
// those of the other side (In) or the client's (Out).
type Rule struct {
	Action    Action
	Direction Direction
	Protocol  Protocol
	// Peer is the other side; anyone is 0.0.0.0/0. Set, where it is not empty, names a
	// set of addresses to use instead.
	Peer  netip.Prefix
	Set   string
	Ports []PortRange // none: all
}

// Ours: a rule comes in attributes of at most 4096 octets in all, and one line of a
// file is not longer either.
const (
	maxRule    = 4096
	maxPorts   = 64
	maxSetName = 64
)

// anyone is what the word "any" means.
var anyone = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// The words of RFC 6733 §4.3.1 that are used for the two sides.
const (
	wordAny      = "any"
	wordAssigned = "assigned" // the client's address
)

var errRule = errors.New(`"permit|deny in PROTOCOL from assigned to DESTINATION [PORTS]" or "permit|deny out PROTOCOL from SOURCE to assigned [PORTS]" wanted`)

// ParseRule reads a rule in the words of IPFilterRule (RFC 6733 §4.3.1):
//
//	permit in tcp from assigned to 10.20.0.0/16 80,443,8000-8100
//	permit out tcp from 10.20.0.5 to assigned 3389
//	deny in ip from assigned to @servers
//
// A protocol is ip, tcp, udp, icmp or a number; ports need tcp or udp. The other side
// is any, an address, a prefix, whose host bits do not count, or the name of a set.
// The client's side is assigned, or any, which comes to the same: no other address
// leaves or reaches its tunnel. Source ports, negation and options are not known and
// are errors, for a rule that is half understood is another rule.
func ParseRule(text string) (Rule, error) {
	r, err := parseRule(text)
	if err != nil {
		if len(text) > 100 {
			text = text[:100] + "…"
		}
		return Rule{}, fmt.Errorf("filter rule %q: %w", text, err)
	}
	return r, nil
}

func parseRule(text string) (r Rule, err error) {
	if len(text) > maxRule {
		return r, fmt.Errorf("%d octets, at most %d wanted", len(text), maxRule)
	}
	f := strings.Fields(text)
	if len(f) < 7 || f[3] != "from" || f[5] != "to" {
		return r, errRule
	}
	if r.Action = word[Action](actionNames[:], f[0]); r.Action == NoAction {
		return r, fmt.Errorf("action %q: permit or deny wanted", f[0])
	}
	if r.Direction = word[Direction](directionNames[:], f[1]); r.Direction == NoDirection {
		return r, fmt.Errorf("direction %q: in or out wanted", f[1])
	}
	if r.Protocol, err = parseProtocol(f[2]); err != nil {
		return r, err
	}
	own, peer := f[4], f[6]
	if r.Direction == Out {
		own, peer = peer, own
	}
	if own != wordAssigned && own != wordAny {
		return r, fmt.Errorf("%q for the client's side: assigned wanted", own)
	}
	if err := r.parsePeer(peer); err != nil {
		return r, err
	}
	switch {
	case len(f) == 7:
		return r, nil
	case len(f) > 8:
		return r, fmt.Errorf("%q behind the ports: nothing wanted", f[8])
	case r.Protocol != TCP && r.Protocol != UDP:
		return r, fmt.Errorf("%q with protocol %v: ports need tcp or udp", f[7], r.Protocol)
	}
	r.Ports, err = parsePorts(f[7])
	return r, err
}

// word is the index of a name, 0 if it has none.
func word[E ~uint8](names []string, s string) E {
	return E(max(0, slices.Index(names[1:], s)+1))
}

func parseProtocol(s string) (Protocol, error) {
	for p, name := range protocolNames {
		if s == name {
			return p, nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q: ip, tcp, udp, icmp or a number up to 255 wanted", s)
	}
	return Protocol(n), nil
}

func (r *Rule) parsePeer(s string) error {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		if !validSetName(name) {
			return fmt.Errorf("set %q: 1 to %d letters, digits, _ and - wanted", name, maxSetName)
		}
		r.Set = name
		return nil
	}
	if s == wordAny {
		r.Peer = anyone
		return nil
	}
	var err error
	if strings.Contains(s, "/") {
		r.Peer, err = netip.ParsePrefix(s)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(s); err == nil {
			r.Peer = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if err != nil || !r.Peer.Addr().Is4() {
		return fmt.Errorf("address %q: any, an IPv4 address or prefix, or @SET wanted", s)
	}
	r.Peer = r.Peer.Masked()
	return nil
}

// validSetName holds for names that nft reads back as they are.
func validSetName(s string) bool {
	if s == "" || len(s) > maxSetName {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	})
}

func parsePorts(s string) ([]PortRange, error) {
	if n := strings.Count(s, ",") + 1; n > maxPorts {
		return nil, fmt.Errorf("%d ports and ranges, at most %d wanted", n, maxPorts)
	}
	var all []PortRange
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || lo > hi {
			return nil, fmt.Errorf("ports %q: N, N-M, and more of them behind commas wanted", part)
		}
		all = append(all, PortRange{uint16(lo), uint16(hi)})
	}
	return all, nil
}

// String is the rule's text.
func (r Rule) String() string { return string(AppendRule(nil, r)) }

// AppendRule appends the text that ParseRule reads.
func AppendRule(dst []byte, r Rule) []byte {
	peer := wordAny
	switch {
	case r.Set != "":
		peer = "@" + r.Set
	case r.Peer != anyone && r.Peer.IsSingleIP():
		peer = r.Peer.Addr().String()
	case r.Peer != anyone:
		peer = r.Peer.String()
	}
	from, to := wordAssigned, peer
	if r.Direction == Out {
		from, to = peer, wordAssigned
	}
	dst = fmt.Appendf(dst, "%v %v %v from %s to %s", r.Action, r.Direction, r.Protocol, from, to)
	for i, p := range r.Ports {
		dst = append(dst, " ,"[min(i, 1)])
		dst = strconv.AppendUint(dst, uint64(p.First), 10)
		if p.Last != p.First {
			dst = append(dst, '-')
			dst = strconv.AppendUint(dst, uint64(p.Last), 10)
		}
	}
	return dst
}

// check is for rules that did not come out of ParseRule.
func (r *Rule) check() error {
	again, err := parseRule(r.String())
	if err == nil && (again.Peer != r.Peer || again.Set != r.Set || again.Protocol != r.Protocol) {
		err = errRule
	}
	if err != nil {
		return fmt.Errorf("filter rule %q: %w", r.String(), err)
	}
	return nil
}
