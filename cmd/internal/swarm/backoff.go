package swarm

import (
	"math/rand/v2"
	"time"
)

// backoff is how long a client waits before it dials again. Half of each wait is
// drawn, so that clients that were cut or turned away at once do not come back at
// once. The zero backoff waits a second first.
type backoff struct{ tries int }

const (
	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
)

func (b *backoff) next() time.Duration {
	d := min(backoffFirst<<min(b.tries, 10), backoffMax)
	b.tries++
	return d/2 + rand.N(d/2)
}

// settle is how long a client that was cut waits at first: as long as it takes it to
// notice and to dial.
func settle() time.Duration { return rand.N(backoffFirst) }
