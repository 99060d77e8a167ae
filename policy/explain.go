package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fate is what became of a rule in one evaluation.
//
// Handled in: fateNames; the text of an Explanation.
type Fate uint8

const (
	NotReached Fate = iota // a rule before it decided
	Matched                // it decides
	Stopped                // a condition of its when does not hold
	Excused                // its unless holds
	Expired                // its date is over: it matches nobody any more
	Shadowed               // it matches, and is in shadow: it decides nothing
	Failed                 // it could not be evaluated, and so it refuses
)

var fateNames = [...]string{
	NotReached: "not reached", Matched: "matched", Stopped: "stopped", Excused: "excused", Expired: "expired", Shadowed: "shadow",
	Failed: "failed",
}

// String returns the word that is printed.
func (f Fate) String() string {
	if int(f) < len(fateNames) {
		return fateNames[f]
	}
	return fateNames[NotReached]
}

// MarshalText and UnmarshalText are for JSON; a word that is not known is not reached.
func (f Fate) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f *Fate) UnmarshalText(b []byte) error {
	*f = Fate(max(slices.Index(fateNames[:], string(b)), 0))
	return nil
}

// Explanation says how a decision comes about.
type Explanation struct {
	Sentence string      `json:"sentence"`
	At       time.Time   `json:"at"` // the moment decided for
	Policy   string      `json:"policy"`
	Verdict  string      `json:"verdict"`
	Rule     string      `json:"rule,omitempty"` // "": none matches
	Message  string      `json:"message,omitempty"`
	Terms    []Term      `json:"obligations,omitempty"`
	Facts    []FactLine  `json:"facts"`
	Rules    []RuleTrace `json:"rules"`

	Decision Decision `json:"-"`
}

// FactLine is one thing that is known of the login, or that a rule asked for.
type FactLine struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from,omitempty"` // who says so, where the value does not
}

// RuleTrace is one rule.
type RuleTrace struct {
	ID          string        `json:"id"`
	Description string        `json:"description,omitempty"`
	Owner       string        `json:"owner,omitempty"`
	Place       string        `json:"place"` // file:line
	Fate        Fate          `json:"fate"`
	Shadow      bool          `json:"shadow,omitempty"`
	Fault       string        `json:"fault,omitempty"`  // why it failed
	Verdict     string        `json:"verdict"`          // if it decided
	Expires     time.Time     `json:"expires,omitzero"` // of one that does
	When        []ClauseTrace `json:"when,omitempty"`   // as far as it was looked at
	Unless      []ClauseTrace `json:"unless,omitempty"` // as far as it was looked at
}

// ClauseTrace is one condition that was looked at.
type ClauseTrace struct {
	Key   string `json:"key"`
	Text  string `json:"wants"`         // as the file has it
	Had   string `json:"had,omitempty"` // what the login has of it
	Place string `json:"place"`         // file:line
	Held  bool   `json:"held"`
	// Demand is the confidence below which the rule believes nothing, where that may be why
	// the condition does not hold.
	Demand string        `json:"demands,omitempty"`
	Kids   []ClauseTrace `json:"conditions,omitempty"` // of any, all and not
}

// Explain decides as Evaluate does, and says why. It is for people: it takes a thousand
// times as long.
func (p *Policy) Explain(now time.Time, f *Facts) Explanation {
	d := p.Evaluate(now, f)
	x := Explanation{
		At: now, Policy: p.version, Verdict: d.Verdict.String(), Rule: d.RuleID, Message: d.Message, Decision: d, Rules: make([]RuleTrace, len(p.rules)),
	}
	if d.Verdict == Permit {
		x.Terms = d.Obligations.Terms()
	}
	e := p.evaluation(now, f)
	defer e.done()
	asked := make(map[string]bool)
	decided := false
	for i := range p.rules {
		r, t := &p.rules[i], &x.Rules[i]
		*t = RuleTrace{
			ID: r.id, Description: r.description, Owner: r.owner, Place: fmt.Sprintf("%s:%d", r.file, r.pos.Line), Shadow: r.shadow,
			Verdict: r.decision.Verdict.String(), Expires: r.expires,
		}
		if decided {
			continue
		}
		t.trace(r, e, asked)
		decided = t.Fate == Matched || t.Fate == Failed && !r.shadow
	}
	x.Facts = knownFacts(now, f, asked)
	x.Sentence = x.sentence(f)
	return x
}

