package authz

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/authz/pool"
	"postern/authz/session"
)

// A rule with `sessions: {max: N, on_limit: replace}` lets its user in again where he has
// N sessions already, and ends the oldest. In order:
//
//	commit    the store admits the new session and takes the oldest one's place from it,
//	          as one operation: of logins at once each replaces another session
//	dismiss   that the old one ends is written down, before the new one is answered: from
//	          here on some service asks its NAS until it answers, whatever happens to us
//	answer    the login is accepted. The old session may still be there for the moment that
//	          its NAS takes; it counts as none of the user's places any more
//
// A service that ends between the first two leaves a session without a place: the user's
// next report, of any of his sessions, finds it, and it is dismissed then. Where the old
// session has the address that the new one needs, the login waits for its end.
const (
	// A login looks again for an address that the session it replaces has after
	// replaceFirst, and then after twice as long each time up to replaceLast: together
	// less than a NAS waits for its answer.
	replaceFirst = 50 * time.Millisecond
	replaceLast  = 800 * time.Millisecond
)

// replacing is what is wished of a session that has lost its place.
func replacing(now time.Time, detail, rule string) session.Wish {
	return session.Wish{
		Reason: Replaced.String(), Detail: detail, Rule: rule, Text: answerTo(Replaced).fullText, Asked: now.UTC(),
	}
}

// dismiss has the sessions end that have to go for this login, and waits for one whose
// address the login was refused. It returns what the claim comes to then.
func (d *Decider) dismiss(ctx context.Context, l *login, claimed error) error {
	c := l.commit
	l.rec.Replaced = c.opening.Replaced()
	_, err := d.cfg.Sessions.Dismiss(ctx, c.opening.Going(), replacing(l.now, "by session "+c.session.ID, l.rec.Rule))
	if err != nil {
		return err
	}
	for wait := replaceFirst; claimed != nil && wait <= replaceLast; wait *= 2 {
		select {
		case <-ctx.Done():
			return claimed
		case <-time.After(wait):
		}
		c.claim = l.claim(c.session.ID, d.cfg.Sessions.LeaseTime())
		if err := d.cfg.Store.Do(ctx, c.claim.seqs()...); err != nil {
			return err
		}
		if c.session.Addr, err = d.address(ctx, c, true); !errors.Is(err, pool.ErrExhausted) {
			return err
		}
	}
	return claimed // they will have gone when he tries again
}

// frees says whether one of the sessions that have to go has an address of a pool that the
// login was refused one of.
func (d *Decider) frees(ctx context.Context, c *commitment) (bool, error) {
	seen, err := d.cfg.Sessions.Look(ctx, c.opening.Going()...)
	if err != nil {
		return false, err
	}
	for _, s := range seen {
		if s.Pool != "" && (s.Pool == c.claim.pool || slices.Contains(c.claim.pools, s.Pool)) {
			return true, nil
		}
	}
	return false, nil
}

// restore gives back the places that a login took which comes to nothing.
func (d *Decider) restore(ctx context.Context, l *login, c *commitment) error {
	if len(c.opening.Replaced()) == 0 {
		return nil
	}
	l.rec.Replaced = nil
	gone, err := c.opening.Restore(ctx)
	if err != nil {
		return err // they are dismissed at their next report
	}
	l.rec.Replaced = gone
	_, err = d.cfg.Sessions.Dismiss(ctx, gone, replacing(l.now, "its place is taken", l.rec.Rule))
	return err
}
