package authz

import (
	"time"

	"postern/authz/directory"
	"postern/authz/session"
	"postern/policy"
)

// clockSlack is how much later than a session a password may have been set and still
// be the one that the session was opened with: it was changed in the login's dialogue,
// and the directory's clock is not ours.
const clockSlack = 10 * time.Second

// Review is what a second look at a running session finds.
type Review struct {
	Reason Reason // Permitted: it may go on
	Detail string
	Rule   string // of the policy, if it was asked
	Policy string // its version

	facts *policy.Facts // that it was asked with; nil: it was not
}

// Followable says whether a session was opened by a login of ours, so that what it was
// permitted by is known, and whom to ask to end it. Others are known from accounting
// only: their user's name is what the NAS says, and may belong to somebody else's
// account. Or a service of before wrote them down, that kept less.
func Followable(rec *session.Record) bool { return rec.User != "" && rec.Rule != "" && rec.Via != "" }

// Reevaluate looks again at a running session that is Followable, with its user's
// account as it is now: would this login still be permitted? Proofs are not asked for
// again, and obligations other than the second factor stay as they were granted. A
// session in quarantine has its factor still to come.
func (d *Decider) Reevaluate(rec *session.Record, a *directory.Account) Review {
	decision, r := d.review(rec, a)
	defer func() { d.keepReview(rec, &decision, r.Reason, r.facts) }()
	if decision.Verdict != policy.Permit || !rec.Quarantine.IsZero() {
		return r
	}
	factor, kind := ParseFactor(rec.Factor), ParseFactor(rec.Remembered)
	switch {
	case meets(factor, kind, decision.Obligations.Factor):
	case factor == FactorNone:
		r.Reason = CodeMissing
	default:
		r.Reason = FactorTooWeak
	}
	if r.Reason != Permitted {
		r.Detail = permittedBefore(rec)
	}
	return r
}

// review asks the policy about a session. The decision is Permit with a Review that is
// Permitted, and only then.
func (d *Decider) review(rec *session.Record, a *directory.Account) (policy.Decision, Review) {
	switch {
	case a.State == directory.StateUnknown: // the directory does not say: nothing has changed
		return policy.Decision{}, Review{Reason: Permitted}
	case a.State != directory.Active:
		return policy.Decision{}, Review{Reason: stateReason(a.State), Detail: "account " + a.State.String()}
	case a.PasswordSet.After(rec.Opened.Add(clockSlack)):
		return policy.Decision{}, Review{Reason: PasswordChanged, Detail: "password set at " + a.PasswordSet.UTC().Format(time.RFC3339)}
	}
	facts := d.factsOfSession(rec, a)
	decision := d.policy.Load().policy.Evaluate(d.cfg.Clock(), &facts)
	r := Review{Reason: Permitted, Rule: decision.RuleID, Policy: decision.Version, facts: &facts}
	if decision.Verdict != policy.Permit {
		r.Reason, r.Detail = refusal(&decision), permittedBefore(rec)
	}
	return decision, r
}

func permittedBefore(rec *session.Record) string { return "permitted by rule " + rec.Rule + " before" }

// Parting is what the user of a session may be shown that ends for this reason.
func (d *Decider) Parting(r Reason) string {
	if r == EndedByOperator || r == EndedByUser { // these tell nothing of the account
		return answerTo(r).fullText
	}
	_, text := answerTo(r).to(d.cfg.Disclose)
	return text
}
