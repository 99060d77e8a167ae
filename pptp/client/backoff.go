package client

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long to wait before dialling again after a dial that failed: a server
// that is busy (RFC 2637 §2.8, result 4) has others to serve. Half of each wait is drawn,
// so that clients that were cut or turned away at once do not come back at once. The
// zero Backoff waits a second first; a session that comes up is a reason for a new one.
type Backoff struct{ tries int }

const (
	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
)

// Next is the wait after one more dial that failed.
func (b *Backoff) Next() time.Duration {
	d := min(backoffFirst<<min(b.tries, 10), backoffMax)
	b.tries++
	return d/2 + rand.N(d/2)
}

// Settle is how long to wait before the first dial after a session was cut: as long as
// it takes a client to notice.
func Settle() time.Duration { return rand.N(backoffFirst) }
