// Package directory answers two questions about people: who is this (groups,
// account state), and does this response or password prove it. The back end here
// is files: a users file that Postern manages, and pppd's chap-secrets as it is.
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
)

// Name is a name as typed: the account, and the domain or realm beside it.
type Name struct {
	User  string
	Realm string // "" when there was none
}

// State is what the directory thinks of an account. The zero value is unknown
// and must be refused.
//
// Handled in: stateNames, State.Refuses.
type State uint8

const (
	StateUnknown State = iota
	Active
	Disabled
	Expired         // the account
	Locked          // by the directory itself
	PasswordExpired // or must change
	OutsideHours
	NoDialin
)

var stateNames = [...]string{
	StateUnknown: "unknown", Active: "active", Disabled: "disabled", Expired: "expired", Locked: "locked",
	PasswordExpired: "password expired", OutsideHours: "outside hours", NoDialin: "no dial-in",
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
	Groups []string
	State  State
	Addr   netip.Addr // the address the account must get; zero: any
}

// MSCHAPv2 is a response to be verified. The hash is made by the caller, from
// the name as typed.
type MSCHAPv2 struct {
	ChallengeHash [8]byte
	Response      [24]byte
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

	// VerifyMSCHAPv2 returns the hash of the NT hash if the response is right. It
	// does not look at the account's state. An unknown user costs it as much as a
	// wrong response.
	VerifyMSCHAPv2(ctx context.Context, n Name, r *MSCHAPv2) (hashHash [16]byte, err error)

	// VerifyPassword is the same for a plain password.
	VerifyPassword(ctx context.Context, n Name, password []byte) error
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
)

var reasonNames = [...]string{
	ReasonUnknown: "unknown", NoSuchUser: "no such user", WrongPassword: "wrong password", AccountState: "account state",
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
	State  State // Reason == AccountState
}

// Error implements error.
func (r Rejected) Error() string {
	if r.Reason == AccountState {
		return "rejected: account " + r.State.String()
	}
	return "rejected: " + r.Reason.String()
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
