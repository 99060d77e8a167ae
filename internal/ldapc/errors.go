package ldapc

import (
	"errors"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/failover"
)

// Unavailable means that no server gave an answer.
type Unavailable struct {
	Doing string
	// Sent: the request left, and may have been carried out. It was not repeated.
	Sent bool
	Err  error
}

// Error implements error.
func (u *Unavailable) Error() string {
	if u.Sent {
		return u.Doing + ": sent, and no answer came: " + u.Err.Error()
	}
	return u.Doing + ": " + u.Err.Error()
}

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Away tells package failover whether another server may be asked.
func (u *Unavailable) Away() bool { return !u.Sent }

// BindRefused means that a server refused us, not a person. It is inside an
// Unavailable: the same credential may be good elsewhere.
type BindRefused struct {
	Name string
	Err  error // what the server or the KDC said
}

// Error implements error.
func (b *BindRefused) Error() string { return "bind as " + b.Name + " refused: " + b.Err.Error() }

// Unwrap returns what the server said.
func (b *BindRefused) Unwrap() error { return b.Err }

// SubCode is AD's word about our own account.
func (b *BindRefused) SubCode() (string, bool) {
	var e *ldap.Error
	if !errors.As(b.Err, &e) {
		return "", false
	}
	return parseSubCode(e.Err.Error())
}

// resultOf returns the result code (RFC 4511 §4.1.9) that a server answered, if err
// is an answer.
func resultOf(err error) (*ldap.Error, bool) {
	var u *Unavailable
	var e *ldap.Error
	if errors.As(err, &u) || failover.IsAway(err) || !errors.As(err, &e) {
		return nil, false
	}
	// From there on go-ldap's own errors are numbered.
	return e, e.ResultCode < ldap.ErrorNetwork
}

// Is says whether err is a server's answer with one of the result codes
// (ldap.LDAPResult…).
func Is(err error, codes ...uint16) bool {
	e, ok := resultOf(err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if e.ResultCode == code {
			return true
		}
	}
	return false
}

// IsAnswer says whether err is a server's answer, whatever the answer.
func IsAnswer(err error) bool {
	_, ok := resultOf(err)
	return ok
}

// IsTooMany says whether there were more entries than the search's limit or the
// server's.
func IsTooMany(err error) bool { return Is(err, ldap.LDAPResultSizeLimitExceeded) }

// IsNoSuchObject says whether a search's base does not exist.
func IsNoSuchObject(err error) bool { return Is(err, ldap.LDAPResultNoSuchObject) }

// IsInvalidCredentials says whether a server refused a password.
func IsInvalidCredentials(err error) bool { return Is(err, ldap.LDAPResultInvalidCredentials) }

// silent says whether what came back is no answer to the question: the connection
// failed, or the server is in no state to answer.
func silent(err error) bool {
	if err == nil {
		return false
	}
	var e *ldap.Error
	if !errors.As(err, &e) {
		return true
	}
	switch e.ResultCode {
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultTimeLimitExceeded,
		// AD says so on a connection that it has forgotten the bind of.
		ldap.LDAPResultOperationsError:
		return true
	}
	return e.ResultCode >= ldap.ErrorNetwork
}
