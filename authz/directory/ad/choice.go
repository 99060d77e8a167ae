package ad

import "sync"

// choice is which of a Secret's passwords a domain controller has. It is safe for
// concurrent use.
type choice struct {
	secret func() (*Secret, error)

	mu   sync.Mutex
	at   int // in the order of candidates
	many int // how many there were
}

// password returns the one in use; the caller wipes it.
func (c *choice) password() ([]byte, error) {
	s, err := c.secret()
	if err != nil {
		return nil, &secretError{err}
	}
	defer s.Clear()
	all := s.candidates()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.many = len(all)
	if c.at >= c.many {
		c.at = 0
	}
	if c.many == 0 {
		return nil, &secretError{errSecret}
	}
	return append([]byte(nil), all[c.at]...), nil
}

// secretError means that there is no password, which no server is to blame for.
type secretError struct{ err error }

func (e *secretError) Error() string { return "machine account: " + e.err.Error() }
func (e *secretError) Unwrap() error { return e.err }

// next goes on to the next password and returns how many there are to try in all.
func (c *choice) next() (many int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.many > 0 {
		c.at = (c.at + 1) % c.many
	}
	return c.many
}
