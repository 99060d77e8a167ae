package policy

import (
	"net/netip"
	"slices"
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
	RuleFailed                 // a rule could not be evaluated, and so refuses
)

var reasonNames = [...]string{NoMatch: "no rule matched", Denied: "denied", DeniedSource: "source denied", Permitted: "permitted", RuleFailed: "rule failed"}

// String returns the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Factor is the second factor that a permit demands. The zero value demands a code.
type Factor uint8

const (
	FactorCode     Factor = iota // a one-time code, or anything stronger
	FactorWebAuthn               // a key or a passkey, and so the portal
	FactorNone
)

var factorNames = [...]string{FactorCode: "code", FactorWebAuthn: "webauthn", FactorNone: "none"}

// String returns the word rules use.
func (f Factor) String() string {
	if int(f) < len(factorNames) {
		return factorNames[f]
	}
	return factorNames[FactorCode]
}

// Carrier is a way for a second factor to reach us. Inline and Password bring a code
// along with the login. The others are for a login without one, and are tried in the
// order in which the rule names them; when none can be used, the login is refused.
type Carrier uint8

const (
	CarrierUnknown Carrier = iota
	Inline                 // a code behind the user name
	Password               // a code behind the password; PAP only
	Remembered             // a factor given before, from the same place
	Retry                  // MS-CHAP-V2's R=1: the client asks its user again, once
	Challenge              // Access-Challenge; PAP only
	Quarantine             // a session that reaches the portal only, until the factor is given there
)

var carrierNames = [...]string{
	CarrierUnknown: "unknown", Inline: "inline", Password: "password", Remembered: "remembered", Retry: "retry",
	Challenge: "challenge", Quarantine: "quarantine",
}

// String returns the word rules use.
func (c Carrier) String() string {
	if int(c) < len(carrierNames) {
		return carrierNames[c]
	}
	return carrierNames[CarrierUnknown]
}

// Remember says how long a factor is remembered and what it is bound to besides the
// user. The zero value remembers nothing.
type Remember struct {
	For    time.Duration // from when it was given; 0: not at all
	Idle   time.Duration // since it was last used; 0: without limit
	Prefix int           // bits of the source's IPv4 address that must be the same; 0: all 32
	Device bool          // the client's name for itself must be the same, where it gives one
}

// Bandwidth of a session in bits a second; 0: without limit.
type Bandwidth struct{ Up, Down uint64 } // from, and to the client

// Obligations are what a permit comes with; zero values mean "not set". Slices
// belong to the policy and must not be written to.
type Obligations struct {
	Factor     Factor
	Carriers   []Carrier // none named: Inline alone
	Remember   Remember
	Quarantine time.Duration // how long a quarantined session waits for the factor; 0: the service's default

	Pools     []string // the address is of the first that has one, see Policy.PoolsAt
	DNS, NBNS []netip.Addr
	Routes    []netip.Prefix
	Filter    string   // Filter-Id
	Rules     []string // of that filter, as NAS-Filter-Rule has them (RFC 4849); none: the NAS has its own
	Bandwidth Bandwidth

	SessionTimeout time.Duration
	IdleTimeout    time.Duration
	Interim        time.Duration
	Review         time.Duration // the session is looked at again this often at least; 0: when something changes
	Sessions       int           // of the user at once; 0 is without limit
	Replace        bool          // where there are so many, the oldest ends; else the new one is refused
	MPPE           int           // the least strength of a key in bits: 40, 56, 128; 0: the NAS' own minimum
	PasswordChange bool          // an expired password may be changed in the login dialogue

	// Isolate holds the session in quarantine, with its factor or without, until the
	// rules say otherwise of it or Quarantine is over.
	Isolate bool
	Banner  string // what the portal tells its user
}

// Carries says whether a factor may come by c.
func (o *Obligations) Carries(c Carrier) bool {
	if len(o.Carriers) == 0 {
		return c == Inline
	}
	return slices.Contains(o.Carriers, c)
}

// Decision is the outcome of Evaluate. The zero Decision refuses.
type Decision struct {
	Verdict     Verdict
	Reason      Reason
	RuleID      string // "" when no rule matched
	Message     string // of a rule that denies
	Fault       string // why the rule failed, for our own log; "" it did not
	Obligations Obligations
	Version     string    // of the policy
	At          time.Time // the moment decided for

	// Shadow is what would have been decided if the rules in shadow were in force; nil:
	// the same. It belongs to the policy and must not be written to; its At is zero.
	Shadow *Decision
}