// trace says what becomes of a rule that is reached.
func (t *RuleTrace) trace(r *rule, e *evaluation, asked map[string]bool) {
	if r.expired(e.now) {
		t.Fate = Expired
		return
	}
	r.begin(e)
	defer func() {
		if t.Fault = e.fault; t.Fault != "" {
			t.Fate, t.Verdict = Failed, Deny.String()
		}
	}()
	for i := range r.when {
		c := r.traceClause(&r.when[i], e, asked)
		t.When = append(t.When, c)
		if !c.Held {
			t.Fate = Stopped
			return
		}
	}
	excused := len(r.unless) > 0
	for i := range r.unless {
		c := r.traceClause(&r.unless[i], e, asked)
		t.Unless = append(t.Unless, c)
		if !c.Held {
			excused = false
			break
		}
	}
	switch {
	case excused:
		t.Fate = Excused
	case r.shadow:
		t.Fate = Shadowed
	default:
		t.Fate = Matched
	}
}

func (r *rule) traceClause(c *clause, e *evaluation, asked map[string]bool) ClauseTrace {
	asked[c.key] = true
	t := ClauseTrace{Key: c.key, Text: c.text, Place: fmt.Sprintf("%s:%d", c.file, c.pos.Line), Held: c.match(e)}
	if cond := c.condition(); cond != nil {
		t.Had = cond.fact(e.f, e.now)
	}
	if !t.Held && r.demand > NoConfidence && strings.HasPrefix(c.key, "device.") && c.key != "device.confidence" {
		t.Demand = r.demand.String()
	}
	fault := e.fault
	for i := range c.kids { // all of them, also those that were not asked
		t.Kids = append(t.Kids, r.traceClause(&c.kids[i], e, asked))
	}
	e.fault = fault
	return t
}

// origins is who says a fact, where it does not say so itself.
var origins = map[string]string{
	"user": "the directory", "group": "the directory", "realm": "the directory, or as typed", "source": "the NAS",
	"country": "the country database", "asn": "the ASN database", "nas": "the NAS", "node": "the service's clients", "tunnel": "the NAS",
	"client": "claimed by the client", "client_version": "claimed by the client", "key": "how the password was proved",
	"factor": "what came with the login", "time": "the service's clock", "last_success": "what is remembered of this address",
	"risk.user_failures": "the lockout shield", "risk.source_failures": "the lockout shield", "risk.source_users": "the lockout shield",
	"risk.code_failures": "the lockout shield", "device.group": "the directory", "device": "our records of devices",
	"device.report_age": "our records of devices",
}

// Known is all that is known of a login.
func Known(now time.Time, f *Facts) []FactLine { return knownFacts(now, f, nil) }

// knownFacts is what is known, and what was asked for and is not known. A counter that is
// zero, of which nobody asked, tells nothing.
func knownFacts(now time.Time, f *Facts, asked map[string]bool) (lines []FactLine) {
	for i := range conditions {
		c := &conditions[i]
		value := c.fact(f, now)
		if value == "" || !asked[c.key] && (value == missing || value == "0" || value == No.String() && (c.key == "device.known" || c.key == "node")) {
			continue
		}
		lines = append(lines, FactLine{c.key, value, origins[c.key]})
		if value == missing {
			continue
		}
		for _, aged := range [...]struct {
			key  string
			fact Fact[time.Time]
		}{{"device.patch_age", f.Device.Patched}, {"device.uptime", f.Device.Booted}, {"device.last_logon_age", f.Device.LastLogon}} {
			if aged.key == c.key {
				lines[len(lines)-1].From = strings.Trim(sourced("", aged.fact, now), " ()")
			}
		}
	}
	return lines
}

