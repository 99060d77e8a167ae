package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/authz/directory"
	"postern/internal/store"
)

// A password that has expired is changed in the login dialogue (RFC 2759 §7), which
// is two logins for us. The first proves the old password and gives the second
// factor; where the policy and the directory allow it, its refusal asks for a new
// password and leaves a note that this dialogue may change it. The second brings the
// new password and takes the note, which nobody can do twice. Its code is not looked
// at again: it was burnt by the first.
//
//	login   … verify: expired, code, policy ─► E=648, and the leave is noted
//	change  … leave taken, policy ─► password changed ─► verify: as any login

// leave is the note. The dialogue it stands for is in its key.
type leave struct {
	factor Factor
	taker  string // the attempt that took it; "": nobody yet
}

const untaken = "-"

func (v leave) String() string {
	if v.taker == "" {
		return v.factor.String() + " " + untaken
	}
	return v.factor.String() + " " + v.taker
}

func parseLeave(s string) (leave, bool) {
	factor, taker, ok := strings.Cut(s, " ")
	i := slices.Index(factorNames[:], factor)
	if !ok || i < 0 || taker == "" {
		return leave{}, false
	}
	if taker == untaken {
		taker = ""
	}
	return leave{Factor(i), taker}, true
}

// changing says whether the login brings a new password.
func (l *login) changing() bool { return l.req.Method == MethodMSCHAPv2Change }

// outdated says whether a new password would end the reason.
func outdated(r Reason) bool { return r == PasswordExpired || r == PasswordMustChange }

// plain is the reason of a login whose password has expired and that nothing but the
// lack of a factor or of a rule would refuse: what its user has to do first is get a
// new password. Wrong codes and rules that deny keep their own reasons.
func (l *login) plain(r Reason) Reason {
	if l.expired != ReasonUnknown && (r == CodeMissing || r == NotEnrolled || r == FactorTooWeak || r == PolicyNoMatch) {
		return l.expired
	}
	return r
}

func (l *login) leaveKey() store.Key { return store.UserChange(l.user, l.digest(l.req.User)) }

// disclosure is what the client may learn of the reason: who may change the password,
// or could not, must know.
func (l *login) disclosure(d Disclosure, r Reason) Disclosure {
	if r == NewPasswordRefused || r == RetryAsked || l.leave != nil && r == l.expired {
		return DiscloseFull
	}
	return d
}

// changer is the directory that changes the name's password; nil: none does.
func (d *Decider) changer(n directory.Name) directory.Changer {
	c, can := d.cfg.Directory.(directory.Changer)
	if !can {
		return nil
	}
	if some, ok := d.cfg.Directory.(interface{ CanChange(directory.Name) bool }); ok && !some.CanChange(n) {
		return nil
	}
	return c
}

// expire ends a login with an expired password, after all else was right, and gives
// leave to change it where that is possible. Without a second factor there is none,
// whatever the rule says, and one given before is none here: a stolen password must not
// become the thief's own. Nor is there for a NAS that does not tell its dialogues apart.
func (d *Decider) expire(_ context.Context, l *login) (Reason, bool) {
	if l.expired == ReasonUnknown {
		return Permitted, false
	}
	if l.req.Method == MethodMSCHAPv2 && l.req.SessionID != "" && l.factor != FactorNone && l.factor != FactorRemembered && l.decision.Obligations.PasswordChange && d.changer(l.asked) != nil {
		// A dialogue has one leave: this attempt, asked again, does not renew one that was
		// taken.
		l.leave = &store.Once{Key: l.leaveKey(), Value: leave{factor: l.factor}.String(), TTL: dialogueLife}
	}
	return l.expired, true
}

// takeLeave takes the leave that the login before got. The same attempt, asked again
// because its answer was lost, takes it again.
func (d *Decider) takeLeave(ctx context.Context, l *login) (Reason, bool) {
	switch {
	case !l.changing():
		return Permitted, false
	case l.account == nil:
		return NoSuchUser, true
	case !l.noted.Found:
		return CodeMissing, true
	}
	v, ok := parseLeave(l.noted.Value)
	if !ok {
		l.rec.Err = errors.New("leave to change the password: unreadable")
		return InternalError, true
	}
	l.factor = v.factor
	if v.taker == "" {
		mine := leave{v.factor, l.counted}.String()
		swap := &store.Swap{Key: l.leaveKey(), Old: l.noted.Value, New: mine, TTL: dialogueLife}
		if err := d.cfg.Store.Do(ctx, store.Seq{swap}); err != nil {
			l.rec.Err = err
			return StoreDown, true
		}
		if !swap.OK {
			return CodeReplayed, true
		}
		l.taken = swap.Value == mine
		return Permitted, false
	}
	l.taken = v.taker == l.counted
	return CodeReplayed, !l.taken
}

// change changes the password, and has the response verified that was made with the
// new one: as any logon, so that nobody gets in by what we think of a change.
func (d *Decider) change(ctx context.Context, l *login) (Reason, bool) {
	if !l.changing() {
		return Permitted, false
	}
	if !l.decision.Obligations.PasswordChange {
		return PolicyDenied, true
	}
	c := d.changer(l.asked)
	if c == nil {
		return MethodRefused, true
	}
	if l.taken {
		// This attempt was here before. If it got so far as to change the password, the
		// old one is none any more.
		switch d.ask(ctx, l) {
		case Permitted:
			return Permitted, false
		case DirectoryDown:
			return DirectoryDown, true
		default:
			l.rec.Err = nil
		}
		// The directory may have counted that, and is to be asked once more.
		if reason, done := d.enter(ctx, l); done {
			return reason, true
		}
	}
	l.seat.Asking()
	began := d.cfg.Clock()
	err := c.ChangePassword(ctx, l.asked, l.account, l.req.Change)
	l.rec.Directory += d.cfg.Clock().Sub(began)
	if err != nil {
		return l.refused(err), true
	}
	reason := d.ask(ctx, l)
	if reason == Permitted {
		return Permitted, false
	}
	if l.rec.Err == nil {
		l.rec.Err = errors.New(reason.String())
	}
	l.rec.Err = fmt.Errorf("the password was changed, but does not log in: %w", l.rec.Err)
	return reason, true
}
