package authz

import (
	"context"
	"slices"
	"time"

	"postern/authz/directory"
	"postern/authz/grant"
	"postern/authz/posture"
	"postern/authz/session"
	"postern/internal/store"
	"postern/policy"
)

// clockSlack is how much later than a session a password may have been set and still
// be the one that the session was opened with: it was changed in the login's dialogue,
// and the directory's clock is not ours.
const clockSlack = 10 * time.Second

// Outcome is what a second look at a running session comes to. The zero value is that
// nothing is known, and then nothing happens.
//
// Handled in: outcomeNames; package follow, which has it done.
type Outcome uint8

const (
	OutcomeUnknown  Outcome = iota
	OutcomeSame             // it goes on as it is
	OutcomeChanged          // it goes on with other obligations
	OutcomeHeld             // into quarantine
	OutcomeReleased         // out of it
	OutcomeEnded
)

var outcomeNames = [...]string{
	OutcomeUnknown: "unknown", OutcomeSame: "same", OutcomeChanged: "changed", OutcomeHeld: "quarantined", OutcomeReleased: "released", OutcomeEnded: "ended",
}

// String returns the outcome as audit lines and metrics spell it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[OutcomeUnknown]
}

// Case is a running session that is looked at again, with its user's account as it is now,
// and what comes of it.
type Case struct {
	Session session.Seen // one that is Followable
	Account *directory.Account

	Outcome Outcome
	Reason  Reason // Permitted: it goes on as it is
	Detail  string
	Rule    string         // of the policy, if it was asked
	Policy  string         // its version
	Next    session.Record // what the session's record is to be
	Change  Change         // to be wished of the NAS, where the outcome needs one
}

// Followable says whether a session was opened by a login of ours, so that what it was
// permitted by is known, and whom to ask to end it. Others are known from accounting
// only: their user's name is what the NAS says, and may belong to somebody else's
// account. Or a service of before wrote them down, that kept less.
func Followable(rec *session.Record) bool { return rec.User != "" && rec.Rule != "" && rec.Via != "" }

// evidence is what the store knows that a look at a session needs.
type evidence struct {
	now    time.Time
	grants *grant.Query // nil: the session does not live on a remembered factor
	device *posture.Query
}

// gathered bounds how many sessions one trip to the store is about.
const gathered = 500

// gather loads the evidence for sessions, in one trip for many.
func (d *Decider) gather(ctx context.Context, recs ...*session.Record) ([]evidence, error) {
	all := make([]evidence, len(recs))
	for at := 0; at < len(recs); at += gathered {
		some := recs[at:min(at+gathered, len(recs))]
		clock := &store.Time{}
		seqs := []store.Seq{{clock}}
		for i, rec := range some {
			e := &all[at+i]
			e.device = deviceOf(rec)
			seqs = append(seqs, e.device.Seqs()...)
			if rec.Grant != "" && ParseFactor(rec.Factor) == FactorRemembered {
				e.grants = grant.Ask(rec.User)
				seqs = append(seqs, e.grants.Seqs()...)
			}
		}
		if err := d.cfg.Store.Do(ctx, seqs...); err != nil {
			return nil, err
		}
		for i := range some {
			all[at+i].now = clock.Now
		}
	}
	return all, nil
}

// Reevaluate looks again at running sessions: would this login still be permitted, with
// what? Passwords are not asked for again, and a factor that was given stays given; one
// that was remembered counts as long as nobody has taken it back.
//
//	                     now permitted   now isolated, or        now refused
//	                     as it is        without its factor
//	up                   same, changed   quarantined, or ended   ended
//	in quarantine        released        same                    ended
//
// Its only error is the store's, and then nothing is known of any of them.
func (d *Decider) Reevaluate(ctx context.Context, cases ...*Case) error {
	recs := make([]*session.Record, len(cases))
	for i, c := range cases {
		recs[i] = &c.Session.Record
	}
	known, err := d.gather(ctx, recs...)
	if err != nil {
		return err
	}
	r := d.policy.Load()
	if r == nil {
		return errNoPolicy
	}
	for i, c := range cases {
		d.judge(r, c, &known[i])
	}
	return nil
}

// judge decides one case. It is pure but for the key ring.
func (d *Decider) judge(r *ruling, c *Case, known *evidence) {
	rec := &c.Session.Record
	c.Next, c.Change = *rec, Change{}
	if c.Account.State == directory.StateUnknown { // the directory does not say
		c.Outcome, c.Reason, c.Detail = OutcomeUnknown, Permitted, ""
		return
	}
	decision, facts, reason, detail := d.review(r, rec, c.Account, known)
	defer func() { d.keepReview(rec, &decision, c.Reason, facts) }()
	c.Rule, c.Policy, c.Reason, c.Detail = decision.RuleID, decision.Version, reason, detail
	if reason != Permitted {
		c.Outcome = OutcomeEnded
		return
	}
	o := &decision.Obligations
	c.Next.Rule, c.Next.Banner = decision.RuleID, o.Banner
	c.Next.Device, c.Next.Join = facts.Device.ID, facts.Device.Join
	if c.Next.Device == "" { // one that is forgotten is still the one it came from
		c.Next.Device, c.Next.Join = rec.Device, rec.Join
	}
	if due := r.dueAt(&decision, known.now, facts); rec.Due.IsZero() || !rec.Due.After(known.now) || !due.IsZero() && due.Before(rec.Due) {
		c.Next.Due = due // else it comes early, and is put off then
	}
	d.compare(c, o, known)
	if c.Next != *rec {
		c.Next.Policy = decision.Version
	}
}

