package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// inForce says whether a rule can decide anything: it is not in shadow, and has not
// expired.
func (l *linter) inForce(r *rule) bool { return !r.shadow && !l.expired(r) }

func (l *linter) expired(r *rule) bool { return !l.cfg.Now.IsZero() && r.expired(l.cfg.Now) }

// checkReachable looks for an earlier rule that takes all logins of a rule. One that
// expires does so only if it does not expire first.
func checkReachable(l *linter, i int) {
	r := &l.p.rules[i]
	if !l.inForce(r) {
		return
	}
	for j := range l.p.rules[:i] {
		e := &l.p.rules[j]
		if !l.inForce(e) || !e.expires.IsZero() && (r.expires.IsZero() || e.expires.Before(r.expires)) || !covers(e, r) {
			continue
		}
		s, do := SeverityWarning, "Put the narrower rule first, or take it out."
		if e.decision.Verdict == Permit && r.decision.Verdict == Deny {
			s, do = SeverityError, "Put the rule that denies first, or take it out."
		}
		l.about(i, "unreachable", s, r.pos, do, "rule %q never matches: rule %q on line %d matches whenever it would", r.id, e.id, e.pos.Line)
		return
	}
}

// checkFactor looks for permits without a factor that are for anywhere.
func checkFactor(l *linter, i int) {
	r := &l.p.rules[i]
	d := &r.decision
	if !l.inForce(r) || d.Verdict != Permit || d.Obligations.Factor != FactorNone || d.Obligations.Isolate || l.restricted(r.when) {
		return
	}
	l.about(i, "permit-without-factor", SeverityError, r.pos,
		"Say where from or with which device in when, demand a factor, or, if it is meant, write accept: [permit-without-factor].",
		"rule %q permits without a second factor from anywhere", r.id)
}

// restricted says whether one of the conditions says where from, by which server, with
// which device, or that a factor has come.
func (l *linter) restricted(cs []clause) bool {
	return slices.ContainsFunc(cs, func(c clause) bool {
		switch {
		case c.key == "any":
			return len(c.kids) > 0 && !slices.ContainsFunc(c.kids, func(kid clause) bool { return !l.restricted([]clause{kid}) })
		case c.key == "all":
			return l.restricted(c.kids)
		case c.key == "source", c.key == "country", c.key == "asn", c.key == "nas", c.key == "factor", aboutDevice(c):
			return c.key != "not" && !l.holds(c, unknownFacts) && !everyAddress(c)
		}
		return false
	})
}

// everyAddress recognises a condition on the source that is none.
func everyAddress(c clause) bool {
	m, ok := c.matcher.(fromSource)
	return ok && (m.networks.contains(netip.IPv4Unspecified()) && len(networks{everywhere}.without(m.networks)) == 0 || len(networks{everywhere6}.without(m.networks)) == 0)
}

var everywhere6 = rangeOf(netip.PrefixFrom(netip.IPv6Unspecified(), 0))

// unknownFacts are those of a login of which nothing is known but who it is.
var unknownFacts = &Facts{User: "somebody", Groups: []string{"somewhere"}}

// holds says whether a condition holds for facts.
func (l *linter) holds(c clause, f *Facts) bool {
	e := l.p.evaluation(l.cfg.Now, f)
	defer e.done()
	return c.match(e)
}

// aboutDevice says whether a condition, or one inside of it, is about the device.
func aboutDevice(c clause) bool {
	return c.key == "device" || strings.HasPrefix(c.key, "device.") || c.key == "cel" && strings.Contains(c.text, "device") ||
		slices.ContainsFunc(c.kids, aboutDevice)
}

// checkUnknownDevice: where a rule has conditions on the device, somebody must have said
// what becomes of the same people with a device of which nothing is known. The first rule
// that is sure to match those must have conditions on the device, too, so that it is about
// them, or refuse or isolate whoever comes to it. A rule is sure to match them when its
// conditions on the device hold for such a device, its other ones hold whenever the other
// conditions of the rule do, and its unless, if it has one, asks for more of the device.
//
// It is an error for a rule that denies, which such people get past, and a warning for one
// that permits, which does not let them in.
func checkUnknownDevice(l *linter, i int) {
	r := &l.p.rules[i]
	if !l.inForce(r) || !asksDevice(r) {
		return
	}
	people := slices.DeleteFunc(slices.Clone(r.when), aboutDevice)
	for j := range l.p.rules {
		if u := &l.p.rules[j]; l.inForce(u) && l.takesUnknown(u, people) {
			if asksDevice(u) || u.decision.Verdict == Deny || u.decision.Obligations.Isolate {
				return
			}
			break
		}
	}
	s := SeverityWarning
	if r.decision.Verdict == Deny {
		s = SeverityError
	}
	l.about(i, "unknown-device", s, r.pos,
		"Add a rule behind it for the same people: one with device.known: false, or one without conditions on the device that denies or isolates the rest.",
		"rule %q looks at the device, and no rule is for the same people with a device of which nothing is known", r.id)
}

func asksDevice(r *rule) bool {
	return slices.ContainsFunc(r.when, aboutDevice) || slices.ContainsFunc(r.unless, aboutDevice)
}

