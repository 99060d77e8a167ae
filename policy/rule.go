package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// rule is one rule; its decision is made at load.
type rule struct {
	id           string
	file         string
	pos          *token.Position // of its first key
	description  string
	owner        string
	expires      time.Time // from when on it matches nothing; zero: it stays
	expiresPos   *token.Position
	accept       []accepted
	shadow       bool // it decides nothing
	when, unless []clause
	fallible     bool       // it may fail: it has expressions
	demand       Confidence // of facts about the device; none: of any
	decision     Decision
	failed       Decision // if it cannot be evaluated
	outcome      int      // rules of the same number say the same, besides their messages
}

// begin makes e see what the rule may see.
func (r *rule) begin(e *evaluation) { e.demand, e.fault = r.demand, "" }

// expired says whether the rule's time is over. A moment that is not known, which only
// tests have, is before all others.
func (r *rule) expired(now time.Time) bool {
	return !r.expires.IsZero() && !now.Before(r.expires)
}

// match says whether the rule matches, if e has no fault afterwards.
func (r *rule) match(e *evaluation) bool {
	r.begin(e)
	if r.expired(e.now) {
		return false
	}
	return all(r.when, e) && (len(r.unless) == 0 || !all(r.unless, e))
}

// ruleReader is what is known of the rule that is read.
type ruleReader struct {
	nested  int        // any, all and not that are open
	demands int        // line of its device.confidence
	demand  Confidence // that it demands
}

// maxRules bounds an evaluation, ours.
const maxRules = 10_000

const expectThen = "then: deny, or then: {permit: {…}}"

// readRules reads `rules:`.
func (r *reader) readRules(n ast.Node) {
	elements, _ := r.sequence(n, "a list of rules")
	if len(elements) > maxRules {
		r.fail(position(n), "at most 10000 rules", "%d rules", len(elements))
		return
	}
	for _, read := range r.later {
		read()
	}
	first := make(map[string]int) // line of the rule with the id
	for _, el := range elements {
		rl := r.readRule(el, first)
		r.rules = append(r.rules, rl)
	}
}

var ruleKeys = []string{"id", "description", "owner", "expires", "accept", "shadow", "when", "unless", "then", "message"}

func (r *reader) readRule(n ast.Node, first map[string]int) (rl rule) {
	rl.file, rl.pos = r.file, position(n)
	r.ruleReader = ruleReader{}
	entries, clean := r.mapping(n, "a rule: {id: …, when: {…}, then: …}", ruleKeys...)
	if e := find(entries, "id"); e == nil {
		if clean {
			r.fail(position(n), "id: a name of its own for each rule", "a rule without id")
		}
	} else if id, ok := r.text(e.val, expectName); ok {
		switch line, twice := first[id]; {
		case !validName(id):
			r.fail(position(e.val), expectName, "%q cannot name a rule", id)
		case twice:
			r.fail(position(e.val), "a name of its own for each rule", "a second rule %q; the first is on line %d", id, line)
		default:
			first[id] = position(e.val).Line
			rl.id = id
		}
	}
	if e := find(entries, "description"); e != nil {
		rl.description, _ = r.text(e.val, "text")
	}
	if e := find(entries, "owner"); e != nil {
		rl.owner = r.readOwner(e.val)
	}
	if e := find(entries, "expires"); e != nil {
		rl.expires, rl.expiresPos = r.readExpires(e.val), e.pos
	}
	if e := find(entries, "accept"); e != nil {
		rl.accept = r.readAccept(e.val)
	}
	if e := find(entries, "shadow"); e != nil {
		rl.shadow, _ = r.yesOrNo(e.val)
	}
	if e := find(entries, "when"); e != nil {
		rl.when = r.readConditions(e.val)
	}
	if e := find(entries, "unless"); e != nil {
		rl.unless = r.readConditions(e.val)
	}
	rl.demand = r.demand
	rl.decision = Decision{RuleID: rl.id, Reason: Denied}
	rl.failed = Decision{RuleID: rl.id, Reason: RuleFailed}
	walk(slices.Concat(rl.when, rl.unless), func(c *clause) {
		if c.key == "source" {
			rl.decision.Reason = DeniedSource
		}
		rl.fallible = rl.fallible || c.key == "cel"
	})
	if e := find(entries, "then"); e != nil {
		r.readThen(e.val, &rl.decision)
	} else if clean {
		r.fail(position(n), expectThen, "rule %q does not say what then", rl.id)
	}
	if e := find(entries, "message"); e != nil {
		r.readMessage(e, &rl.decision)
	}
	return rl
}

// maxOwner bounds a name in reports, ours.
const maxOwner = 256

// readOwner reads whom to ask about a rule: a name, an address, a team.
func (r *reader) readOwner(n ast.Node) string {
	const expected = "one line of text, at most 256 octets"
	s, ok := r.text(n, expected)
	if ok && (len(s) > maxOwner || strings.ContainsFunc(s, isControl)) {
		r.fail(position(n), expected, "an owner of %d octets, or with control characters", len(s))
		return ""
	}
	return s
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// readThen reads the value of `then:`.
func (r *reader) readThen(n ast.Node, d *Decision) {
	permit := func() { d.Verdict, d.Reason = Permit, Permitted }
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		entries, clean := r.mapping(n, expectThen, "permit")
		if e := find(entries, "permit"); e != nil {
			permit()
			d.Obligations = r.readObligations(e.val)
		} else if clean {
			r.fail(position(n), expectThen, "no verdict")
		}
		return
	}
	s, ok := r.text(n, expectThen)
	switch {
	case !ok:
	case s == Deny.String():
	case s == Permit.String():
		permit()
	default:
		r.fail(position(n), expectThen, "unknown verdict %q%s", s, didYouMean(s, verdictNames[:]))
	}
}

// maxMessage is what fits behind E=, R=, C= and V= in one RADIUS attribute.
const maxMessage = 180

func (r *reader) readMessage(e *entry, d *Decision) {
	s, ok := r.text(e.val, "text")
	switch {
	case !ok:
	case d.Verdict != Deny:
		r.fail(e.pos, "a message beside then: deny only", "a rule that permits has no message")
	case len(s) > maxMessage:
		r.fail(position(e.val), "at most 180 octets", "a message of %d octets", len(s))
	case strings.ContainsFunc(s, isControl):
		r.fail(position(e.val), "one line of text", "a message with control characters")
	default:
		d.Message = s
	}
}
