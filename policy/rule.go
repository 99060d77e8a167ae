package policy

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// rule is one rule; its decision is made at load.
type rule struct {
	id           string
	pos          *token.Position // of its first key
	when, unless []clause
	decision     Decision
}

func (r *rule) match(e *evaluation) bool {
	for i := range r.when {
		if !r.when[i].matcher.match(e) {
			return false
		}
	}
	if len(r.unless) == 0 {
		return true
	}
	for i := range r.unless {
		if !r.unless[i].matcher.match(e) {
			return true
		}
	}
	return false
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
	first := make(map[string]int) // line of the rule with the id
	for _, el := range elements {
		rl := r.readRule(el, first)
		r.rules = append(r.rules, rl)
	}
}

func (r *reader) readRule(n ast.Node, first map[string]int) (rl rule) {
	rl.pos = position(n)
	entries, clean := r.mapping(n, "a rule: {id: …, when: {…}, then: …}", "id", "description", "when", "unless", "then", "message")
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
		r.text(e.val, "text")
	}
	if e := find(entries, "when"); e != nil {
		rl.when = r.readConditions(e.val)
	}
	if e := find(entries, "unless"); e != nil {
		rl.unless = r.readConditions(e.val)
	}
	rl.decision = Decision{RuleID: rl.id, Reason: Denied}
	if slices.ContainsFunc(slices.Concat(rl.when, rl.unless), func(c clause) bool { return c.key == "source" }) {
		rl.decision.Reason = DeniedSource
	}
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
	case slices.ContainsFunc([]rune(s), func(c rune) bool { return c < ' ' || c == 0x7f }):
		r.fail(position(e.val), "one line of text", "a message with control characters")
	default:
		d.Message = s
	}
}
