package authz

// Reason says why a login ended as it did: one enum for the audit line, the
// metric, the Reply-Message choice and `postern explain`.
//
// Handled in: reasonNames below, answers in code.go; cmd/postern prints names
// only.
type Reason uint8

const (
	ReasonUnknown Reason = iota // never sent; the zero Result refuses with it
	Permitted

	BadName         // the user name cannot be parsed
	MethodRefused   // the method is not allowed on this listener
	LockedOut       // too many failures; the directory was not asked
	NoSuchUser      //
	WrongPassword   //
	AccountDisabled //
	AccountExpired  //
	AccountLocked   // locked by the directory itself
	PasswordExpired // by age
	PasswordMustChange
	OutsideHours      // the directory's logon hours
	NoDialin          // the directory denies dial-in
	WorkstationDenied // the directory allows other workstations only
	AccountRestricted // the directory forbids this way of proving: Protected Users, smart card
	CodeMissing       // the policy demands a code and none was given
	CodeWrong         //
	CodeReplayed      // right, but used before
	CodeLocked        // too many wrong codes
	NotEnrolled       // a code is demanded and the user has no token
	PolicyDenied      // a rule denies
	PolicyNoMatch     // no rule matches
	SourceDenied      // a rule denies because of the source
	TooManySessions   //
	PoolExhausted     //
	PasswordChanged   // of a running session: since it was opened
	EndedByOperator   // of a running session
	DirectoryDown     // directory unavailable: silent
	StoreDown         // store unavailable: silent
	InternalError     // our own fault: silent
	// NewPasswordRefused: the directory does not take the new password.
	NewPasswordRefused

	// Second factors that come behind the login.
	Quarantined    // accepted, and held back until the factor is given in the portal
	Challenged     // asked for a code (Access-Challenge)
	RetryAsked     // asked for a code (R=1): once in a dialogue
	StateInvalid   // the State of an answer to a challenge: not ours, old, used, of another dialogue
	FactorTooWeak  // the policy demands a stronger one than was, or can be, given
	StepUpExpired  // the factor did not come in time; of a running session, too
	NotQuarantined // a step-up of a session that needs none
	SessionGone    // a step-up of a session that has ended, or is another's
	SteppedUp      // of a running session: it was released
	EndedByUser    // of a running session, in the portal

	// What the rule says of a session besides its factor, and of a running one anew.
	Isolated      // accepted, and held back until the rules say otherwise of it
	CannotIsolate // the rule isolates, and the NAS knows no quarantine, or there is no portal
	Released      // of a running session: nothing holds it back any more
	Regranted     // of a running session: it goes on with other obligations
	TimeOver      // of a running session: it is older than its new limit
	PolicyFailed  // a rule could not be evaluated, and so refuses
	Replaced      // of a running session: its user has logged in again, and may have so many only
	Revoked       // of a running session: an operator has taken back all that its user had
	WrittenOff    // of a running session: its NAS was silent for so long that it counts as ended
)

var reasonNames = [...]string{
	ReasonUnknown: "unknown", Permitted: "permitted",
	BadName: "bad name", MethodRefused: "method refused", LockedOut: "locked out",
	NoSuchUser: "no such user", WrongPassword: "wrong password",
	AccountDisabled: "account disabled", AccountExpired: "account expired",
	AccountLocked: "account locked", PasswordExpired: "password expired",
	PasswordMustChange: "password must change",
	OutsideHours:       "outside logon hours", NoDialin: "no dial-in right",
	WorkstationDenied: "workstation not allowed", AccountRestricted: "account restricted",
	CodeMissing: "code missing", CodeWrong: "code wrong", CodeReplayed: "code replayed",
	CodeLocked: "too many wrong codes", NotEnrolled: "not enrolled",
	PolicyDenied: "policy denied", PolicyNoMatch: "no policy matched",
	SourceDenied: "source denied", TooManySessions: "too many sessions",
	PoolExhausted: "pool exhausted", PasswordChanged: "password changed", EndedByOperator: "ended by an operator",
	DirectoryDown: "directory unavailable",
	StoreDown:     "store unavailable", InternalError: "internal error",
	NewPasswordRefused: "new password refused",
	Quarantined:        "quarantined", Challenged: "challenged", RetryAsked: "asked for a code", StateInvalid: "state invalid",
	FactorTooWeak: "factor too weak", StepUpExpired: "step-up expired", NotQuarantined: "not quarantined",
	SessionGone: "session gone", SteppedUp: "stepped up", EndedByUser: "ended by its user",
	Isolated: "isolated", CannotIsolate: "cannot isolate", Released: "released", Regranted: "granted anew", TimeOver: "session time over",
	PolicyFailed: "policy failed", Replaced: "replaced", Revoked: "revoked",
	WrittenOff: "written off",
}

// String returns the reason as audit lines and metrics spell it.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[ReasonUnknown]
}

// Reasons lists every value, for whoever registers a metric by them.
func Reasons() []Reason {
	all := make([]Reason, len(reasonNames))
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
