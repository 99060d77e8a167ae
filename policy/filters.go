package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A filter is what a session's packets may do: rules in order, the first that matches
// decides, what none matches is dropped, and replies to what was let pass always pass.
//
//	filters:
//	  staff:
//	    - deny:  {to: printers}
//	    - allow: {to: [servers, 10.2.0.0/16], tcp: [80, 443, 8000-8080]}
//	    - allow: {to: any, icmp: true}
//	    - allow: {from: 10.20.0.5, tcp: 3389}
//
// to is where the client's packets go, from is who may open something to the client.
// Rules are rendered at load, in the words of IPFilterRule (RFC 6733 §4.3.1) that
// NAS-Filter-Rule carries (RFC 4849):
//
//	permit in tcp from assigned to 10.2.0.0/16 80,443,8000-8080
//	permit out tcp from 10.20.0.5 to assigned 3389

const (
	// maxFilter bounds a filter's name and texts in octets, ours: with them an
	// Access-Accept has a third of its room left.
	maxFilter = 2800
	// maxNetworks is how many there is room for, with the shortest of texts.
	maxNetworks = maxFilter / len("deny in ip from assigned to 1.1.1.1")
	// maxPortRanges is what a node takes in one text.
	maxPortRanges = 64

	expectFilterRule = "allow: {to: …} or deny: {to: …}"
	expectFilterName = "letters, digits, dashes and underscores, a letter first, 64 at most; not none or quarantine"
)

// validFilterName leaves out the names that nodes have a meaning of their own for.
func validFilterName(s string) bool {
	return validName(s) && foldString(s) != Quarantine.String()
}

// readFilters reads `filters:`.
func (r *reader) readFilters(n ast.Node) {
	entries, _ := r.mapping(n, "filters by name")
	for _, e := range entries {
		if !validFilterName(e.key) {
			r.fail(e.pos, expectFilterName, "%q cannot name a filter", e.key)
			continue
		}
		r.filters[e.key] = r.readFilterRules(e)
	}
}

func (r *reader) filterNames() []string { return slices.Sorted(maps.Keys(r.filters)) }

// textOctets is what rules take in NAS-Filter-Rule, with a NUL between each two.
func textOctets(texts []string) int {
	n := max(len(texts)-1, 0)
	for _, t := range texts {
		n += len(t)
	}
	return n
}

func (r *reader) readFilterRules(e entry) (texts []string) {
	elements, ok := r.sequence(e.val, "a list of "+expectFilterRule)
	if ok && len(elements) == 0 {
		r.fail(position(e.val), "- deny: {to: any}, or rules that let something pass", "a filter without rules")
	}
	for _, el := range elements {
		entries, clean := r.mapping(el, expectFilterRule, "allow", "deny")
		switch {
		case clean && len(entries) == 0:
			r.fail(position(el), expectFilterRule, "no verdict")
			continue
		case clean && len(entries) > 1:
			r.fail(entries[1].pos, "a dash in front of each", "a second verdict in one rule")
			continue
		case len(entries) != 1:
			continue
		}
		action := "deny"
		if entries[0].key == "allow" {
			action = "permit"
		}
		texts = r.readTraffic(texts, entries[0].val, action)
		if len(e.key)+textOctets(texts) > maxFilter {
			r.fail(position(el), "wider networks, fewer ports, or a filter in the nodes' own configuration",
				"here filter %q grows longer than %d octets, which is what a login's answer has room for", e.key, maxFilter)
			return nil
		}
	}
	return texts
}

