package policy

import (
	"net/netip"
	"time"
)

// Verdict is what becomes of a login. The zero value refuses.
type Verdict uint8

const (
	Deny Verdict = iota
	Permit
)

var verdictNames = [...]string{Deny: "deny", Permit: "permit"}

// String returns the verdict as rules and audit lines spell it.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return verdictNames[Deny]
}

// Reason says why. The zero value is that no rule matched.
//
// Handled in: reasonNames below; authz maps it to its own Reason.
type Reason uint8

const (
	NoMatch      Reason = iota // no rule matches
	Denied                     // a rule denies
	DeniedSource               // a rule that looks at the source denies
	Permitted                  // a rule permits
)

var reasonNames = [...]string{NoMatch: "no rule matched", Denied: "denied", DeniedSource: "source denied", Permitted: "permitted"}

// String returns the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Code says whether a one-time code is demanded. The zero value demands one.
type Code uint8

const (
	CodeRequired Code = iota
	CodeNone
)

var codeNames = [...]string{CodeRequired: "required", CodeNone: "none"}

// String returns the word rules use.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return codeNames[CodeRequired]
}

// Obligations are what a permit comes with; zero values mean "not set". Slices
// belong to the policy and must not be written to.
type Obligations struct {
	Code           Code
	Pool           string
	DNS, NBNS      []netip.Addr
	Routes         []netip.Prefix
	Filter         string
	SessionTimeout time.Duration
	IdleTimeout    time.Duration
	Interim        time.Duration
	Sessions       int  // at once; 0 is without limit
	PasswordChange bool // an expired password may be changed in the login dialogue
}

// Decision is the outcome of Evaluate. The zero Decision refuses.
type Decision struct {
	Verdict     Verdict
	Reason      Reason
	RuleID      string // "" when no rule matched
	Message     string // of a rule that denies
	Obligations Obligations
	Version     string    // of the policy
	At          time.Time // the moment decided for
}
