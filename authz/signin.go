package authz

import (
	"context"
	"net/netip"
	"time"

	"postern/authz/lockout"
)

// SignIn is a login to the portal itself, outside any session.
type SignIn struct {
	Name     string // as typed; a code may stand behind it
	Password []byte
	Code     string // one-time or recovery code; "" when there is none behind the name either
	// WebAuthn: the portal has verified a key of the user's, who gave the password a
	// moment ago or is signed in. Name is canonical, and what is left to judge is the
	// account.
	WebAuthn bool
	From     netip.Addr
}

// SignInResult says what became of it. User, canonical, is set as soon as the password
// was right. Of the reasons, Permitted is the only one to let somebody in; with
// CodeMissing and NotEnrolled the password was right and nothing else is known, so
// that the portal may ask for a key, or for what an enrolment takes.
type SignInResult struct {
	User     string
	Reason   Reason
	Factor   Factor
	Enrolled bool // the user has a token
	// Delay is how long the answer is held back, as Result's.
	Delay time.Duration
}

// signInSteps are those of a login that concern the person and not a session: no policy
// is asked, and a code is.
var signInSteps = [...]step{
	{"read the name", (*Decider).readName},
	{"load the facts", (*Decider).load},
	{"ask the shield", (*Decider).askShield},
	{"find the account", (*Decider).find},
	{"stay below its lockout", (*Decider).enter},
	{"verify the password", (*Decider).verify},
	{"look at the account", (*Decider).lookAt},
	{"want a password in force", (*Decider).wantCurrent},
	{"take the code", (*Decider).takeCode},
	{"check the code", (*Decider).checkCode},
	{"want a factor", (*Decider).wantCode},
}

// keySteps are those behind a key.
var keySteps = [...]step{
	{"read the name", (*Decider).readName},
	{"load the facts", (*Decider).load},
	{"find the account", (*Decider).find},
	{"take the key", (*Decider).takeKey},
	{"look at the account", (*Decider).lookAt},
	{"want a password in force", (*Decider).wantCurrent},
}

// SignIn decides a login to the portal and writes its audit record. Wrong passwords and
// codes count as they do in any login.
func (d *Decider) SignIn(ctx context.Context, s SignIn) SignInResult {
	l := d.begin(&Request{User: s.Name, Source: s.From, Method: MethodPortal, Password: s.Password})
	l.form = &s
	list := signInSteps[:]
	if s.WebAuthn {
		list = keySteps[:]
	}
	reason := d.settle(ctx, l, d.run(ctx, l, list))
	res := SignInResult{Reason: reason, Delay: d.delay(l, reason)}
	if l.proved || reason == Permitted {
		res.User = l.user
	}
	if l.tokens != nil {
		res.Enrolled = l.tokens.Enrolled()
	}
	if reason == Permitted {
		res.Factor = l.factor
	}
	d.write(l, reason)
	d.metrics.signIns.WithLabelValues(reason.String()).Inc()
	return res
}

// wantCurrent refuses a password that has expired; the portal changes none.
func (d *Decider) wantCurrent(_ context.Context, l *login) (Reason, bool) {
	return l.expired, l.expired != ReasonUnknown
}

// takeCode takes the code from the form where none stands behind the name.
func (d *Decider) takeCode(_ context.Context, l *login) (Reason, bool) {
	if l.given == "" {
		l.given = l.form.Code
	}
	return Permitted, false
}

// takeKey takes the portal's word for a key.
func (d *Decider) takeKey(_ context.Context, l *login) (Reason, bool) {
	if l.account == nil || l.user != l.form.Name {
		return NoSuchUser, true
	}
	// Who locks the password elsewhere locks no key.
	l.passed = lockout.Verdict{Allowed: true, Scope: lockout.ScopeUser}
	l.factor, l.proved = FactorWebAuthn, true
	return Permitted, false
}

// wantCode refuses who has given no factor.
func (d *Decider) wantCode(_ context.Context, l *login) (Reason, bool) {
	switch {
	case l.factor != FactorNone:
		return Permitted, false
	case !l.tokens.Enrolled():
		return NotEnrolled, true
	}
	return CodeMissing, true
}
