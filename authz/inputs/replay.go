package inputs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"postern/internal/seal"
	"postern/policy"
)

// Options of Replay.
type Options struct {
	// Against is the policy to compare with; nil: what was decided then.
	Against *policy.Policy
	// NewOnly reports only who was permitted and would be refused.
	NewOnly bool
	// All decides step-ups and reviews again, too, and not logins alone.
	All bool
	// Ring has the keys of pseudonyms; nil: there are none.
	Ring *seal.Ring
	// Progress is called now and then; nil: it is not.
	Progress func(done, total int64)
}

// Outcome is one side of a comparison.
type Outcome struct {
	Verdict string        `json:"verdict"`
	Rule    string        `json:"rule,omitempty"` // "": none matched
	Terms   []policy.Term `json:"obligations,omitempty"`
}

// Difference is one kind of change with all whom it would meet.
type Difference struct {
	Was Outcome `json:"was"`
	Now Outcome `json:"now"`
	// Details are the obligations that differ, where both permit.
	Details []policy.Detail `json:"details,omitempty"`
	Users   int             `json:"users"` // different ones
	// Groups counts the logins by the directory's groups of their users: who is in several
	// is in each, who is in none is in "".
	Groups []GroupCount `json:"groups"`
	Logins []Meeting    `json:"logins"` // in the order of time

	users  map[string]struct{}
	groups map[string]int
}

// GroupCount is a group of the directory with its logins.
type GroupCount struct {
	Group  string `json:"group"`
	Logins int    `json:"logins"`
}

