package authz

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"

	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/pool"
	"postern/authz/session"
	"postern/internal/store"
	"postern/policy"
)

// commitment is what an accepted login takes: a session and perhaps an address.
type commitment struct {
	session session.Record
	opening *session.Opening
	claim   *claim
}

// commit writes the outcome down in one trip, and may find that it is another
// one: logins under way at the same time see the same facts, and here the store
// decides which of them is first.
//
//	password wrong              count a failure, for a directory that counts, too
//	code wrong                  count a failure of codes, use up the state it answers
//	password right, refused     guards, use up the state, burn the code; leave to change
//	                            an expired password, where it is given, or the note
//	                            that the client is asked for a code
//	permitted, quarantined      guards, the remembered factor among them; use up the
//	                            state, burn the code, count the session, forget the
//	                            failures, remember the factor; write the session,
//	                            lease the address
//
// With again the outcome must be decided anew: something it was decided on had changed.
func (d *Decider) commit(ctx context.Context, l *login, reason Reason) (_ Reason, again bool) {
	began := d.cfg.Clock()
	defer func() { l.rec.Commit += d.cfg.Clock().Sub(began) }()
	switch {
	case reason == NoSuchUser:
		return d.count(ctx, l, lockout.UnknownUser, reason), false
	case reason == WrongPassword:
		return d.count(ctx, l, lockout.WrongPassword, reason), false
	case reason == CodeWrong, reason == StateInvalid && l.given != "":
		return d.count(ctx, l, lockout.WrongCode, reason), false
	case !l.proved || answerTo(reason).verdict == Silent:
		d.giveBack(ctx, l, reason)
		return reason, false
	}
	accepted := answerTo(reason).verdict == Accept
	own := l.leaveSeat(reason)
	if accepted && l.use != nil {
		own = append(own, l.use.Seqs()...) // first of all, see grant.Write
	}
	own = append(own, d.cfg.Shield.Guard(l.user, l.req.Source, l.passed, l.checked)...)
	var answer store.Op
	if l.state != nil {
		answer = l.answer(accepted)
		own = append(own, store.Seq{answer})
	}
	var burn *mfa.Burn
	if l.code.Outcome == mfa.OK {
		burn = d.cfg.MFA.Burn(l.user, l.code, l.same())
		own = append(own, burn.Seqs()...)
	}
	if l.leave != nil {
		own = append(own, store.Seq{l.leave})
	}
	if reason == RetryAsked {
		own = append(own, store.Seq{l.retry})
	}
	if accepted {
		if l.req.Method != MethodPortal {
			d.open(l)
			own = append(own, l.commit.opening.UserSeqs()...)
		}
		own = append(own, l.seat.Clear()...)
		own = append(own, d.cfg.Shield.Clear(l.now, l.user, l.req.Source, l.passed, l.checked)...)
		own = append(own, d.remember(l)...)
	}
	if len(own) == 0 {
		return reason, false
	}
	// All of these carry the user's tag and become one sequence.
	seqs := store.Join(own)
	user := seqs[0]
	if l.commit != nil {
		seqs = append(seqs, l.commit.opening.NodeSeqs()...)
		seqs = append(seqs, l.commit.claim.seqs()...)
	}
	if err := d.cfg.Store.Do(ctx, seqs...); err != nil {
		l.rec.Err = err
		l.commit = nil
		return StoreDown, false
	}
	lost := Permitted
	switch guard := lostGuard(user); {
	case guard == nil:
	case d.rememberAlone(ctx, l, user, guard):
	case accepted && l.use != nil && !l.use.OK():
		lost, again = LockedOut, true
		if err := l.grants.Again(l.use); err != nil {
			l.rec.Err = err
		}
		l.use, l.factor, l.kind = nil, FactorNone, FactorNone
	case reason == RetryAsked && guard == store.Op(l.retry):
		l.retried = true
		return reason, true
	case answer != nil && guard == answer:
		l.rec.Err = errStateUsed
		lost = StateInvalid
	case burn != nil && burn.Lost():
		lost = CodeReplayed
	case l.commit != nil && l.commit.opening.TooMany():
		lost = TooManySessions
	case l.leave != nil && guard == store.Op(l.leave):
		lost = CodeReplayed // this dialogue has had its leave
	default:
		lost = LockedOut // failures were counted while we were at the directory
	}
	if l.commit == nil {
		if lost != Permitted {
			reason = lost
		}
		return reason, false
	}
	if lost = d.finish(ctx, l, lost); lost != Permitted {
		reason = lost
	}
	return reason, again
}

