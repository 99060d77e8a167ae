package authz

import "postern/internal/mschap"

// Disclosure is what a client may learn of a refusal. The true reason is in the
// audit log whatever it is.
type Disclosure uint8

const (
	// DiscloseStates: who has proved the password learns that the account is
	// disabled, expired, out of hours… Unknown user, wrong password, locked, wrong
	// code and refused by policy are one answer.
	DiscloseStates  Disclosure = iota
	DiscloseNothing            // one answer to everything, but to who may change the password now
	DiscloseFull               // the specific code and a text for each reason
)

// answer is what a client learns of a reason: RFC 2759 §6 code and text.
type answer struct {
	verdict Verdict
	code    int
	text    string

	// The same when all is disclosed; 0: as above.
	fullCode int
	fullText string
}

const denied = "Access denied"

// anyone is the answer to who has proved nothing.
func anyone(fullCode int, fullText string) answer {
	return answer{Reject, mschap.ErrorAuthenticationFailed, denied, fullCode, fullText}
}

// proved is the answer to who has proved the password.
func proved(code int, text string) answer { return answer{Reject, code, text, code, text} }

const failed = mschap.ErrorAuthenticationFailed

// answers has a row for each Reason. That a name is unknown is told to nobody.
var answers = [...]answer{
	ReasonUnknown:   anyone(failed, denied),
	Permitted:       {verdict: Accept},
	BadName:         anyone(failed, denied),
	MethodRefused:   anyone(failed, "Authentication method not allowed"),
	LockedOut:       anyone(failed, "Too many failures"),
	NoSuchUser:      anyone(failed, denied),
	WrongPassword:   anyone(failed, denied),
	AccountDisabled: proved(mschap.ErrorAccountDisabled, "Account disabled"),
	AccountExpired:  proved(mschap.ErrorAccountDisabled, "Account expired"),
	// A directory that locked the account says so before it looks at the password.
	AccountLocked:      anyone(mschap.ErrorAccountDisabled, "Account locked"),
	PasswordExpired:    proved(mschap.ErrorPasswordExpired, "Password expired"),
	PasswordMustChange: proved(mschap.ErrorPasswordExpired, "Password must change"),
	OutsideHours:       proved(mschap.ErrorRestrictedLogonHours, "Logon hours"),
	NoDialin:           proved(mschap.ErrorNoDialinPermission, "No dial-in permission"),
	WorkstationDenied:  proved(mschap.ErrorNoDialinPermission, "Workstation not allowed"),
	AccountRestricted:  anyone(failed, "Account restricted"),
	// A different answer here would tell a guesser that the password is right.
	CodeMissing:     anyone(failed, "One-time code missing"),
	CodeWrong:       anyone(failed, "One-time code wrong"),
	CodeReplayed:    anyone(failed, "One-time code used before"),
	CodeLocked:      anyone(failed, "Too many wrong codes"),
	NotEnrolled:     anyone(failed, "No second factor enrolled"),
	PolicyDenied:    anyone(mschap.ErrorNoDialinPermission, "Refused by policy"), // or the rule's own message
	PolicyNoMatch:   anyone(mschap.ErrorNoDialinPermission, "Refused by policy"),
	SourceDenied:    anyone(mschap.ErrorNoDialinPermission, "Refused from this address"),
	TooManySessions: anyone(failed, "Too many sessions"),
	PoolExhausted:   anyone(failed, "No address left"),
	// These end sessions and refuse no login.
	PasswordChanged: proved(failed, "Password changed"),
	EndedByOperator: proved(failed, "Ended by an operator"),
	EndedByUser:     proved(failed, "Ended in the portal"),
	// Another service may know better: the NAS asks it when we say nothing.
	DirectoryDown: {verdict: Silent},
	StoreDown:     {verdict: Silent},
	InternalError: {verdict: Silent},
	// Who gets here has proved all there is to prove.
	NewPasswordRefused: proved(mschap.ErrorChangingPassword, "New password refused"),
	Quarantined:        {verdict: Accept},
	Challenged:         {verdict: Challenge},
	// The rule's author wants it asked, so that there is nothing to hide; result has a
	// text with the separator.
	RetryAsked:    proved(failed, "Enter your name with the code behind it"),
	StateInvalid:  anyone(failed, "Answer to no question"),
	FactorTooWeak: anyone(failed, "A stronger second factor is needed"),
	// These are told by the portal, and the first ends sessions.
	StepUpExpired:  proved(failed, "Second factor not given in time"),
	NotQuarantined: anyone(failed, denied),
	SessionGone:    anyone(failed, denied),
	// These change sessions.
	SteppedUp: anyone(failed, denied),
	Released:  anyone(failed, denied),
	Regranted: anyone(failed, denied),
	Isolated:  {verdict: Accept},
	// Nothing that the user could do, and nothing to guess from.
	CannotIsolate: anyone(mschap.ErrorNoDialinPermission, "Refused by policy"),
	TimeOver:      proved(failed, "Session time over"),
	PolicyFailed:  anyone(mschap.ErrorNoDialinPermission, "Refused by policy"),
	// These end sessions, too.
	Replaced:   proved(failed, "Replaced by a newer connection"),
	Revoked:    proved(failed, "Ended by an operator"),
	WrittenOff: proved(failed, "Connection was lost for too long"),
}

// answerTo returns the row of a reason; one out of range refuses.
func answerTo(r Reason) answer {
	if int(r) < len(answers) {
		return answers[r]
	}
	return answers[ReasonUnknown]
}

// to returns code and text for a client that may learn so much.
func (a answer) to(d Disclosure) (code int, text string) {
	switch {
	case a.verdict != Reject:
		return 0, ""
	case d == DiscloseFull:
		return a.fullCode, a.fullText
	case d == DiscloseNothing:
		return failed, denied
	default:
		return a.code, a.text
	}
}
