package authz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/session"
	"postern/internal/store"
	"postern/policy"
)

// Errors of Visit.
var (
	// ErrReference: the reference was not made by us, or its time is over.
	ErrReference = errors.New("not a valid reference to a session")
	// ErrNoSession: its session has ended.
	ErrNoSession = errors.New("the session has ended")
)

// Visit is what the reference in a quarantined session's URL stands for.
type Visit struct {
	Session session.Record
	User    string        // canonical
	Until   time.Time     // when the reference lapses, and the session with it if it is still held back
	Demands policy.Factor // what it waits for
	Held    bool          // it is in quarantine
	Waits   bool          // there, for its second factor
	Lifting bool          // it was released, and the NAS has not said yet that all is open
	// Isolated: it is there because its rule isolates it, whatever its factor.
	Isolated bool
}

// StepUp is a second factor for a session in quarantine.
type StepUp struct {
	Session  string // ID, from a Visit or a list of the user's sessions
	User     string // canonical, whose the portal believes it to be
	Code     string // one-time or recovery code
	WebAuthn bool   // the portal has verified a key of the user's instead
	From     netip.Addr
}

// StepUpResult says what became of it. Reason is Permitted when the session is
// released; its NAS is asked from then on, see Visit.Lifting. It is Isolated when the
// factor was taken, and the session stays in quarantine because its rule isolates it.
type StepUpResult struct {
	Reason Reason
	Factor Factor // that was accepted
}