// sentence is the whole explanation in one.
func (x *Explanation) sentence(f *Facts) string {
	who := f.User
	if who == "" {
		who = "The login"
	}
	var rule *RuleTrace
	for i := range x.Rules {
		switch t := &x.Rules[i]; {
		case t.Fate == Matched:
			rule = t
		case t.Fate == Failed && !t.Shadow:
			return fmt.Sprintf("%s is refused by rule %s, which could not be evaluated: %s.", who, t.ID, t.Fault)
		}
	}
	if rule == nil {
		s := fmt.Sprintf("%s is refused, because none of the %d rules matches", who, len(x.Rules))
		switch near := x.nearest(); {
		case near == nil:
		case near.Fate == Excused:
			s += fmt.Sprintf("; %s would, were it not for its unless: %s", near.ID, wanted(near.Unless))
		default:
			s += fmt.Sprintf("; %s comes nearest, but %s", near.ID, near.When[len(near.When)-1].lacks())
		}
		return s + "."
	}
	var because []string
	for _, c := range rule.When {
		because = append(because, c.phrase())
	}
	if n := len(rule.Unless); n > 0 { // the one that keeps the exception away
		because = append(because, rule.Unless[n-1].isNot())
	}
	s := who + " is refused"
	if x.Decision.Verdict == Permit {
		s = who + " is permitted"
	}
	s += " by rule " + rule.ID
	if len(because) > 0 {
		s += ", because " + enumerated(because, "and")
	} else {
		s += ", which is for everybody"
	}
	if x.Decision.Verdict == Permit {
		s += "; " + x.Decision.Obligations.demands()
	}
	return s + "."
}

// nearest is the rule that only its unless kept from matching, else the one that was
// stopped behind the most conditions that held.
func (x *Explanation) nearest() (best *RuleTrace) {
	most := 0
	for i := range x.Rules {
		t := &x.Rules[i]
		held := 0
		switch t.Fate {
		case Excused:
			held = 1000 + len(t.When)
		case Stopped:
			held = len(t.When) - 1
		case NotReached, Matched, Expired, Shadowed, Failed:
		}
		if held > most {
			best, most = t, held
		}
	}
	return best
}

// wanted is conditions as the file has them.
func wanted(cs []ClauseTrace) string {
	said := make([]string, len(cs))
	for i, c := range cs {
		said[i] = c.Key + ": " + c.Text
	}
	return strings.Join(said, ", ")
}

// phrases are what is said of a condition that holds: %w is what it wants, %h what the
// login has. Others are said in the rule's own words.
var phrases = map[string]string{
	"group": "the user is in %w", "user": "the user is %w", "realm": "the realm is %h", "source": "%h is in %w",
	"country": "the source is in country %h", "asn": "the source is in %h", "nas": "%h asks", "tunnel": "it is for %h",
	"client": "the client calls itself %h", "factor": "the factor so far is %h", "key": "the keys are of %h",
	"time": "it is %h", "last_success": "the last success from there was %h",
}

// lacking is the same of a condition that does not.
var lacking = map[string]string{
	"group": "the user is not in %w", "user": "the user is not %w", "source": "%h is not in %w",
}

func (c *ClauseTrace) phrase() string {
	phrase, ok := phrases[c.Key]
	switch words := c.words(); {
	case c.Had == "" || c.Had == missing || words == missing:
		return c.Key + " is " + words
	case !ok:
		return c.Key + " is " + c.Had
	case c.Key == "source" && c.Had == words:
		return "it comes from " + words
	}
	return c.filled(phrase)
}

// lacks says why a condition does not hold; of any, all and not by those inside.
func (c *ClauseTrace) lacks() string {
	phrase, ok := lacking[c.Key]
	switch {
	case c.Had == "":
		var inside []string
		for _, k := range c.Kids {
			switch {
			case k.Held && c.Key == "not":
				inside = append(inside, k.phrase())
			case !k.Held && c.Key != "not":
				inside = append(inside, k.lacks())
			}
		}
		if len(inside) == 0 {
			return c.Key + ": " + c.Text + " does not hold"
		}
		return enumerated(inside, "and")
	case c.Had == missing && c.Key != "group" && c.Key != "user":
		return c.Key + " is not known, and must be " + c.words()
	case ok:
		return c.filled(phrase)
	}
	s := c.Key + " is " + c.Had + ", and must be " + c.words()
	if c.Demand != "" {
		s += ", believed at least as " + c.Demand
	}
	return s
}

// isNot says of a condition that it does not hold, where nobody wants it to.
func (c *ClauseTrace) isNot() string {
	if _, ok := lacking[c.Key]; ok && c.Had != missing || c.Had == "" {
		return c.lacks()
	}
	if c.Had == missing {
		return c.Key + " is not known"
	}
	return c.Key + " is " + c.Had + " and not " + c.words()
}

