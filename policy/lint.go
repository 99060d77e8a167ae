package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Severity says what becomes of a policy with a finding. The zero value keeps it from
// being put in force.
//
// An error is what may let somebody in who is meant to stay out. A warning is what is
// hardly meant, but lets in nobody: a rule that never matches, or soon will not. What
// remains is for whoever reads the file after you.
type Severity uint8

const (
	SeverityError Severity = iota
	SeverityWarning
	SeverityInfo
)

var severityNames = [...]string{SeverityError: "error", SeverityWarning: "warning", SeverityInfo: "info"}

// String returns the severity in a word.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return severityNames[SeverityError]
}

// MarshalText spells it in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something about a policy that it can be loaded with, and is not likely to be
// meant.
type Finding struct {
	Check    string   `json:"check"` // one of Checks
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Rule     string   `json:"rule,omitempty"` // "" where it is about none
	Message  string   `json:"message"`
	Do       string   `json:"do"` // what to do about it
}

// String returns the place, the finding and what to do, on two lines.
func (f *Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %v: %s [%s]\n       %s", f.File, f.Line, f.Column, f.Severity, f.Message, f.Check, f.Do)
}

// Check describes a kind of finding.
type Check struct {
	Name string
	Says string // what is found, in a sentence
}

// Checks are all kinds of findings, in the order in which they matter.
func Checks() []Check {
	all := make([]Check, len(checks))
	for i, c := range checks {
		all[i] = c.Check
	}
	return all
}

// check is a kind of finding; rule and whole find them, where they are not nil.
type check struct {
	Check
	rule  func(l *linter, i int) // about the rule of that number
	whole func(l *linter)        // about the policy
}

var checks []check

func init() {
	checks = []check{
		{Check{"permit-without-factor", "A rule permits without a second factor whoever knows a password, wherever he is: no condition says where from (source, country, asn), by which server (nas), with which device, or that a factor has come."}, checkFactor, nil},
		{Check{"unknown-device", "A rule decides by facts of the device, and nobody said what becomes of the same people with a device of which nothing is known: no rule about such devices takes them, and none that denies or isolates. It is an error where the rule denies: they get past it."}, checkUnknownDevice, nil},
		{Check{"unknown-lets-in", "A rule permits those of whom something is not so (not, unless), and so those of whom it is not known. It is an error where it is about the device."}, checkUnknown, nil},
		{Check{"unreachable", "A rule never matches, because an earlier one matches whenever it would. It is an error where the earlier one permits and this one denies."}, checkReachable, nil},
		{Check{"no-such-group", "A rule names a group that the directory does not have. It is an error where nobody being in the group lets somebody in. Looked for on request only."}, checkGroups, nil},
		{Check{"expired", "A rule has expired, and does not match any more."}, checkExpiry, nil},
		{Check{"expires-soon", "A rule expires within 14 days."}, nil, nil},
		{Check{"untested", "No test of the policy is decided by the rule."}, nil, checkTested},
		{Check{"overlapping-lists", "Two lists of networks that conditions name have addresses in common."}, nil, checkLists},
		{Check{"unused", "No rule comes to a list, pool or filter."}, nil, checkUnused},
		{Check{"accept-unused", "A rule accepts a finding that there is not."}, nil, nil},
		{Check{"no-owner", "A rule does not say whom to ask about it."}, checkOwner, nil},
		{Check{"no-description", "A rule does not say what it is for."}, checkDescription, nil},
	}
}

// acceptable are the findings that a rule may accept: those about rules.
func acceptable() (names []string) {
	for _, c := range checks {
		switch c.Name {
		case "overlapping-lists", "unused", "accept-unused":
		default:
			names = append(names, c.Name)
		}
	}
	return names
}

// LintConfig says what to look at besides the policy.
type LintConfig struct {
	Now  time.Time     // when rules expire is not looked at when it is zero
	Soon time.Duration // before a rule expires; 0: 14 days
	// GroupExists asks the directory; nil: it is not asked. An error means that it cannot
	// be told.
	GroupExists func(name string) (bool, error)
}

// Lint looks for what is hardly meant. Findings that a rule accepts, with `accept:
// [NAME]`, are left out; the rest is in the order of the files and of places in them.
func (p *Policy) Lint(cfg LintConfig) []Finding {
	cfg.Soon = cmp.Or(cfg.Soon, 14*day)
	l := &linter{p: p, cfg: cfg, used: make(map[accepted]bool), asked: make(map[string]groupAnswer)}
	for _, f := range p.files {
		l.bodies = append(l.bodies, newReader(options{}, newSource(f)).parse(f.Text))
	}
	for _, c := range checks {
		for i := range p.rules {
			if c.rule != nil {
				c.rule(l, i)
			}
		}
		if c.whole != nil {
			c.whole(l)
		}
	}
	l.unusedAccepts()
	order := make(map[string]int, len(p.files))
	for i, f := range p.files {
		order[f.Name] = i
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.findings
}

// linter collects findings.
type linter struct {
	p        *Policy
	cfg      LintConfig
	used     map[accepted]bool
	asked    map[string]groupAnswer // by folded name
	bodies   []ast.Node             // of the files
	spelled  map[int]string         // groups by number, as the files have them
	findings []Finding
}

// about notes a finding about a rule, unless the rule accepts it.
func (l *linter) about(i int, check string, s Severity, pos *token.Position, do, format string, args ...any) {
	r := &l.p.rules[i]
	for _, a := range r.accept {
		if a.check == check {
			l.used[a] = true
			return
		}
	}
	l.find(check, s, place{r.file, pos}, r.id, do, format, args...)
}

func (l *linter) find(check string, s Severity, at place, rule, do, format string, args ...any) {
	l.findings = append(l.findings, Finding{
		Check: check, Severity: s, File: at.file, Line: at.pos.Line, Column: at.pos.Column, Rule: rule,
		Message: fmt.Sprintf(format, args...), Do: do,
	})
}

func (l *linter) unusedAccepts() {
	for i := range l.p.rules {
		for _, a := range l.p.rules[i].accept {
			checked := a.check != "no-such-group" || l.cfg.GroupExists != nil
			if a.check == "expired" || a.check == "expires-soon" {
				checked = !l.cfg.Now.IsZero()
			}
			if checked && !l.used[a] {
				l.find("accept-unused", SeverityWarning, place{l.p.rules[i].file, a.pos}, l.p.rules[i].id,
					"Take it out of accept, so that it is told when it comes.", "rule %q has no finding %s to accept", l.p.rules[i].id, a.check)
			}
		}
	}
}