// Meeting is who would be met by a difference.
type Meeting struct {
	Decision string    `json:"decision"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	User     string    `json:"user"`
	Source   string    `json:"source,omitempty"`
	NAS      string    `json:"nas,omitempty"`
}

// Report is the outcome of a replay.
type Report struct {
	Candidate string    `json:"candidate"`         // version
	Against   string    `json:"against,omitempty"` // version; "": what was decided then
	From      time.Time `json:"from,omitzero"`     // of the first and the last record
	To        time.Time `json:"to,omitzero"`

	Decided   int `json:"decided"`    // again
	NotAsked  int `json:"not_asked"`  // refused before the policy was asked
	OtherRule int `json:"other_rule"` // another rule decides, with the same outcome
	Changed   int `json:"changed"`    // of Differences together
	Unknown   int `json:"unknown"`    // what was obliged to is lost: only verdicts are compared
	Damaged   int `json:"damaged"`    // places in files that are no records
	// Unmatched are conditions that pseudonyms keep from matching.
	Unmatched []string `json:"unmatched,omitempty"`
	// Differences, those of most logins first.
	Differences []*Difference `json:"differences"`
}

// progressEvery is how many records pass between two calls of Progress.
const progressEvery = 8192

// Replay decides again what r reads, under a candidate.
func Replay(r *Reader, candidate *policy.Policy, o Options) (*Report, error) {
	p := &replay{
		Options: o, report: &Report{Candidate: candidate.Version(), Differences: []*Difference{}},
		now: judges{policy: candidate, ring: o.Ring}, pairs: make(map[pair]*Difference),
	}
	if o.Against != nil {
		p.was = judges{policy: o.Against, ring: o.Ring}
		p.report.Against = o.Against.Version()
	}
	for n := 0; ; n++ {
		if o.Progress != nil && n%progressEvery == 0 {
			o.Progress(r.Progress())
		}
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && (rec.Kind == Login || o.All) {
			err = p.record(rec)
		}
		if err != nil {
			return nil, err
		}
	}
	if o.Progress != nil {
		o.Progress(r.Progress())
	}
	p.report.Damaged = r.Damaged()
	return p.finish(), nil
}

type replay struct {
	Options
	report   *Report
	now, was judges
	pairs    map[pair]*Difference // nil: the same outcome
}

// pair is all that an outcome depends on, on both sides: a rule's obligations are those
// of its policy.
type pair struct {
	policy, rule string // before; its policy is another from record to record
	verdict      policy.Verdict
	unknown      bool
	nowRule      string
	nowVerdict   policy.Verdict
}

// judges is a policy, with its names as they are in records of each key.
type judges struct {
	policy *policy.Policy
	ring   *seal.Ring
	hidden map[string]*policy.Policy // by key
	left   []string
}

func (j *judges) under(key string) (*policy.Policy, error) {
	if key == "" {
		return j.policy, nil
	}
	if p, ok := j.hidden[key]; ok {
		return p, nil
	}
	names, err := NewPseudonyms(j.ring, key)
	if err != nil {
		return nil, fmt.Errorf("records have pseudonyms under key %s: %w", key, err)
	}
	p, left := j.policy.Renamed(names.Name)
	if j.hidden == nil {
		j.hidden = make(map[string]*policy.Policy)
	}
	j.hidden[key], j.left = p, left
	return p, nil
}

func (p *replay) record(rec *Record) error {
	if !rec.Asked {
		p.report.NotAsked++
		return nil
	}
	rep := p.report
	if rep.Decided++; rep.From.IsZero() {
		rep.From = rec.At
	}
	rep.To = rec.At
	judge, err := p.now.under(rec.Key)
	if err != nil {
		return err
	}
	now := judge.Evaluate(rec.At, &rec.Facts)
	k := pair{policy: rec.Policy, rule: rec.Rule, verdict: rec.Outcome, nowRule: now.RuleID, nowVerdict: now.Verdict}
	k.unknown = rec.Outcome == policy.Permit && rec.Terms == nil
	terms := rec.Terms
	if p.Against != nil {
		judge, err := p.was.under(rec.Key)
		if err != nil {
			return err
		}
		was := judge.Evaluate(rec.At, &rec.Facts)
		k.policy, k.rule, k.verdict, k.unknown = "", was.RuleID, was.Verdict, false
		if _, known := p.pairs[k]; !known {
			terms = termsOf(&was)
		}
	}
	if k.unknown {
		rep.Unknown++
	}
	d, known := p.pairs[k]
	if !known {
		d = compare(k, terms, &now)
		p.pairs[k] = d
	}
	switch {
	case d == nil:
		if k.rule != k.nowRule {
			rep.OtherRule++
		}
	case !p.NewOnly || k.verdict == policy.Permit && k.nowVerdict != policy.Permit:
		rep.Changed++
		d.add(rec)
	}
	return nil
}

func termsOf(d *policy.Decision) []policy.Term {
	if d.Verdict != policy.Permit {
		return nil
	}
	return d.Obligations.Terms()
}

// compare compares two outcomes; nil: they are the same.
func compare(k pair, was []policy.Term, now *policy.Decision) *Difference {
	terms := termsOf(now)
	if k.verdict == now.Verdict && (k.unknown || k.verdict != policy.Permit || slices.Equal(was, terms)) {
		return nil
	}
	d := &Difference{
		Was: Outcome{k.verdict.String(), k.rule, was}, Now: Outcome{now.Verdict.String(), now.RuleID, terms},
		users: make(map[string]struct{}), groups: make(map[string]int),
	}
	if k.verdict == now.Verdict {
		d.Details = policy.DiffTerms(was, terms)
	}
	return d
}

func (d *Difference) add(rec *Record) {
	f := &rec.Facts
	m := Meeting{Decision: rec.Decision, At: rec.At, Kind: rec.Kind.String(), User: f.User, NAS: f.NAS}
	if f.Source.IsValid() {
		m.Source = f.Source.String()
	}
	d.Logins = append(d.Logins, m)
	d.users[f.User] = struct{}{}
	for _, g := range f.Groups {
		d.groups[g]++
	}
	if len(f.Groups) == 0 {
		d.groups[""]++
	}
}

// finish counts and sorts. Rules that were the same in several versions of a policy, and
// changed in the same way, are one difference.
func (p *replay) finish() *Report {
	type shown struct{ was, now, details string }
	merged := make(map[shown]*Difference)
	for _, d := range p.pairs {
		if d == nil || len(d.Logins) == 0 {
			continue
		}
		key := shown{d.Was.Verdict + " " + d.Was.Rule, d.Now.Verdict + " " + d.Now.Rule, fmt.Sprint(d.Was.Terms, d.Details)}
		if m := merged[key]; m != nil {
			m.merge(d)
			continue
		}
		merged[key] = d
	}
	for d := range maps.Values(merged) {
		slices.SortStableFunc(d.Logins, func(a, b Meeting) int {
			return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Decision, b.Decision))
		})
		d.Users = len(d.users)
		for g, n := range d.groups {
			d.Groups = append(d.Groups, GroupCount{g, n})
		}
		slices.SortFunc(d.Groups, func(a, b GroupCount) int { return cmp.Or(b.Logins-a.Logins, cmp.Compare(a.Group, b.Group)) })
		p.report.Differences = append(p.report.Differences, d)
	}
	slices.SortFunc(p.report.Differences, func(a, b *Difference) int {
		return cmp.Or(len(b.Logins)-len(a.Logins), cmp.Compare(a.Was.Rule, b.Was.Rule), cmp.Compare(a.Now.Rule, b.Now.Rule),
			cmp.Compare(fmt.Sprint(a.Was.Terms), fmt.Sprint(b.Was.Terms)))
	})
	p.report.Unmatched = append(p.now.left, p.was.left...)
	slices.Sort(p.report.Unmatched)
	p.report.Unmatched = slices.Compact(p.report.Unmatched)
	return p.report
}

func (d *Difference) merge(other *Difference) {
	d.Logins = append(d.Logins, other.Logins...)
	for u := range other.users {
		d.users[u] = struct{}{}
	}
	for g, n := range other.groups {
		d.groups[g] += n
	}
}