// Visit opens the reference that a quarantined session's URL carries. It goes on to
// work after the step-up, until it lapses.
func (d *Decider) Visit(ctx context.Context, token string) (*Visit, error) {
	ref, err := d.openReference(token)
	if err != nil {
		return nil, err
	}
	clock := &store.Time{}
	if err := d.cfg.Store.Do(ctx, store.Seq{clock}); err != nil {
		return nil, err
	}
	if !clock.Now.Before(ref.until) {
		return nil, fmt.Errorf("%w: it has lapsed", ErrReference)
	}
	rec, found, err := d.cfg.Sessions.Get(ctx, ref.session)
	switch {
	case err != nil:
		return nil, err
	case !found || !rec.Opened.Equal(ref.opened):
		return nil, ErrNoSession
	}
	v := &Visit{
		Session: rec, User: rec.User, Until: ref.until, Demands: demanded(rec.Demands), Held: !rec.Quarantine.IsZero(),
		Waits: rec.Demands != "", Isolated: rec.Isolated,
	}
	if !v.Held {
		if v.Lifting, err = d.cfg.Sessions.Lifting(ctx, rec.ID); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// StepUp takes a second factor for a session in quarantine: the code is looked at as in
// a login, under the same shield and with the same mark that makes it good once; account
// and policy are asked again as they are now. Then the session is released, once
// whatever comes at the same time, and its NAS is asked to let it go, by whichever
// service reaches it (package follow).
func (d *Decider) StepUp(ctx context.Context, s StepUp) StepUpResult {
	l := &login{ruling: d.policy.Load(), now: d.cfg.Clock()}
	rec := StepUpRecord{From: s.From, Session: session.Record{ID: s.Session, User: s.User}}
	rec.Reason = d.stepUp(ctx, l, &s, &rec)
	d.replayed(ctx, l, rec.Reason)
	rec.Time, rec.Rule, rec.Policy, rec.Err = l.now, l.decision.RuleID, l.decision.Version, l.rec.Err
	if answerTo(rec.Reason).verdict == Accept {
		rec.Factor = l.factor
	}
	d.cfg.Audit.StepUp(&rec)
	d.keepStepUp(l, &rec)
	d.metrics.stepUps.WithLabelValues(rec.Factor.String(), rec.Reason.String()).Inc()
	return StepUpResult{Reason: rec.Reason, Factor: rec.Factor}
}

// stepUp decides a step-up, and leaves the session in the record.
func (d *Decider) stepUp(ctx context.Context, l *login, s *StepUp, rec *StepUpRecord) Reason {
	held, found, err := d.cfg.Sessions.Get(ctx, s.Session)
	switch {
	case err != nil:
		l.rec.Err = err
		return StoreDown
	case !found || held.User != s.User || s.User == "":
		return SessionGone
	}
	rec.Session = held
	l.resume(&held)
	if reason, done := d.havePolicy(ctx, l); done {
		return reason
	}
	if reason, done := d.load(ctx, l); done {
		return reason
	}
	switch {
	case held.Quarantine.IsZero():
		return NotQuarantined
	case !l.now.Before(held.Quarantine):
		return StepUpExpired
	}
	if reason := d.permits(ctx, l, &held); reason != Permitted {
		return reason
	}
	if reason := d.factorOf(ctx, l, s); reason != Permitted {
		return reason
	}
	if reason := d.commitStepUp(ctx, l); reason != Permitted {
		return reason
	}
	return d.release(ctx, l, rec)
}

// resume makes a login of its session: the same user, from the same place.
func (l *login) resume(rec *session.Record) {
	l.req = &Request{
		NAS: NAS{ID: rec.NASID, Addr: rec.NASAddr, Client: rec.Via}, User: rec.User, Source: rec.Source, SessionID: rec.Acct,
		Tunnel: rec.Tunnel, ClientName: rec.Client, Method: MethodPortal,
	}
	l.user, l.rec.DecisionID = rec.User, rec.Decision
	// The password was right at the login; who locks it elsewhere locks nobody out here.
	l.passed = lockout.Verdict{Allowed: true, Scope: lockout.ScopeUser}
}

// permits asks directory and policy about the session as they are now.
func (d *Decider) permits(ctx context.Context, l *login, rec *session.Record) Reason {
	l.asked = AskedName(mfa.SplitCode(rec.User, d.cfg.Separator))
	a, err := d.cfg.Directory.Find(ctx, l.asked)
	if err != nil {
		if r, no := directory.IsRejected(err); no && r.Reason == directory.NoSuchUser {
			return NoSuchUser
		}
		l.rec.Err = err
		return DirectoryDown
	}
	if a.Name != rec.User {
		return NoSuchUser
	}
	if l.account = a; a.State == directory.StateUnknown {
		return InternalError
	}
	d.seeds(l)
	known, err := d.gather(ctx, rec)
	if err != nil {
		l.rec.Err = err
		return StoreDown
	}
	l.known = &known[0]
	return d.ruleOn(l, rec)
}

// ruleOn asks the policy about the session of a step-up.
func (d *Decider) ruleOn(l *login, rec *session.Record) (why Reason) {
	l.decision, l.facts, why, _ = d.review(l.ruling, rec, l.account, l.known)
	return why
}

// factorOf looks at the factor of a step-up.
func (d *Decider) factorOf(ctx context.Context, l *login, s *StepUp) Reason {
	demanded := l.decision.Obligations.Factor
	switch {
	case s.WebAuthn:
		l.factor = FactorWebAuthn
		return Permitted
	case demanded == policy.FactorWebAuthn:
		return FactorTooWeak
	case s.Code == "":
		return CodeMissing
	}
	l.given = s.Code
	if reason, done := d.checkCode(ctx, l); done {
		if reason == CodeWrong {
			return d.count(ctx, l, lockout.WrongCode, CodeWrong)
		}
		return reason
	}
	if !meets(l.factor, FactorNone, demanded) {
		return NotEnrolled
	}
	return Permitted
}

// commitStepUp burns the code, under the shield's guards, and remembers the factor.
func (d *Decider) commitStepUp(ctx context.Context, l *login) Reason {
	own := d.cfg.Shield.Guard(l.user, l.req.Source, l.passed, l.checked)
	var burn *mfa.Burn
	if l.code.Outcome == mfa.OK {
		burn = d.cfg.MFA.Burn(l.user, l.code, "")
		own = append(own, burn.Seqs()...)
	}
	own = append(own, d.cfg.Shield.Clear(l.now, l.user, l.req.Source, l.passed, l.checked)...)
	own = append(own, d.remember(l)...)
	if len(own) == 0 {
		return Permitted
	}
	seqs := store.Join(own)
	if err := d.cfg.Store.Do(ctx, seqs...); err != nil {
		l.rec.Err = err
		return StoreDown
	}
	switch guard := lostGuard(seqs[0]); {
	case guard == nil:
	case d.rememberAlone(ctx, l, seqs[0], guard):
	case burn != nil && burn.Lost():
		return CodeReplayed
	default:
		return CodeLocked // wrong codes were counted meanwhile
	}
	return Permitted
}

// release lets the session go, with what the policy grants it now that it has its factor.
// One that the policy isolates has it written down, and stays.
func (d *Decider) release(ctx context.Context, l *login, rec *StepUpRecord) Reason {
	with := rec.Session
	with.Factor, with.Remembered = l.factor.String(), ""
	if reason := d.ruleOn(l, &with); reason != Permitted {
		return reason
	}
	o := &l.decision.Obligations
	if !meets(l.factor, FactorNone, o.Factor) {
		return FactorTooWeak
	}
	given := func(now *session.Record) {
		now.Factor, now.Remembered, now.Grant, now.GrantEnd = l.factor.String(), "", "", time.Time{}
		now.Rule, now.Policy, now.Banner, now.Due = l.decision.RuleID, l.decision.Version, o.Banner, l.ruling.dueAt(&l.decision, l.now, l.facts)
	}
	if o.Isolate {
		return d.released(l, rec, Isolated, func() (session.Record, error) {
			return d.cfg.Sessions.Amend(ctx, rec.Session, func(now *session.Record) {
				given(now)
				now.Demands, now.Isolated = "", true
			})
		})
	}
	to, over := changeTo(o, &rec.Session, l.now)
	if over {
		return TimeOver
	}
	change, err := json.Marshal(to)
	if err != nil { // no field of ours can fail
		l.rec.Err = err
		return InternalError
	}
	return d.released(l, rec, Permitted, func() (session.Record, error) {
		return d.cfg.Sessions.Release(ctx, rec.Session, session.Wish{
			Reason: SteppedUp.String(), Detail: "factor " + l.factor.String(), Rule: l.decision.RuleID, Policy: l.decision.Version,
			Change: change, Asked: l.now.UTC(),
		}, func(now *session.Record) {
			given(now)
			now.Granted = granted(o, now.OurNode)
		})
	})
}

// released is the reason of a step-up whose session was written down, or was not.
func (d *Decider) released(l *login, rec *StepUpRecord, done Reason, write func() (session.Record, error)) Reason {
	now, err := write()
	switch {
	case err == nil:
		rec.Session = now
		return done
	case errors.Is(err, session.ErrNotHeld):
		return NotQuarantined
	case errors.Is(err, session.ErrGone):
		return SessionGone
	}
	l.rec.Err = err
	return StoreDown
}

// demanded is the factor that a record names.
func demanded(s string) policy.Factor {
	for _, f := range []policy.Factor{policy.FactorWebAuthn, policy.FactorNone} {
		if f.String() == s {
			return f
		}
	}
	return policy.FactorCode
}
