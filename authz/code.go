package authz

import "postern/internal/mschap"

// answer is what a client learns of a reason: RFC 2759 §6 code and text. Who has
// not proved the password learns nothing: unknown user, wrong password, locked
// and wrong code are one answer. The others are given only after the password
// was right.
type answer struct {
	verdict Verdict
	code    int
	text    string
}

const denied = "Access denied"

// answers has a row for each Reason.
var answers = [...]answer{
	ReasonUnknown:   {Reject, mschap.ErrorAuthenticationFailed, denied},
	Permitted:       {Accept, 0, ""},
	BadName:         {Reject, mschap.ErrorAuthenticationFailed, denied},
	MethodRefused:   {Reject, mschap.ErrorAuthenticationFailed, denied},
	LockedOut:       {Reject, mschap.ErrorAuthenticationFailed, denied},
	NoSuchUser:      {Reject, mschap.ErrorAuthenticationFailed, denied},
	WrongPassword:   {Reject, mschap.ErrorAuthenticationFailed, denied},
	AccountDisabled: {Reject, mschap.ErrorAccountDisabled, "Account disabled"},
	AccountExpired:  {Reject, mschap.ErrorAccountDisabled, "Account expired"},
	// A directory that locked the account says so before it looks at the password.
	AccountLocked:   {Reject, mschap.ErrorAuthenticationFailed, denied},
	PasswordExpired: {Reject, mschap.ErrorPasswordExpired, "Password expired"},
	OutsideHours:    {Reject, mschap.ErrorRestrictedLogonHours, "Logon hours"},
	NoDialin:        {Reject, mschap.ErrorNoDialinPermission, "No dial-in permission"},
	// A different answer here would tell a guesser that the password is right.
	CodeMissing:     {Reject, mschap.ErrorAuthenticationFailed, denied},
	CodeWrong:       {Reject, mschap.ErrorAuthenticationFailed, denied},
	CodeReplayed:    {Reject, mschap.ErrorAuthenticationFailed, denied},
	CodeLocked:      {Reject, mschap.ErrorAuthenticationFailed, denied},
	NotEnrolled:     {Reject, mschap.ErrorAuthenticationFailed, denied},
	PolicyDenied:    {Reject, mschap.ErrorAuthenticationFailed, denied}, // or the rule's own message
	PolicyNoMatch:   {Reject, mschap.ErrorAuthenticationFailed, denied},
	SourceDenied:    {Reject, mschap.ErrorAuthenticationFailed, denied},
	TooManySessions: {Reject, mschap.ErrorAuthenticationFailed, denied},
	PoolExhausted:   {Reject, mschap.ErrorAuthenticationFailed, denied},
	// Another service may know better: the NAS asks it when we say nothing.
	DirectoryDown: {Silent, 0, ""},
	StoreDown:     {Silent, 0, ""},
	InternalError: {Silent, 0, ""},
}

// answerTo returns the row of a reason; one out of range refuses.
func answerTo(r Reason) answer {
	if int(r) < len(answers) {
		return answers[r]
	}
	return answers[ReasonUnknown]
}
