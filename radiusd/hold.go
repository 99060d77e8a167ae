package radiusd

import (
	"context"
	"time"
)

// Some answers are held back when they are made, so that the time they take says
// nothing about what was done for them.

// maxHeld bounds the answers that are held back with no worker to wait for them, ours:
// a flood of refused logins must cost neither workers nor much memory.
const maxHeld = 4096

// rest is how long an answer has yet to wait; never longer than it is waited for.
func (t *ticket) rest() time.Duration { return min(t.hold, time.Until(t.until)) }

// wait holds back an answer in its own goroutine.
func (s *Server) wait(ctx context.Context, t *ticket) {
	d := t.rest()
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done(): // nobody waits any more, or the server's patience is over
	}
}

// later sends an answer when its time has come, if not too many wait already. Then it
// is for the worker to wait, and for the queue behind it.
func (s *Server) later(t *ticket, reply []byte) bool {
	if s.held.Add(1) > maxHeld {
		s.held.Add(-1)
		return false
	}
	s.holding.Add(1) // supervise waits
	time.AfterFunc(t.rest(), func() {
		defer s.holding.Done()
		defer s.held.Add(-1)
		s.send(t, reply)
	})
	return true
}