// lostGuard is the operation at which a sequence stopped; nil: it did not.
func lostGuard(s store.Seq) store.Op {
	for i := range s {
		if !s[:i+1].OK() {
			return s[i]
		}
	}
	return nil
}

// rememberAlone has the factor remembered when that was all that was lost: it stands
// last, so that the rest is done.
func (d *Decider) rememberAlone(ctx context.Context, l *login, user store.Seq, lost store.Op) bool {
	if l.give == nil || lost != user[len(user)-1] {
		return false
	}
	if err := d.grants.Remember(ctx, l.grants, l.give, l.place()); err != nil {
		l.rec.Err = err // the user is asked for a code next time
	}
	return true
}

// remember is what has the factor remembered. Who has seeds of the directory may have
// nothing else here, and is to be found all the same where everybody's are listed.
func (d *Decider) remember(l *login) []store.Seq {
	if d.give(l); l.give == nil {
		return nil
	}
	seqs := l.give.Seqs()
	if l.account.Seeds.Len() > 0 {
		seqs = append(seqs, store.Known(l.user))
	}
	return seqs
}

// give has the factor remembered that the login has, where the rule remembers any and
// lets one that is remembered in.
func (d *Decider) give(l *login) {
	o := &l.decision.Obligations
	l.give = nil
	if l.factor == FactorNone || l.factor == FactorRemembered || !o.Carries(policy.Remembered) {
		return
	}
	w, err := l.grants.Give(l.now, l.place(), l.factor.String(), l.rec.DecisionID)
	if err != nil {
		l.rec.Err = err // the user is asked for a code next time
	}
	l.give = w
}

// count commits a failure. If that is not possible, nobody may learn that the
// password was wrong: guessing would be free while the store is away.
func (d *Decider) count(ctx context.Context, l *login, f lockout.Failure, reason Reason) Reason {
	failing := d.cfg.Shield.Failed(f, l.user, l.req.Source, l.counted)
	seqs := slices.Concat(failing, l.leaveSeat(reason))
	var answer *store.Once
	if reason == CodeWrong && l.state != nil {
		answer = l.answer(false)
		seqs = append(seqs, store.Seq{answer})
	}
	if len(seqs) == 0 {
		return reason
	}
	if err := d.cfg.Store.Do(ctx, store.Join(seqs)...); err != nil {
		l.rec.Err = err
		return StoreDown
	}
	d.tell(ctx, l, failing.Begun()...)
	if f != lockout.WrongCode {
		d.wrong(ctx, l)
	}
	if answer != nil && !answer.OK {
		l.rec.Err = errStateUsed
		return StateInvalid
	}
	return reason
}

// acct is the login's Acct-Session-Id; one of our own for a NAS that does no accounting.
func (l *login) acct() string { return cmp.Or(l.req.SessionID, l.rec.DecisionID) }

// sessionID is the ID of the session that the login opens.
func (l *login) sessionID() string { return session.ID(l.req.NAS.Node(), l.acct()) }

