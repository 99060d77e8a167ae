package authz

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/internal/store"
)

// keeper is what a Decider knows of the directories' own lockouts, and of how long they
// take. It is safe for concurrent use.
type keeper struct {
	pace      *lockout.Pace
	passwords *lockout.Passwords

	mu   sync.Mutex
	like map[string]lockout.Theirs // by realm, what was said of somebody last
}

func newKeeper(s *lockout.Shield) *keeper {
	return &keeper{pace: lockout.NewPace(), passwords: s.NewPasswords(), like: make(map[string]lockout.Theirs)}
}

func (k *keeper) said(realm string) lockout.Theirs {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.like[realm]
}

func (k *keeper) heard(realm string, t lockout.Theirs) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.like[realm] = t // there are as many as are configured
}

// locker is what locks accounts of the name's realm by itself; nil: nothing does.
func (d *Decider) locker(n directory.Name) (realm string, l directory.Locker) {
	if some, ok := d.cfg.Directory.(interface {
		Locker(directory.Name) (string, directory.Locker)
	}); ok {
		return some.Locker(n)
	}
	l, _ = d.cfg.Directory.(directory.Locker)
	return "", l
}

// asksPassword says whether the login has a directory verify one.
func (l *login) asksPassword() bool {
	if l.req.Method == MethodPortal {
		return l.form != nil && !l.form.WebAuthn
	}
	return l.state == nil
}

// takeSeat asks for a place among those whom a directory with a lockout of its own is
// asked for. It returns what to load, and gives back a place under another name.
func (d *Decider) takeSeat(l *login) []store.Seq {
	before := l.seat.Left()
	l.seat, l.locker = nil, nil
	if !l.asksPassword() {
		return before
	}
	var locker directory.Locker
	if l.directory, locker = d.locker(l.asked); locker == nil {
		return before
	}
	l.locker = locker
	l.seat = d.cfg.Shield.Place(l.user, l.req.Source, d.keep.said(l.directory))
	return store.Join(before, l.seat.Seqs())
}

// askSeat refuses on what the store said of the directory's lockout, so that it costs no
// question.
func (d *Decider) askSeat(ctx context.Context, l *login) (Reason, bool) {
	v := l.seat.Check(l.now)
	return d.full(ctx, l, v), !v.Allowed
}

// enter stops one short of the directory's own lockout. What it hears is no cached word:
// the count of the controller that answers, now.
func (d *Decider) enter(ctx context.Context, l *login) (Reason, bool) {
	if l.seat == nil || !l.asksPassword() {
		return Permitted, false
	}
	began := d.cfg.Clock()
	v, err := l.seat.Enter(ctx, d.cfg.Store, l.now, func(ctx context.Context) (lockout.Theirs, error) {
		t, err := l.locker.Lockout(ctx, l.asked, l.account)
		if err == nil && l.account != nil {
			d.keep.heard(l.directory, lockout.Theirs(t))
		}
		return lockout.Theirs(t), err
	})
	l.rec.Directory += d.cfg.Clock().Sub(began)
	switch {
	case errors.Is(err, store.ErrUnavailable):
		l.rec.Err = err
		return StoreDown, true
	case err != nil:
		l.rec.Err = err
		return DirectoryDown, true
	}
	return d.full(ctx, l, v), !v.Allowed
}

// full refuses because the directory's lockout is near.
func (d *Decider) full(ctx context.Context, l *login, v lockout.Verdict) Reason {
	if v.Allowed {
		return Permitted
	}
	l.rec.Locked = v.Scope
	if d.cfg.Shield.News(l.user, v.Until.Sub(l.now)) {
		d.tell(ctx, l, lockout.Event{
			At: l.now, Kind: lockout.KindLockout, Scope: v.Scope, Subject: l.user, Until: v.Until,
		})
	}
	return LockedOut
}

// leaveSeat is what to commit of the place, with whatever is committed.
func (l *login) leaveSeat(reason Reason) []store.Seq {
	switch {
	case l.proved:
		return l.seat.Right()
	case reason == WrongPassword:
		return l.seat.Failed()
	}
	return l.seat.Left()
}

// giveBack gives the place back where nothing else is committed.
func (d *Decider) giveBack(ctx context.Context, l *login, reason Reason) {
	seqs := l.leaveSeat(reason)
	if len(seqs) == 0 {
		return
	}
	if err := d.cfg.Store.Do(ctx, seqs...); err != nil && l.rec.Err == nil {
		l.rec.Err = err // it lapses by itself
	}
}

// tell tells of what came to light in a login, if it is the first to do so.
func (d *Decider) tell(ctx context.Context, l *login, events ...lockout.Event) {
	for _, e := range events {
		e.User, e.Source, e.Decision = l.user, l.req.Source, l.rec.DecisionID
		first, err := lockout.Tell(ctx, d.cfg.Store, e)
		if err != nil {
			if l.rec.Err == nil {
				l.rec.Err = err
			}
			first = true // better twice than not at all
		}
		if first {
			d.cfg.Audit.Event(&e)
			d.metrics.events.WithLabelValues(e.Kind.String(), e.Scope.String()).Inc()
		}
	}
}

// wrong tells of a password that is wrong for too many users.
func (d *Decider) wrong(ctx context.Context, l *login) {
	if len(l.password) == 0 {
		return
	}
	if e, many := d.keep.passwords.Wrong(l.now, l.user, l.password); many {
		d.tell(ctx, l, e)
	}
}

// replayed tells of a code that came again.
func (d *Decider) replayed(ctx context.Context, l *login, reason Reason) {
	if reason == CodeReplayed && l.code.Outcome != 0 {
		d.tell(ctx, l, lockout.Event{At: l.now, Kind: lockout.KindReplay, Subject: l.user})
	}
}

// delay is how much longer the answer is to take. Wrong passwords are what refusals that
// cost no question are to look like.
func (d *Decider) delay(l *login, reason Reason) time.Duration {
	took, kind := d.cfg.Clock().Sub(l.began), l.directory+" "+l.req.Method.String()
	switch reason { //nolint:exhaustive // all others have proved something, or were not refused for who they are
	case WrongPassword, NoSuchUser:
		d.keep.pace.Took(kind, took)
	case LockedOut:
		return max(d.keep.pace.Like(kind)-took, 0)
	}
	return 0
}

// Event implements Audit.
func (a auditLog) Event(e *lockout.Event) {
	attrs := []slog.Attr{
		slog.String("at", e.At.UTC().Format(time.RFC3339Nano)),
		slog.String("event", e.Kind.String()),
		slog.String("scope", e.Scope.String()),
		slog.String("subject", e.Subject),
		slog.Int("failures", e.Failures),
		slog.String("user", e.User),
		slog.String("source", addrText(e.Source)),
		slog.String("decision", e.Decision),
	}
	if !e.Until.IsZero() {
		attrs = append(attrs, slog.String("until", e.Until.UTC().Format(time.RFC3339Nano)))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "event", attrs...)
}
