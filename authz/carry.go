package authz

import (
	"time"

	"postern/authz/grant"
	"postern/authz/lockout"
	"postern/internal/store"
	"postern/policy"
)

// How a second factor reaches us is the rule's to say (policy.Carrier). A code that came
// along with the login counts where the rule takes such; without a factor that does, the
// rule's carriers are tried in their order:
//
//	remembered   one given before, from the same place          ─► permitted
//	retry        MS-CHAP-V2: R=1, and the client asks its user   ─► asked for a code
//	challenge    PAP: Access-Challenge                           ─► challenged
//	quarantine   a node of ours, and the portal                  ─► quarantined
//
// One that cannot be used is passed over; when none is left, the login is refused.

const (
	// dialogueLife is how long a note about a login dialogue is kept; a node of ours gives
	// a dialogue up a little earlier (pptp/chap).
	dialogueLife = 2 * time.Minute
	// maxAgain bounds how often a commit is decided again that lost to a change of what
	// it was decided on.
	maxAgain = 16
)

// counts says whether a code that came so is what the rule takes. Who is asked to try
// again with a code is asked to put it behind the name.
func counts(o *policy.Obligations, came policy.Carrier) bool {
	switch came {
	case policy.CarrierUnknown: // of the login before, which looked at that
		return true
	case policy.Inline:
		return o.Carries(policy.Inline) || o.Carries(policy.Retry)
	case policy.Password, policy.Challenge:
		return o.Carries(came)
	case policy.Remembered, policy.Retry, policy.Quarantine:
	}
	return false
}

// carry looks for a way by which a factor that is enough can come, or has come.
func (d *Decider) carry(l *login) Reason {
	o := &l.decision.Obligations
	l.held, l.url = time.Time{}, ""
	if l.changing() || l.state != nil {
		return l.without() // it has been asked for already
	}
	for _, c := range o.Carriers {
		reason := ReasonUnknown
		switch c {
		case policy.Remembered:
			reason = d.remembered(l)
		case policy.Retry:
			reason = d.askAgain(l)
		case policy.Challenge:
			reason = d.challenge(l)
		case policy.Quarantine:
			reason = d.quarantine(l)
		case policy.Inline, policy.Password, policy.CarrierUnknown:
		}
		if reason != ReasonUnknown {
			return reason
		}
	}
	return l.without()
}

// without is the refusal of a login without the factor.
func (l *login) without() Reason {
	switch {
	case l.decision.Obligations.Factor == policy.FactorWebAuthn:
		return FactorTooWeak
	case !l.tokens.Enrolled():
		return NotEnrolled
	}
	return CodeMissing
}

// place is where the login comes from, for remembering.
func (l *login) place() *grant.Place {
	return &grant.Place{Source: l.req.Source, Device: l.req.ClientName, Remember: l.decision.Obligations.Remember}
}

// remembered uses a factor that was given before.
func (d *Decider) remembered(l *login) Reason {
	demanded := l.decision.Obligations.Factor
	w, err := l.grants.Use(l.now, l.place(), l.account.PasswordSet, func(factor string) bool {
		return meets(ParseFactor(factor), FactorNone, demanded)
	})
	if err != nil {
		l.rec.Err = err // another carrier may do
	}
	if w == nil {
		return ReasonUnknown
	}
	l.use, l.factor, l.kind = w, FactorRemembered, ParseFactor(w.Grant.Factor)
	return Permitted
}

// wantsCode says whether asking the user for a code can help.
func (l *login) wantsCode() bool {
	return l.decision.Obligations.Factor == policy.FactorCode && l.tokens.Enrolled()
}

// askAgain has an MS-CHAP-V2 client ask its user for the name again, with the code
// behind it: once, for many clients answer by themselves. The note of it is about the
// place and not about the call, because others hang up and dial again (pppd, RouterOS):
// they come to the next carrier by that. A NAS that does not tell its dialogues apart is
// not asked.
func (d *Decider) askAgain(l *login) Reason {
	switch {
	case l.req.Method != MethodMSCHAPv2 || l.req.SessionID == "" || l.given != "" || l.retried || !l.wantsCode():
		return ReasonUnknown
	case l.expired != ReasonUnknown && !l.decision.Obligations.PasswordChange:
		return ReasonUnknown // with the code it would be refused all the same
	}
	from := l.digest("")
	if p := lockout.Source(l.req.Source); p.IsValid() {
		from = p.String()
	}
	l.retry = &store.Once{Key: store.UserRetry(l.user, from), Value: l.counted, TTL: dialogueLife}
	return RetryAsked
}

// quarantine lets the login in as far as the portal. The user of an account without a token
// enrols one there.
func (d *Decider) quarantine(l *login) Reason {
	if !l.req.Node || l.req.Tunnel == "" || l.req.SessionID == "" || d.cfg.Portal == "" || l.expired != ReasonUnknown {
		return ReasonUnknown
	}
	until := l.now.Add(d.quarantineFor(&l.decision.Obligations))
	url, err := d.refer(reference{session: l.sessionID(), opened: l.now, until: until})
	if err != nil {
		l.rec.Err = err
		return ReasonUnknown
	}
	l.held, l.url = until, url
	return Quarantined
}