// compare compares what a session has with what it is to have by now.
func (d *Decider) compare(c *Case, o *policy.Obligations, known *evidence) {
	rec := &c.Session.Record
	lacks, detail := d.lacks(rec, c.Account, o, known)
	held, waits := !rec.Quarantine.IsZero(), lacks != Permitted
	switch {
	case !waits && !o.Isolate:
		d.regrant(c, o, known.now)
	case held && waits && rec.Demands == "" && !o.Carries(policy.Quarantine):
		c.end(lacks, detail) // it was isolated, and is to give a factor for which it must not wait
	case held:
		c.Outcome, c.Reason = OutcomeSame, Permitted
		c.Next.Isolated, c.Next.Demands = o.Isolate, ""
		if waits {
			c.Next.Demands = o.Factor.String()
		}
	case waits && !o.Carries(policy.Quarantine):
		c.end(lacks, detail)
	default:
		q, until, ok := d.confine(o, rec, known.now)
		switch {
		case !ok && waits:
			c.end(lacks, detail)
			return
		case !ok:
			c.end(CannotIsolate, "its NAS or the portal is not up to it")
			return
		}
		c.Outcome, c.Reason, c.Detail, c.Change = OutcomeHeld, Isolated, "isolated by rule "+c.Rule, Change{Quarantine: &q}
		c.Next.Quarantine, c.Next.Isolated, c.Next.Demands, c.Next.Released = until, o.Isolate, "", ""
		if waits {
			c.Reason, c.Detail, c.Next.Demands = Quarantined, detail, o.Factor.String()
			if rec.Factor == FactorRemembered.String() {
				c.Next.Factor, c.Next.Remembered, c.Next.Grant, c.Next.GrantEnd = FactorNone.String(), "", "", time.Time{}
			}
		}
	}
}

func (c *Case) end(why Reason, detail string) {
	c.Outcome, c.Reason, c.Detail, c.Next = OutcomeEnded, why, detail, c.Session.Record
}

// regrant lets a session have what it is to have.
func (d *Decider) regrant(c *Case, o *policy.Obligations, now time.Time) {
	rec := &c.Session.Record
	held, want := !rec.Quarantine.IsZero(), granted(o, rec.OurNode)
	if !held && (rec.Granted == want || rec.Granted == "") { // "": nobody wrote it down
		c.Outcome, c.Reason, c.Next.Granted = OutcomeSame, Permitted, want
		return
	}
	change, over := changeTo(o, rec, now)
	if over {
		c.end(TimeOver, "session time-out "+o.SessionTimeout.String()+" since "+rec.Opened.UTC().Format(time.RFC3339))
		return
	}
	if c.Next.Granted = want; change == (Change{}) { // its NAS has no word for what is other now
		c.Outcome, c.Reason = OutcomeSame, Permitted
		return
	}
	c.Change = change
	c.Outcome, c.Reason, c.Detail = OutcomeChanged, Regranted, regranted(rec.Granted, want)
	if held {
		c.Outcome, c.Reason, c.Detail = OutcomeReleased, Released, "no reason left to hold it back"
		c.Next.Quarantine, c.Next.Demands, c.Next.Isolated = time.Time{}, "", false
	}
}

// lacks says what a session's factor lacks of what is demanded by now; Permitted: nothing.
func (d *Decider) lacks(rec *session.Record, a *directory.Account, o *policy.Obligations, known *evidence) (Reason, string) {
	factor, kind := ParseFactor(rec.Factor), ParseFactor(rec.Remembered)
	if factor == FactorRemembered && known.grants != nil && o.Factor != policy.FactorNone {
		place := &grant.Place{Source: rec.Source, Device: rec.Client, Remember: o.Remember}
		stands, err := known.grants.Stands(known.now, rec.Grant, rec.GrantEnd, place, a.PasswordSet, func(given string) bool {
			return meets(ParseFactor(given), FactorNone, o.Factor)
		})
		if err == nil && !stands { // a list that cannot be read takes nothing back
			return CodeMissing, "the remembered factor was taken back"
		}
	}
	switch {
	case meets(factor, kind, o.Factor):
		return Permitted, ""
	case factor == FactorNone:
		return CodeMissing, permittedBefore(rec)
	}
	return FactorTooWeak, permittedBefore(rec)
}

// review asks the policy about a session; the facts are nil where it need not be asked.
// The decision is Permit with the reason Permitted, and only then.
func (d *Decider) review(r *ruling, rec *session.Record, a *directory.Account, known *evidence) (_ policy.Decision, _ *policy.Facts, why Reason, detail string) {
	switch {
	case a.State != directory.Active:
		return policy.Decision{}, nil, stateReason(a.State), "account " + a.State.String()
	case a.PasswordSet.After(rec.Opened.Add(clockSlack)):
		return policy.Decision{}, nil, PasswordChanged, "password set at " + a.PasswordSet.UTC().Format(time.RFC3339)
	}
	facts := d.factsOfSession(rec, a, known.device, known.now)
	decision := r.policy.Evaluate(known.now, &facts)
	if decision.Verdict != policy.Permit {
		return decision, &facts, refusal(&decision), permittedBefore(rec)
	}
	return decision, &facts, Permitted, ""
}

func permittedBefore(rec *session.Record) string { return "permitted by rule " + rec.Rule + " before" }

// Parting is what the user of a session may be shown that ends for this reason.
func (d *Decider) Parting(r Reason) string {
	if slices.Contains([]Reason{EndedByOperator, EndedByUser, Replaced, Revoked, WrittenOff}, r) { // these tell nothing of the account
		return answerTo(r).fullText
	}
	_, text := answerTo(r).to(d.cfg.Disclose)
	return text
}
