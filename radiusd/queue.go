package radiusd

import (
	"context"
	"time"
)

// queue is what waits for workers. Those who put in are counted in
// Server.producers; when none is left it is closed, and the workers end.
type queue struct{ jobs chan *ticket }

func newQueue(room int) *queue { return &queue{make(chan *ticket, room)} }

// offer puts t in if there is room.
func (q *queue) offer(t *ticket) bool {
	select {
	case q.jobs <- t:
		return true
	default:
		return false
	}
}

// push waits for room, but not longer than the answer would be waited for. Who
// pushes reads no further meanwhile, so that TCP makes the client wait, too.
func (q *queue) push(ctx context.Context, t *ticket) bool {
	if q.offer(t) {
		return true
	}
	timer := time.NewTimer(time.Until(t.until))
	defer timer.Stop()
	select {
	case q.jobs <- t:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// queue is the one for a request. Status-Server waits with those it asks about.
func (s *Server) queue(t *ticket) *queue {
	if t.kind == kindAccounting || t.from.port == portAcct {
		return s.accounting
	}
	return s.access
}

// work is a worker's goroutine.
func (s *Server) work(q *queue) {
	for t := range q.jobs {
		reply := s.finish(s.ctx, t)
		if t.hold > 0 && s.later(t, reply) {
			continue
		}
		s.wait(s.ctx, t)
		s.send(t, reply)
	}
}

func (s *Server) send(t *ticket, reply []byte) {
	s.settle(t, reply)
	t.via.answer(t, reply)
}

// refuse gives back a ticket that found no room.
func (s *Server) refuse(t *ticket, why error) {
	s.duplicates.finish(time.Now(), t.key, nil)
	s.drop(&t.from, why)
}
