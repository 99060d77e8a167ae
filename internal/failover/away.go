package failover

import (
	"errors"
	"strings"
)

// away is an error that says whether a server gave no answer. Packages that know it
// of their own errors give these an Away method and need not wrap them.
type away interface {
	error
	Away() bool
}

// Away marks err as the server's silence: it could not be reached, or did not
// answer, or is in no state to answer. Another server may.
func Away(err error) error {
	if err == nil {
		return nil
	}
	return &wrapped{err}
}

// IsAway says whether err, or an error that it wraps, says that a server is away.
func IsAway(err error) bool {
	var a away
	return errors.As(err, &a) && a.Away()
}

type wrapped struct{ err error }

func (w *wrapped) Error() string { return w.err.Error() }
func (w *wrapped) Unwrap() error { return w.err }
func (w *wrapped) Away() bool    { return true }

// NoAnswer means that every server was away.
type NoAnswer struct {
	Group string
	Errs  []error // in the order in which the servers were asked
}

// Error implements error.
func (n *NoAnswer) Error() string {
	var b strings.Builder
	b.WriteString(n.Group)
	b.WriteString(": no server answers")
	sep := ": "
	for _, err := range n.Errs {
		b.WriteString(sep)
		b.WriteString(err.Error())
		sep = "; "
	}
	return b.String()
}

// Unwrap returns the servers' errors.
func (n *NoAnswer) Unwrap() []error { return n.Errs }

// Away makes a group fit to be a server of another.
func (n *NoAnswer) Away() bool { return true }

// serverError says which server's error it is.
type serverError struct {
	server string
	err    error
}

func (e *serverError) Error() string { return e.server + ": " + e.err.Error() }
func (e *serverError) Unwrap() error { return e.err }