// open prepares session and address.
func (d *Decider) open(l *login) {
	c := &commitment{session: session.Record{
		ID: l.sessionID(), Node: l.req.NAS.Node(), NASID: l.req.NAS.ID, NASAddr: l.req.NAS.Addr, Via: l.req.NAS.Client, Acct: l.acct(),
		User: l.user, SID: l.account.SID, Realm: l.realm(), Source: l.req.Source,
		Client: l.req.ClientName, Tunnel: l.req.Tunnel,
		Decision: l.rec.DecisionID, Rule: l.decision.RuleID, Factor: l.factor.String(),
	}}
	o := &l.decision.Obligations
	c.session.Version, c.session.Key = l.req.ClientVersion, keyOf(l.req.Method).String()
	c.session.Device, c.session.Join = l.rec.Device, l.rec.Join
	if f := l.facts; f != nil {
		c.session.Failures = [4]int{f.Risk.UserFailures, f.Risk.SourceFailures, f.Risk.SourceUsers, f.Risk.CodeFailures}
		c.session.Before = f.LastSuccess.UTC()
	}
	c.session.OurNode, c.session.Policy, c.session.Banner = l.req.Node, l.decision.Version, o.Banner
	c.session.Granted, c.session.Due = granted(o, l.req.Node), l.ruling.dueAt(&l.decision, l.now, l.facts)
	if l.factor == FactorRemembered {
		c.session.Remembered = l.kind.String()
		if l.use != nil {
			c.session.Grant, c.session.GrantEnd = l.use.Grant.ID, l.use.Grant.Until().UTC()
		}
	}
	if !l.held.IsZero() {
		c.session.Quarantine, c.session.Isolated = l.held.UTC(), o.Isolate
		if !meets(l.factor, l.kind, o.Factor) {
			c.session.Demands = o.Factor.String()
		}
	}
	c.claim = l.claim(c.session.ID, d.cfg.Sessions.LeaseTime())
	c.session.Pool = c.claim.pool
	if c.claim.fixed != nil {
		c.session.Addr = l.account.Addr
	}
	l.rec.Pool = c.claim.pool
	c.session.Attempt = l.same()
	c.opening = d.cfg.Sessions.Open(l.now, c.session, o.Sessions)
	if o.Replace {
		c.opening.Replacing()
	}
	l.commit = c
}

// address is what the login gets; its session is told of which pool it is.
func (d *Decider) address(ctx context.Context, c *commitment, through bool) (addr netip.Addr, err error) {
	if through && c.opening.Repeated() && len(c.claim.pools) > 1 {
		var rec session.Record
		if rec, _, err = d.cfg.Sessions.Get(ctx, c.session.ID); err != nil {
			return addr, err
		}
		addr, err = c.claim.join(ctx, d.cfg.Store, rec.Pool, c.session.ID)
	} else {
		addr, err = c.claim.finish(ctx, d.cfg.Store, through)
	}
	if err == nil && c.claim.pool != c.session.Pool {
		c.session.Pool = c.claim.pool
		err = c.opening.Moved(ctx, c.claim.pool)
	}
	return addr, err
}

// finish finishes an accepted login, or takes it back.
func (d *Decider) finish(ctx context.Context, l *login, reason Reason) Reason {
	c := l.commit
	addr, err := d.address(ctx, c, reason == Permitted)
	c.session.Addr = addr
	dismissed := false
	if reason == Permitted && len(c.opening.Going()) > 0 {
		if dismissed = err == nil; errors.Is(err, pool.ErrExhausted) {
			var failed error
			if dismissed, failed = d.frees(ctx, c); failed != nil {
				err = failed
			}
		}
		if dismissed {
			err = d.dismiss(ctx, l, err)
		}
	}
	l.rec.Pool = c.session.Pool
	switch {
	case reason != Permitted:
	case err == nil:
	case errors.Is(err, pool.ErrExhausted):
		l.rec.Err = err // says which
		reason = PoolExhausted
	default:
		l.rec.Err = err
		reason = StoreDown
	}
	if c.opening.Repeated() { // the session is another service's, which let the same attempt in
		if err := c.opening.Settle(ctx, reason == Permitted); err != nil {
			if l.rec.Err == nil {
				l.rec.Err = err // what stays behind lapses by itself
			}
			if reason == Permitted { // the NAS asks again
				reason = StoreDown
			}
		}
		if reason != Permitted {
			l.commit = nil
		}
		return reason
	}
	if reason == Permitted {
		return reason
	}
	l.commit = nil
	if err := d.cfg.Sessions.Abandon(ctx, c.session); err != nil && l.rec.Err == nil {
		l.rec.Err = err // what stays behind lapses by itself
	}
	if dismissed {
		return reason
	}
	if err := d.restore(ctx, l, c); err != nil && l.rec.Err == nil {
		l.rec.Err = err
	}
	return reason
}
