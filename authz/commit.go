package authz

import (
	"context"
	"errors"

	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/pool"
	"postern/authz/session"
	"postern/internal/store"
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
//	password wrong              count a failure
//	code wrong                  count a failure of codes
//	password right, refused     guards, burn the code; leave to change an expired
//	                            password, where it is given
//	permitted                   guards, burn the code, count the session, forget
//	                            the failures; write the session, lease the address
func (d *Decider) commit(ctx context.Context, l *login, reason Reason) Reason {
	began := d.cfg.Clock()
	defer func() { l.rec.Commit = d.cfg.Clock().Sub(began) }()
	switch {
	case reason == NoSuchUser:
		return d.count(ctx, l, lockout.UnknownUser, reason)
	case reason == WrongPassword:
		return d.count(ctx, l, lockout.WrongPassword, reason)
	case reason == CodeWrong:
		return d.count(ctx, l, lockout.WrongCode, reason)
	case !l.proved || answerTo(reason).verdict == Silent:
		return reason
	}
	guards := d.cfg.Shield.Guard(l.user, l.req.Source, l.passed, l.checked)
	var burn *mfa.Burn
	if l.code.Outcome == mfa.OK {
		burn = d.cfg.MFA.Burn(l.user, l.code, l.counted)
		guards = append(guards, burn.Seqs()...)
	}
	seqs := guards
	if l.leave != nil {
		seqs = append(seqs, store.Seq{l.leave})
	}
	if reason == Permitted {
		d.open(l)
		seqs = append(seqs, l.commit.opening.UserSeqs()...)
		seqs = append(seqs, d.cfg.Shield.Clear(l.user, l.req.Source, l.passed, l.checked)...)
	}
	if len(seqs) == 0 {
		return reason
	}
	// All of these carry the user's tag and become one sequence.
	seqs = store.Join(seqs)
	own := seqs[0]
	if l.commit != nil {
		seqs = append(seqs, l.commit.opening.NodeSeqs()...)
		seqs = append(seqs, l.commit.claim.seqs()...)
	}
	if err := d.cfg.Store.Do(ctx, seqs...); err != nil {
		l.rec.Err = err
		l.commit = nil
		return StoreDown
	}
	lost := Permitted
	switch {
	case own.OK():
	case burn != nil && burn.Lost():
		lost = CodeReplayed
	case l.commit != nil && l.commit.opening.TooMany():
		lost = TooManySessions
	case l.leave != nil && (len(own) == 1 || own[:len(own)-1].OK()):
		lost = CodeReplayed // this dialogue has had its leave
	default:
		lost = LockedOut // failures were counted while we were at the directory
	}
	if l.commit == nil {
		if lost != Permitted {
			return lost
		}
		return reason
	}
	return d.settle(ctx, l, lost)
}

// count commits a failure. If that is not possible, nobody may learn that the
// password was wrong: guessing would be free while the store is away.
func (d *Decider) count(ctx context.Context, l *login, f lockout.Failure, reason Reason) Reason {
	seqs := d.cfg.Shield.Failed(f, l.user, l.req.Source, l.counted)
	if len(seqs) == 0 {
		return reason
	}
	if err := d.cfg.Store.Do(ctx, store.Join(seqs)...); err != nil {
		l.rec.Err = err
		return StoreDown
	}
	return reason
}

// open prepares session and address.
func (d *Decider) open(l *login) {
	node, acct := l.req.NAS.Node(), l.req.SessionID
	if acct == "" {
		acct = l.rec.DecisionID // a NAS that does no accounting
	}
	c := &commitment{session: session.Record{
		ID: session.ID(node, acct), Node: node, NASID: l.req.NAS.ID, NASAddr: l.req.NAS.Addr, Via: l.req.NAS.Client, Acct: acct,
		User: l.user, SID: l.account.SID, Realm: l.realm(), Source: l.req.Source,
		Client: l.req.ClientName, Tunnel: l.req.Tunnel,
		Decision: l.rec.DecisionID, Rule: l.decision.RuleID, Factor: l.factor.String(),
	}}
	c.claim = l.claim(c.session.ID, d.cfg.Sessions.LeaseTime())
	c.session.Pool = c.claim.pool
	if c.claim.fixed != nil {
		c.session.Addr = l.account.Addr
	}
	l.rec.Pool = c.claim.pool
	c.opening = d.cfg.Sessions.Open(l.now, c.session, l.decision.Obligations.Sessions)
	l.commit = c
}

// settle finishes an accepted login, or takes it back.
func (d *Decider) settle(ctx context.Context, l *login, reason Reason) Reason {
	c := l.commit
	addr, err := c.claim.finish(ctx, d.cfg.Store)
	c.session.Addr = addr
	switch {
	case reason != Permitted:
	case err == nil:
		return Permitted
	case errors.Is(err, pool.ErrExhausted):
		reason = PoolExhausted
	default:
		l.rec.Err = err
		reason = StoreDown
	}
	l.commit = nil
	if err := d.cfg.Sessions.Abandon(ctx, c.session); err != nil && l.rec.Err == nil {
		l.rec.Err = err // what stays behind lapses by itself
	}
	return reason
}