// readTraffic reads which packets a rule is about, and appends its texts: all of them,
// or as many as are too many.
func (r *reader) readTraffic(texts []string, n ast.Node, action string) []string {
	before := len(r.errs)
	entries, clean := r.mapping(n, "{to: networks}, with tcp, udp, icmp or protocol as you like", "to", "from", "tcp", "udp", "icmp", "protocol")
	to, from := find(entries, "to"), find(entries, "from")
	var others networks
	switch {
	case to != nil && from != nil:
		r.fail(from.pos, "to, or from: what the client opens, or what is opened to it", "both directions in one rule")
	case to != nil:
		others = r.readOthers(to.val)
	case from != nil:
		others = r.readOthers(from.val)
	case clean:
		r.fail(position(n), "to: any, or from: any", "neither to nor from")
	}
	type traffic struct{ protocol, ports string }
	var what []traffic
	for _, e := range entries {
		switch e.key {
		case "tcp", "udp":
			for _, ports := range r.readPorts(e.val) {
				what = append(what, traffic{e.key, ports})
			}
		case "icmp":
			if yes, ok := r.yesOrNo(e.val); ok && !yes {
				r.fail(e.pos, "icmp: true, or leave it away", "icmp: false says nothing")
			}
			what = append(what, traffic{e.key, ""})
		case "protocol":
			for _, number := range r.readProtocols(e.val) {
				what = append(what, traffic{number, ""})
			}
		}
	}
	if len(r.errs) > before {
		return texts
	}
	if len(what) == 0 {
		what = []traffic{{"ip", ""}}
	}
	octets := textOctets(texts)
	for _, w := range what {
		for _, p := range others.prefixes() {
			text := action + " in " + w.protocol + " from assigned to " + p
			if from != nil {
				text = action + " out " + w.protocol + " from " + p + " to assigned"
			}
			if w.ports != "" {
				text += " " + w.ports
			}
			texts = append(texts, text)
			if octets += 1 + len(text); octets > maxFilter+1 {
				return texts
			}
		}
	}
	return texts
}

const expectOthers = "networks, addresses, names of lists, or any"

// readOthers reads whom a rule is about besides the client. IPv6 in lists counts for
// nothing here: no tunnel carries it.
func (r *reader) readOthers(n ast.Node) networks {
	var ranges []Range
	for _, el := range r.values(n, expectOthers) {
		s, ok := r.text(el, expectOthers)
		if !ok {
			continue
		}
		rg, err := parseRange(s)
		switch {
		case s == anybody:
			ranges = append(ranges, everywhere)
		case validName(s):
			l := r.list(el, s, networksList)
			switch {
			case l == nil:
			case l.networks.size4() == 0:
				r.fail(position(el), "a list with IPv4 networks", "list %q has no IPv4 network", s)
			case l.networks.size4() > maxNetworks:
				r.fail(position(el), "a list of at most "+strconv.Itoa(maxNetworks)+", or a set in the nodes' own configuration", "list %q has %d networks", s, l.networks.size4())
			default:
				ranges = append(ranges, slices.DeleteFunc(slices.Clone(l.networks), func(rg Range) bool { return !rg.From.Is4() })...)
			}
		case err != nil:
			r.fail(position(el), expectOthers, "%q: %v", s, err)
		case !rg.From.Is4():
			r.fail(position(el), "IPv4: no tunnel carries anything else", "%q is not IPv4", s)
		default:
			ranges = append(ranges, rg)
		}
	}
	return makeNetworks(ranges)
}

// readPorts reads ports and ranges of them, merged where they meet, in texts of what one
// rule may have; any is one text without.
func (r *reader) readPorts(n ast.Node) []string {
	const expected = "ports such as 443 or 8000-8080, or any"
	if s, ok := n.(*ast.StringNode); ok && s.Value == anybody {
		return []string{""}
	}
	type span struct{ first, last uint64 }
	var spans []span
	for _, el := range r.values(n, expected) {
		s, ok := r.scalar(el, expected)
		if !ok {
			continue
		}
		first, last, isRange := strings.Cut(s, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		switch {
		case err1 != nil || err2 != nil || lo == 0:
			r.fail(position(el), expected, "%q is no port", s)
		case hi < lo:
			r.fail(position(el), expected, "%q ends before it begins", s)
		default:
			spans = append(spans, span{lo, hi})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return int(a.first) - int(b.first) })
	var merged []span
	for _, s := range spans {
		if i := len(merged) - 1; i >= 0 && s.first <= merged[i].last+1 {
			merged[i].last = max(merged[i].last, s.last)
			continue
		}
		merged = append(merged, s)
	}
	var texts []string
	for part := range slices.Chunk(merged, maxPortRanges) {
		words := make([]string, len(part))
		for i, s := range part {
			words[i] = strconv.FormatUint(s.first, 10)
			if s.last > s.first {
				words[i] += "-" + strconv.FormatUint(s.last, 10)
			}
		}
		texts = append(texts, strings.Join(words, ","))
	}
	return texts
}

// readProtocols reads numbers of IP protocols.
func (r *reader) readProtocols(n ast.Node) (texts []string) {
	for _, el := range r.values(n, "numbers of IP protocols such as 47 for GRE") {
		if v, ok := r.number(el, 0, 255); ok {
			texts = append(texts, strconv.Itoa(v))
		}
	}
	return texts
}
