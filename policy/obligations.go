package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// obligation is one key of `permit:`. The same table serves the `expect:` of
// tests, which compare what say returns.
type obligation struct {
	key  string
	read func(r *reader, n ast.Node, o *Obligations)
	say  func(o *Obligations) string
}

var obligations = []obligation{
	{"factor", readFactor, func(o *Obligations) string { return o.Factor.String() }},
	{"carriers", readCarriers, sayCarriers},
	{"remember", readRemember, sayRemember},
	{"quarantine", readDuration(time.Minute, time.Hour, func(o *Obligations) *time.Duration { return &o.Quarantine }), func(o *Obligations) string { return o.Quarantine.String() }},
	{"isolate", readBool(func(o *Obligations) *bool { return &o.Isolate }), func(o *Obligations) string { return strconv.FormatBool(o.Isolate) }},
	{"banner", readBanner, func(o *Obligations) string { return o.Banner }},
	{"pool", readPoolNames, func(o *Obligations) string { return strings.Join(o.Pools, ", ") }},
	{"dns", readServers("DNS", 2, func(o *Obligations) *[]netip.Addr { return &o.DNS }), func(o *Obligations) string { return fmt.Sprint(o.DNS) }},
	{"nbns", readServers("NBNS", 2, func(o *Obligations) *[]netip.Addr { return &o.NBNS }), func(o *Obligations) string { return fmt.Sprint(o.NBNS) }},
	{"routes", readRoutes, func(o *Obligations) string { return fmt.Sprint(o.Routes) }},
	{"filter", readFilter, func(o *Obligations) string { return o.Filter }},
	{"bandwidth", readBandwidth, sayBandwidth},
	{"session_timeout", readDuration(time.Minute, 366*24*time.Hour, func(o *Obligations) *time.Duration { return &o.SessionTimeout }), func(o *Obligations) string { return o.SessionTimeout.String() }},
	{"idle_timeout", readDuration(time.Minute, 366*24*time.Hour, func(o *Obligations) *time.Duration { return &o.IdleTimeout }), func(o *Obligations) string { return o.IdleTimeout.String() }},
	// RFC 2869 §5.16: not less than 60 seconds.
	{"interim", readDuration(time.Minute, 24*time.Hour, func(o *Obligations) *time.Duration { return &o.Interim }), func(o *Obligations) string { return o.Interim.String() }},
	{"review", readDuration(time.Minute, 30*24*time.Hour, func(o *Obligations) *time.Duration { return &o.Review }), func(o *Obligations) string { return o.Review.String() }},
	{"sessions", readSessions, saySessions},
	{"mppe", readMPPE, func(o *Obligations) string { return strconv.Itoa(o.MPPE) }},
	{"password_change", readBool(func(o *Obligations) *bool { return &o.PasswordChange }), func(o *Obligations) string { return strconv.FormatBool(o.PasswordChange) }},
}

func obligationKeys() []string {
	keys := make([]string, len(obligations))
	for i, o := range obligations {
		keys[i] = o.key
	}
	return keys
}

// readObligations reads the value of `permit:`.
func (r *reader) readObligations(n ast.Node) (o Obligations) {
	if _, null := n.(*ast.NullNode); null {
		return o
	}
	before := len(r.errs)
	entries, _ := r.mapping(n, "obligations, such as {pool: staff}", obligationKeys()...)
	for _, e := range entries {
		for i := range obligations {
			if obligations[i].key == e.key {
				obligations[i].read(r, e.val, &o)
			}
		}
	}
	if len(r.errs) == before { // else what looks like nonsense may be a word misspelt
		r.checkCarriers(entries, &o)
		r.checkRoom(entries, &o)
	}
	return o
}

// maxGiven bounds what routes and the rules of a filter may take of an Access-Accept in
// octets, ours: of its 4096 that leaves enough for everything else that may be in it.
const maxGiven = 3200

// checkRoom refuses what no answer could carry.
func (r *reader) checkRoom(entries []entry, o *Obligations) {
	const perRoute = len(" 0.0.0.0 1") + 2 // RFC 2865 §5.22, and the attribute's header
	octets := textOctets(o.Rules)
	for _, p := range o.Routes {
		octets += len(p.String()) + perRoute
	}
	if octets > maxGiven {
		r.fail(find(entries, "routes").pos, "fewer or wider networks", "routes and filter take %d octets; %d fit into an answer", octets, maxGiven)
	}
}

func readFactor(r *reader, n ast.Node, o *Obligations) {
	const expected = "one of: code, webauthn, none"
	s, ok := r.text(n, expected)
	if !ok {
		return
	}
	i := slices.Index(factorNames[:], s)
	if i < 0 {
		r.fail(position(n), expected, "unknown factor %q%s", s, didYouMean(s, factorNames[:]))
		return
	}
	o.Factor = Factor(i)
}