// takesUnknown says whether a rule is sure to match people with a device of which nothing
// is known.
func (l *linter) takesUnknown(u *rule, people []clause) bool {
	fails := func(c clause) bool { return aboutDevice(c) && !l.holds(c, unknownFacts) }
	if len(u.unless) > 0 && !slices.ContainsFunc(u.unless, fails) {
		return false
	}
	return !slices.ContainsFunc(u.when, func(c clause) bool {
		return fails(c) || !aboutDevice(c) && !impliedByAny(people, c, true)
	})
}

// checkUnknown looks for what a permit excludes and would not exclude if it were not
// known: `not` in when, and unless. One that the rule wants to be known elsewhere is
// known.
func checkUnknown(l *linter, i int) {
	r := &l.p.rules[i]
	if !l.inForce(r) || r.decision.Verdict != Permit {
		return
	}
	known := func(key string) bool {
		return slices.ContainsFunc(r.when, func(c clause) bool {
			device := strings.HasPrefix(key, "device.") && c.key == "device.known"
			return (c.key == key || device && key == "device.known") && !l.holds(c, unknownFacts)
		})
	}
	look := func(c clause, word string) {
		if !maybeUnknown(c.key) || l.holds(c, unknownFacts) || known(c.key) {
			return
		}
		s := SeverityWarning
		if aboutDevice(c) {
			s = SeverityError
		}
		l.about(i, "unknown-lets-in", s, c.pos,
			"Say what must be so instead, or add none to the values.",
			"rule %q permits those of whom %s is not known, too: %s: keeps out only those of whom it is", r.id, c.key, word)
	}
	walk(r.when, func(c *clause) {
		if c.key == "not" {
			for _, kid := range c.kids {
				look(kid, "not")
			}
		}
	})
	for _, c := range r.unless {
		look(c, "unless")
	}
}

// maybeUnknown says whether the fact of a condition may be not known. Counters, keys and
// factors always are; so are the user and the groups, of which there may be none.
func maybeUnknown(key string) bool {
	switch key {
	case "source", "country", "asn", "nas", "client", "client_version", "last_success":
		return true
	case "device.known", "device.confidence", "device.join":
		return false
	}
	return strings.HasPrefix(key, "device.")
}

func checkExpiry(l *linter, i int) {
	r := &l.p.rules[i]
	switch {
	case l.cfg.Now.IsZero() || r.expires.IsZero():
	case l.expired(r):
		l.about(i, "expired", SeverityWarning, r.expiresPos, "Take it out, or give it another date.", "rule %q expired at %s and does not match any more", r.id, instantOf(r))
	case r.expires.Sub(l.cfg.Now) <= l.cfg.Soon:
		l.about(i, "expires-soon", SeverityWarning, r.expiresPos, "Give it another date, or tell those whom it is for.", "rule %q expires at %s", r.id, instantOf(r))
	}
}

func instantOf(r *rule) string { return r.expires.UTC().Format("2006-01-02 15:04 UTC") }

func checkOwner(l *linter, i int) {
	if r := &l.p.rules[i]; r.owner == "" {
		l.about(i, "no-owner", SeverityInfo, r.pos, "Add owner: somebody who is asked when it is in doubt.", "rule %q has no owner", r.id)
	}
}

func checkDescription(l *linter, i int) {
	if r := &l.p.rules[i]; r.description == "" {
		l.about(i, "no-description", SeverityInfo, r.pos, "Add description: what the rule is for, in a sentence.", "rule %q has no description", r.id)
	}
}

// checkTested looks for rules that no test is decided by, or would be if they were not in
// shadow.
func checkTested(l *linter) {
	for i, c := range l.p.Coverage().Rules {
		if r := &l.p.rules[i]; c.Matched == 0 && !l.expired(r) {
			l.about(i, "untested", SeverityWarning, r.pos, "Add a test that expects rule: "+r.id+".", "no test is decided by rule %q", r.id)
		}
	}
}

// checkGroups asks the directory for the groups of a rule's conditions.
func checkGroups(l *linter, i int) {
	r := &l.p.rules[i]
	if l.cfg.GroupExists == nil {
		return
	}
	look := func(cs []clause, letsIn bool) {
		walk(cs, func(c *clause) {
			for _, name := range l.groupsOf(c) {
				l.group(i, name, c.pos, letsIn)
			}
		})
	}
	deny := r.decision.Verdict == Deny
	for _, c := range r.when {
		inverted := false
		walk([]clause{c}, func(c *clause) { inverted = inverted || c.key == "not" })
		look([]clause{c}, deny != inverted)
	}
	look(r.unless, !deny)
}

func (l *linter) group(i int, name string, pos *token.Position, letsIn bool) {
	a, known := l.asked[foldString(name)]
	if !known {
		a.exists, a.err = l.cfg.GroupExists(name)
		l.asked[foldString(name)] = a
	}
	switch {
	case a.exists:
	case a.err != nil:
		l.about(i, "no-such-group", SeverityInfo, pos, "See to it that it can be asked, or check it yourself.", "whether there is a group %q is not known: %v", name, a.err)
	case letsIn:
		l.about(i, "no-such-group", SeverityError, pos, "Write the group's name as the directory has it.", "the directory has no group %q, and so rule %q does not keep its members out", name, l.p.rules[i].id)
	default:
		l.about(i, "no-such-group", SeverityWarning, pos, "Write the group's name as the directory has it.", "the directory has no group %q", name)
	}
}

// groupAnswer is what the directory said of a group.
type groupAnswer struct {
	exists bool
	err    error
}
