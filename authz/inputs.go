package authz

import (
	"fmt"

	"postern/authz/inputs"
	"postern/authz/session"
	"postern/policy"
)

// Inputs keeps what decisions were made on, see package inputs. It is called from many
// goroutines and must not make them wait.
type Inputs interface{ Write(*inputs.Record) }

// keepLogin keeps a login's inputs. One that was refused before the policy was asked has
// few: who, from where, and why not.
func (d *Decider) keepLogin(l *login, reason Reason) {
	if d.cfg.Inputs == nil {
		return
	}
	r := &inputs.Record{
		Decision: l.rec.DecisionID, At: l.now, Kind: inputs.Login, Verdict: answerTo(reason).verdict.String(), Reason: reason.String(),
		Provenance: inputs.Provenance{Realm: l.rec.Realm, SID: l.rec.SID},
	}
	if l.factor != FactorNone {
		r.Factor = l.factor.String()
	}
	r.Facts = policy.Facts{User: l.user, Source: l.req.Source, NAS: l.req.NAS.ID}
	d.ruled(r, &l.decision, l.facts)
	d.cfg.Inputs.Write(r)
}

// keepStepUp keeps a step-up's inputs; of a session that is not there nothing is kept.
func (d *Decider) keepStepUp(l *login, rec *StepUpRecord) {
	if d.cfg.Inputs == nil || rec.Session.Decision == "" {
		return
	}
	r := ofSession(&rec.Session)
	r.At, r.Kind, r.Verdict, r.Reason = rec.Time, inputs.StepUp, answerTo(rec.Reason).verdict.String(), rec.Reason.String()
	if rec.Factor != FactorNone {
		r.Factor = rec.Factor.String()
	}
	d.ruled(r, &l.decision, l.facts)
	d.cfg.Inputs.Write(r)
}

// keepReview keeps the inputs of another look at a session, when it came to something
// else than the session had before: most come to the same, and there are very many.
// facts are what the policy was asked with; nil: it was not.
func (d *Decider) keepReview(rec *session.Record, decision *policy.Decision, reason Reason, facts *policy.Facts) {
	if d.cfg.Inputs == nil || reason == Permitted && (facts == nil || decision.RuleID == rec.Rule) {
		return
	}
	r := ofSession(rec)
	r.At, r.Kind, r.Verdict, r.Reason, r.Factor = d.cfg.Clock(), inputs.Review, answerTo(reason).verdict.String(), reason.String(), rec.Factor
	d.ruled(r, decision, facts)
	d.cfg.Inputs.Write(r)
}

// ofSession is a record of a decision on a session.
func ofSession(rec *session.Record) *inputs.Record {
	return &inputs.Record{
		Decision:   rec.Decision,
		Facts:      policy.Facts{User: rec.User, Source: rec.Source, NAS: rec.NASID},
		Provenance: inputs.Provenance{Realm: rec.Realm, SID: rec.SID},
	}
}

// ruled adds what the policy was asked and what it said; nil: it was not.
func (d *Decider) ruled(r *inputs.Record, decision *policy.Decision, facts *policy.Facts) {
	if facts == nil {
		return
	}
	r.Asked, r.At, r.Facts = true, decision.At, *facts
	r.Outcome, r.Rule, r.Policy = decision.Verdict, decision.RuleID, decision.Version
	if decision.Verdict == policy.Permit {
		r.Terms = decision.Obligations.Terms()
	}
	if facts.Country != "" || facts.ASN != 0 {
		if by, ok := d.cfg.Geo.(fmt.Stringer); ok {
			r.Provenance.Geo = by.String()
		}
	}
}