// maxGivenPools bounds the pools of a rule, ours: a login may come to ask each of them.
const maxGivenPools = 8

// readPoolNames reads a pool, or several in the order in which they are tried.
func readPoolNames(r *reader, n ast.Node, o *Obligations) {
	const expected = "the name of a pool, at most 8 in the order in which they are tried"
	for _, el := range r.values(n, expected) {
		s, ok := r.text(el, expected)
		switch {
		case !ok:
		case r.pools[s] == nil:
			r.fail(position(el), r.oneOf("pools", r.poolNames()), "unknown pool %q%s", s, didYouMean(s, r.poolNames()))
		case slices.Contains(o.Pools, s):
			r.fail(position(el), "each pool once", "pool %q a second time", s)
		case len(o.Pools) == maxGivenPools:
			r.fail(position(el), expected, "one pool too many")
		default:
			o.Pools = append(o.Pools, s)
		}
	}
}

// readServers reads one server or a list of at most limit, IPv4 (RFC 1877).
func readServers(what string, limit int, field func(*Obligations) *[]netip.Addr) func(*reader, ast.Node, *Obligations) {
	expected := what + " servers, IPv4 addresses, at most " + strconv.Itoa(limit)
	return func(r *reader, n ast.Node, o *Obligations) {
		var addrs []netip.Addr
		for i, el := range r.values(n, expected) {
			s, ok := r.text(el, expected)
			if !ok {
				continue
			}
			a, err := netip.ParseAddr(s)
			switch {
			case err != nil || !a.Is4() || a.IsUnspecified():
				r.fail(position(el), expected, "%q is no IPv4 address", s)
			case i >= limit:
				r.fail(position(el), expected, "one %s server too many", what)
			default:
				addrs = append(addrs, a)
			}
		}
		*field(o) = addrs
	}
}

func readRoutes(r *reader, n ast.Node, o *Obligations) {
	for _, el := range r.values(n, expectNetwork) {
		s, ok := r.text(el, expectNetwork)
		if !ok {
			continue
		}
		p, err := parseNetwork(s)
		switch {
		case err != nil:
			r.fail(position(el), expectNetwork, "%q: %v", s, err)
		case !p.Addr().Is4():
			r.fail(position(el), "an IPv4 network", "%q is not IPv4", s)
		default:
			if name, theirs, overlap := r.poolWith(rangeOf(p)); overlap {
				// What is sent to one client must not be leased to another.
				r.fail(position(el), "a network without an address of a pool", "%v overlaps pool %q (%v)", p, name, theirs)
			}
			o.Routes = append(o.Routes, p)
		}
	}
}

func readFilter(r *reader, n ast.Node, o *Obligations) {
	s, ok := r.text(n, expectName)
	switch {
	case !ok:
	case !validFilterName(s):
		r.fail(position(n), expectFilterName, "%q cannot name a filter", s)
	default:
		o.Filter, o.Rules = s, r.filters[s]
		if near := didYouMean(s, r.filterNames()); near != "" && !slices.Contains(r.filterNames(), s) {
			r.fail(position(n), "a filter of this file, or one that the NAS has and that is not like any", "this file has no filter %q%s", s, near)
		}
	}
}

func readDuration(low, high time.Duration, field func(*Obligations) *time.Duration) func(*reader, ast.Node, *Obligations) {
	return func(r *reader, n ast.Node, o *Obligations) {
		if d, ok := r.duration(n, low, high); ok {
			*field(o) = d
		}
	}
}

// strengths of MPPE's keys in bits (RFC 3078 §2.1).
var strengths = []int{40, 56, 128}

// readMPPE reads the least strength that a session must have.
func readMPPE(r *reader, n ast.Node, o *Obligations) {
	const expected = "one of: 40, 56, 128"
	v, ok := r.number(n, strengths[0], strengths[len(strengths)-1])
	if ok && !slices.Contains(strengths, v) {
		r.fail(position(n), expected, "MPPE has no keys of %d bits", v)
		return
	}
	o.MPPE = v
}

func readBool(field func(*Obligations) *bool) func(*reader, ast.Node, *Obligations) {
	return func(r *reader, n ast.Node, o *Obligations) { *field(o), _ = r.yesOrNo(n) }
}

// maxBanner bounds what the portal shows beside everything else, ours.
const maxBanner = 500

// readBanner reads text of one line or several.
func readBanner(r *reader, n ast.Node, o *Obligations) {
	const expected = "text of at most 500 octets"
	s, ok := r.text(n, expected)
	if !ok {
		return
	}
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		r.fail(position(n), expected, "empty text")
	case len(s) > maxBanner:
		r.fail(position(n), expected, "a banner of %d octets", len(s))
	case strings.ContainsFunc(s, func(c rune) bool { return isControl(c) && c != '\n' }):
		r.fail(position(n), "text without tabs and other control characters", "a banner with control characters")
	default:
		o.Banner = s
	}
}
