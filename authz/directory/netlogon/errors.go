package netlogon

import (
	"errors"
	"fmt"
)

// Rejected is the DC's no about a user.
type Rejected struct{ Status Status }

// Error implements error.
func (r *Rejected) Error() string { return "rejected: " + r.Status.Error() }

// Unwrap returns the Status.
func (r *Rejected) Unwrap() error { return r.Status }

// Unavailable means that there is no word about the user. errors.As finds a Status
// in it where the DC did answer something.
type Unavailable struct {
	Server string
	Doing  string
	Err    error
	// Alarm says that waiting will not help: somebody has to mend the configuration
	// here or on the DC.
	Alarm bool
	// Final says that the DC works and its answer concerns this request alone; another
	// DC would say the same.
	Final bool
}

// Error implements error.
func (u *Unavailable) Error() string {
	return fmt.Sprintf("domain controller %s: %s: %v", u.Server, u.Doing, u.Err)
}

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Away says to package failover whether another DC is worth asking.
func (u *Unavailable) Away() bool { return !u.Final }

var (
	// ErrClosed: the Pool was closed.
	ErrClosed = errors.New("closed")
	// ErrBusy: every channel is taken, and enough callers wait already.
	ErrBusy = errors.New("every channel is busy")

	// errUnsent: the connection was dead before the request had left, so the DC cannot
	// have acted on it.
	errUnsent = errors.New("connection was dead")
)

// misconfigured marks an error of a set-up that waiting will not mend.
type misconfigured struct{ error }

func (m misconfigured) Unwrap() error { return m.error }

// unavailable sorts the error of a set-up.
func unavailable(server, doing string, err error) *Unavailable {
	u := &Unavailable{Server: server, Doing: doing, Err: err}
	var m misconfigured
	var s Status
	switch {
	case errors.As(err, &m):
		u.Alarm = true
	case errors.As(err, &s):
		u.Alarm = s.IsConfiguration()
	}
	return u
}

// refusesChannel says that the DC does not, or no longer, know the channel that a
// call was made on: it did not look at the call. Fresh ones are worth one try, which
// is what Samba's winbind gives them too.
func refusesChannel(err error) bool {
	return errors.Is(err, faultSecurity) || errors.Is(err, faultAccessDenied) || errors.Is(err, StatusAccessDenied)
}