func (c *ClauseTrace) filled(phrase string) string {
	return strings.NewReplacer("%w", c.words(), "%h", c.Had).Replace(phrase)
}

// words are what a condition wants, as a sentence lists them.
func (c *ClauseTrace) words() string {
	inner, ok := strings.CutPrefix(c.Text, "[")
	if !ok {
		return c.Text
	}
	return enumerated(strings.Split(strings.TrimSuffix(inner, "]"), ", "), "or")
}

// enumerated is words as a sentence lists them.
func enumerated(words []string, last string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " " + last + " " + words[n-1]
	}
}

// demands is what a permit asks of the login itself, in words.
func (o *Obligations) demands() string {
	s := "a one-time code is demanded"
	switch o.Factor {
	case FactorWebAuthn:
		s = "a security key is demanded"
	case FactorNone:
		s = "no second factor is demanded"
	case FactorCode:
	}
	if o.Isolate {
		s += ", and the session is isolated"
	}
	return s
}

// String is the explanation for people.
func (x *Explanation) String() string { return x.Sentence + "\n" + x.Details() }

// Details are all of it but the sentence.
func (x *Explanation) Details() string {
	var b strings.Builder
	for _, t := range x.Rules {
		if t.Fate == Matched && t.Description != "" {
			b.WriteString("Of that rule is said: " + t.Description)
			if t.Owner != "" {
				b.WriteString(" (" + t.Owner + ")")
			}
			b.WriteByte('\n')
		}
	}
	x.writeFacts(&b)
	x.writeRules(&b)
	if len(x.Terms) > 0 {
		b.WriteString("\nWhat it obliges to\n")
		rows := make([][]string, len(x.Terms))
		for i, t := range x.Terms {
			rows[i] = []string{t.Key, t.Value}
		}
		table(&b, rows)
	}
	if x.Message != "" {
		fmt.Fprintf(&b, "\nWhat the client is told\n  %s\n", x.Message)
	}
	return b.String()
}

func (x *Explanation) writeFacts(b *strings.Builder) {
	b.WriteString("\nWhat was known\n")
	rows := make([][]string, len(x.Facts))
	for i, f := range x.Facts {
		rows[i] = []string{f.Key, f.Value, f.From}
	}
	table(b, rows)
}

func (x *Explanation) writeRules(b *strings.Builder) {
	b.WriteString("\nThe rules, in their order\n")
	var rows [][]string
	behind := 0
	for i := range x.Rules {
		t := &x.Rules[i]
		if t.Fate == NotReached {
			behind++
			continue
		}
		rows = append(rows, []string{fmt.Sprint(i + 1), t.ID, fateWords[t.Fate], t.why(), t.Place})
	}
	table(b, rows)
	switch behind {
	case 0:
	case 1:
		fmt.Fprintf(b, "  The one behind it was not looked at: %s.\n", x.Rules[len(x.Rules)-1].ID)
	default:
		fmt.Fprintf(b, "  The %d behind it were not looked at.\n", behind)
	}
}

// fateWords are what the table of rules says.
var fateWords = [...]string{
	NotReached: "", Matched: "DECIDES", Stopped: "no", Excused: "excused", Expired: "expired", Shadowed: "in shadow",
	Failed: "FAILED",
}

// why is the reason for a rule's fate, on one line.
func (t *RuleTrace) why() string {
	switch t.Fate {
	case Stopped:
		return t.When[len(t.When)-1].lacks()
	case Excused:
		return "unless " + wanted(t.Unless)
	case Failed:
		return t.Fault
	case Expired:
		return "since " + t.Expires.Format(time.RFC3339)
	case Matched, Shadowed:
		s := t.Verdict
		if t.Fate == Shadowed {
			s = "would " + s
		}
		if len(t.When) == 0 {
			s += " everybody"
		} else {
			s += ", " + wanted(t.When)
		}
		if n := len(t.Unless); n > 0 {
			s += "; " + t.Unless[n-1].isNot()
		}
		return s
	case NotReached:
	}
	return ""
}

// maxCell bounds what one cell of a table takes, ours: people with a hundred groups have
// rules all the same.
const maxCell = 96

// table writes rows in columns.
func table(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = shortened(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += "  " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell)))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func shortened(s string) string {
	if r := []rune(s); len(r) > maxCell {
		return string(r[:maxCell-1]) + "…"
	}
	return s
}
