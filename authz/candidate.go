package authz

import (
	"slices"
	"time"

	"postern/policy"
)

// Beside is what a policy that decides nothing would have done with a login, against what
// was done. The zero value is that nobody was asked.
//
// Handled in: besideNames; a metric is labelled by it.
type Beside uint8

const (
	BesideUnknown        Beside = iota
	BesideSame                  // the same, with the same obligations
	BesideNewlyRefused          // it refuses what was permitted
	BesideNewlyPermitted        // it permits what was refused
	BesideOtherTerms            // it permits, too, with other obligations
	BesideFailed                // it could not be asked: a fault of ours
)

var besideNames = [...]string{
	BesideUnknown: "unknown", BesideSame: "same", BesideNewlyRefused: "newly refused", BesideNewlyPermitted: "newly permitted",
	BesideOtherTerms: "other terms", BesideFailed: "failed",
}

// String returns the word that metrics use.
func (b Beside) String() string {
	if int(b) < len(besideNames) {
		return besideNames[b]
	}
	return besideNames[BesideUnknown]
}

// besides lists every value, for the help text of the metric.
func besides() []Beside {
	all := make([]Beside, len(besideNames))
	for i := range all {
		all[i] = Beside(i)
	}
	return all
}

// asked is a policy that is asked; *policy.Policy is one.
type asked interface {
	Evaluate(now time.Time, f *policy.Facts) policy.Decision
	Version() string
}

// SetShadow has a candidate asked beside the policy in force, for every login that begins
// from then on; nil: none is. It decides nothing: what it says is in the audit line where
// it is something else.
func (d *Decider) SetShadow(p *policy.Policy) {
	if p == nil {
		d.candidate.Store(nil)
		return
	}
	d.setCandidate(p)
}

func (d *Decider) setCandidate(a asked) { d.candidate.Store(&a) }

// Shadow returns the candidate; nil: there is none.
func (d *Decider) Shadow() *policy.Policy {
	if a := d.candidate.Load(); a != nil {
		p, _ := (*a).(*policy.Policy)
		return p
	}
	return nil
}

// lookBeside notes what rules in shadow and the candidate would have done. The login's
// decision was made, and nothing here can reach it.
func (d *Decider) lookBeside(l *login) {
	if s := l.decision.Shadow; s != nil {
		l.rec.ShadowRule, l.rec.ShadowVerdict = s.RuleID, s.Verdict.String()
		d.metrics.shadow.WithLabelValues("rules", compareBeside(&l.decision, s).String()).Inc()
	}
	c := d.candidate.Load()
	if c == nil {
		return
	}
	version, says, outcome := besideOf(*c, l.now, *l.facts, &l.decision)
	d.metrics.shadow.WithLabelValues("candidate", outcome.String()).Inc()
	if outcome == BesideSame {
		return
	}
	l.rec.Candidate, l.rec.CandidateRule, l.rec.CandidateVerdict = version, says.RuleID, says.Verdict.String()
	if outcome == BesideFailed {
		l.rec.CandidateRule, l.rec.CandidateVerdict = "", outcome.String()
	}
}

// besideOf asks a candidate, on a copy of the facts. Evaluation does not fail; if ours does
// all the same, a candidate must not end a login that another policy has decided.
func besideOf(c asked, now time.Time, facts policy.Facts, real *policy.Decision) (version string, says policy.Decision, outcome Beside) {
	defer func() {
		if recover() != nil {
			says, outcome = policy.Decision{}, BesideFailed
		}
	}()
	version = c.Version()
	says = c.Evaluate(now, &facts)
	return version, says, compareBeside(real, &says)
}

// compareBeside says what would have been other than it was.
func compareBeside(real, says *policy.Decision) Beside {
	switch {
	case real.Verdict == policy.Permit && says.Verdict != policy.Permit:
		return BesideNewlyRefused
	case real.Verdict != policy.Permit && says.Verdict == policy.Permit:
		return BesideNewlyPermitted
	case real.Verdict == policy.Permit && !slices.Equal(real.Obligations.Terms(), says.Obligations.Terms()):
		return BesideOtherTerms
	}
	return BesideSame
}
