// Package directory answers two questions about people: who is this (groups,
// account state), and does this response or password prove it. This package has
// the types, the realms that a name selects among, and the back end of files: a
// users file that Postern manages, and pppd's chap-secrets as it is. The back ends
// below it are LDAP, Active Directory and other RADIUS servers.
//
// Two kinds of failure are kept apart from end to end, because the service says
// no to one and stays silent about the other: Rejected is the directory's word
// about the person, Unavailable means that it said nothing.
//
// What a verified MS-CHAPv2 response yields is the hash of the NT hash (RFC 2759
// §8.4): enough for the authenticator response and the MPPE keys, useless for
// verifying another response, and all that a domain controller gives away.
package directory

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Name is a name as typed: the account, and the domain or realm beside it.
type Name struct {
	User  string
	Realm string // "" when there was none
	Down  bool   // REALM\user, a down-level logon name; else user@realm
}

// State is what the directory thinks of an account. The zero value is unknown
// and must be refused.
//
// Handled in: stateNames; authz maps it to its Reason.
type State uint8

const (
	StateUnknown State = iota
	Active
	Disabled
	Expired            // the account
	Locked             // by the directory itself
	PasswordExpired    // by age
	PasswordMustChange // at the next logon
	OutsideHours
	NoDialin
	NotFromHere // the account may be used on other workstations only
	Restricted  // by a rule of the directory's that forbids this way of proving: Protected Users, smart card
	Gone        // deleted since it was last seen
)

var stateNames = [...]string{
	StateUnknown: "unknown", Active: "active", Disabled: "disabled", Expired: "expired", Locked: "locked",
	PasswordExpired: "password expired", PasswordMustChange: "password must change", OutsideHours: "outside hours",
	NoDialin: "no dial-in", NotFromHere: "not from here", Restricted: "restricted", Gone: "gone",
}

// String returns the state in words.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[StateUnknown]
}

// Account is what the directory knows of a user.
type Account struct {
	Name   string // canonical: one person has one, however the name was typed
	Realm  string // the realm's name; "" where there is one only
	SID    string // "S-1-5-21-…", where the directory has such; it outlives a new name
	Ref    string // how the back end finds the account again, a DN for one
	Groups []string
	State  State
	Addr   netip.Addr     // the address the account must get; zero: any
	Routes []netip.Prefix // IPv4 networks behind its client

	PasswordSet     time.Time // zero: not known
	PasswordExpires time.Time // zero: never, or not known

	Seeds Seeds // for one-time codes; a look at a directory's changes brings none
}

// MSCHAPv2 is a response to be verified. The hash is made by the caller, from the
// name as typed.
type MSCHAPv2 struct {
	ChallengeHash [8]byte
	Response      [24]byte

	// What the hash was made of, for a server that makes its own.
	Typed         string // User-Name, domain and code included
	Ident         byte
	Challenge     [16]byte
	PeerChallenge [16]byte
}

// Proof is what a directory gives for a right response or password.
type Proof struct {
	HashHash [16]byte // of the NT hash; zero where Keys is set, and for a password
	Keys     *Keys    // what another server made of the hash, that keeps it to itself
	Groups   []string // that the verification told, beside the account's
}

// Keys are what a peer needs of a verified response.
type Keys struct {
	Success    string   // authenticator response, "S=…" (RFC 2759 §5)
	Send, Recv [16]byte // MPPE start keys from the server's point of view (RFC 3079 §3.3)
}

// Change is a new password as MS-CHAPv2 transports it (RFC 2759 §7).
type Change struct {
	Encrypted [516]byte // the new password under the old hash
	OldHash   [16]byte  // the old hash under the new one
}

// Directory is one realm's accounts. It is safe for concurrent use. Errors are
// Rejected or Unavailable.
type Directory interface {
	// Canonical is the canonical name as far as it is known without asking anybody:
	// what counters are kept under before the account is found, and for names that
	// belong to no account. It is cheap.
	Canonical(n Name) string

	// Find looks the account up. It is Rejected with NoSuchUser only.
	Find(ctx context.Context, n Name) (*Account, error)

	// VerifyMSCHAPv2 verifies a response. It need not look at the account's state.
	// The account is what Find found, nil for nobody: an unknown user costs as much
	// as a wrong response.
	VerifyMSCHAPv2(ctx context.Context, n Name, a *Account, r *MSCHAPv2) (Proof, error)

	// VerifyPassword is the same for a plain password.
	VerifyPassword(ctx context.Context, n Name, a *Account, password []byte) (Proof, error)
}

// Changer is a Directory in which people can change their passwords.
type Changer interface {
	// ChangePassword sets a new password. Rejected says that the old one was wrong or
	// the new one is not good enough.
	ChangePassword(ctx context.Context, n Name, a *Account, c *Change) error
}

// Lockout is how a directory locks accounts by itself, and how near one is to it.
type Lockout struct {
	Threshold int           // it locks at so many failures; 0: never
	Window    time.Duration // it forgets all of them so long after the last
	Failures  int           // that it counts
	Ago       time.Duration // since the last of them, on its own clock
}

// Locker is a Directory that locks accounts by itself.
type Locker interface {
	// Lockout asks for an account's, now and not from a cache. Nobody's (nil) costs as
	// much and is the zero Lockout; so is that of an account that is locked already,
	// which the directory itself is to say.
	Lockout(ctx context.Context, n Name, a *Account) (Lockout, error)
}

// Mark is where the last look at a directory's changes ended; its meaning is the
// directory's own.
type Mark string

// Follower is a Directory that running sessions can follow.
type Follower interface {
	// Changed returns those of the accounts named that may have changed since mark,
	// as they are now, whatever is cached; deleted ones are Gone. With no mark, or in
	// doubt, that is all of them. Names are canonical.
	Changed(ctx context.Context, names []string, since Mark) (changed []Account, next Mark, err error)
}

// Reason says why the directory rejects. The zero value is no reason at all and
// counts as WrongPassword.
//
// Handled in: reasonNames; authz maps it to its own Reason.
type Reason uint8

const (
	ReasonUnknown Reason = iota
	NoSuchUser
	WrongPassword
	AccountState // see the State of the error
	BadPassword  // the new one is not good enough
)

var reasonNames = [...]string{
	ReasonUnknown: "unknown", NoSuchUser: "no such user", WrongPassword: "wrong password", AccountState: "account state",
	BadPassword: "new password refused",
}

// String returns the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[ReasonUnknown]
}

// Rejected is the directory's no.
type Rejected struct {
	Reason Reason
	State  State  // Reason == AccountState
	Detail string // for the log: what the directory itself said, an NTSTATUS for one
}

// Error implements error.
func (r Rejected) Error() string {
	s := "rejected: " + r.Reason.String()
	if r.Reason == AccountState {
		s = "rejected: account " + r.State.String()
	}
	if r.Detail != "" {
		s += " (" + r.Detail + ")"
	}
	return s
}

// Unavailable means that the directory gave no answer.
type Unavailable struct {
	Doing string
	Err   error
}

// Error implements error.
func (u Unavailable) Error() string {
	return fmt.Sprintf("directory unavailable: %s: %v", u.Doing, u.Err)
}

// Unwrap returns the cause.
func (u Unavailable) Unwrap() error { return u.Err }

// IsRejected returns the directory's no, if err is one. Everything else,
// whatever its type, is no answer.
func IsRejected(err error) (Rejected, bool) {
	var r Rejected
	ok := errors.As(err, &r)
	return r, ok
}
