package radiusd

import (
	"context"
	"sync"
	"time"

	"layeh.com/radius/rfc2866"

	"postern/internal/radius"
)

// rank is the order in which requests that wait are taken, and in which they are given up
// where there is no room for all. Logins have one.
//
// Handled in: rankOf.
type rank uint8

const (
	// rankFirst is logins; and what frees addresses and places, which others wait for: it
	// comes once, while the rest of accounting says again what it has said before.
	rankFirst rank = iota
	rankStart
	rankInterim // the next one says it, too
	numRanks
)

// rankOf is a believed request's.
func rankOf(k kind, p *radius.Packet) rank {
	if k != kindAccounting {
		return rankFirst
	}
	switch rfc2866.AcctStatusType_Get(p) {
	case rfc2866.AcctStatusType_Value_Stop, rfc2866.AcctStatusType_Value_AccountingOn, rfc2866.AcctStatusType_Value_AccountingOff:
		return rankFirst
	case rfc2866.AcctStatusType_Value_Start:
		return rankStart
	default:
		return rankInterim
	}
}

// queue is what waits for workers: a bounded number of tickets, of which none is worked on
// that nobody waits for any more. A client has given up a request when its time is over,
// when its connection is lost, and when it uses the Identifier for another one (RFC 2865
// §3: it matches replies by it). Where there is no room, first go those that are useless,
// the oldest first; then what ranks behind the newcomer; then the newcomer, whose client
// will ask again.
//
// Those who put in are counted in Server.producers; when none is left it is closed, and
// the workers end.
type queue struct {
	mu     sync.Mutex
	ready  sync.Cond // somebody has put in, or closed
	room   int
	n      int
	lanes  [numRanks]lane
	places map[place]*ticket
	closed bool
	freed  chan struct{} // there may be room: for one who waits for it
}

// place is what a client can have one request under at a time.
type place struct {
	from  fingerprint // without the authenticator and the code
	where port
}

func placeOf(t *ticket) place {
	f := t.key
	f.auth, f.code = [16]byte{}, 0
	return place{f, t.from.port}
}

// lane is the tickets of one rank, oldest first.
type lane struct{ first, last *ticket }

func (l *lane) add(t *ticket) {
	t.before, t.behind = l.last, nil
	if l.last == nil {
		l.first = t
	} else {
		l.last.behind = t
	}
	l.last = t
}

func (l *lane) remove(t *ticket) {
	if t.before == nil {
		l.first = t.behind
	} else {
		t.before.behind = t.behind
	}
	if t.behind == nil {
		l.last = t.before
	} else {
		t.behind.before = t.before
	}
	t.before, t.behind = nil, nil
}

// next is the oldest as long as that is early enough to be of use. Where what waits longest
// has waited for half its time, there is more than can be done, and answers in turn would
// all come at the last moment, most of them after it: then the newest is next, so that
// those who are answered are so at once, and the rest have asked elsewhere. One whose time
// is over comes first, since it takes none.
func (l *lane) next(now time.Time) *ticket {
	if t := l.first; t == nil || now.After(t.until) || now.Sub(t.taken) <= t.until.Sub(t.taken)/2 {
		return t
	}
	return l.last
}

// given is a ticket that was given up, and why.
type given struct {
	*ticket
	why drop
}

func newQueue(room int) *queue {
	q := &queue{room: room, places: make(map[place]*ticket), freed: make(chan struct{}, 1)}
	q.ready.L = &q.mu
	return q
}

// offer puts t in if there is room, or can be. Those that had to go are the caller's to
// refuse.
func (q *queue) offer(now time.Time, t *ticket) (ok bool, gone []given) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := placeOf(t)
	if old := q.places[at]; old != nil {
		q.removeLocked(old)
		gone = append(gone, given{old, dropSuperseded})
	}
	for r := numRanks; q.n >= q.room && r > 0; r-- {
		for old := q.lanes[r-1].first; old != nil && q.n >= q.room && now.After(old.until); old = q.lanes[r-1].first {
			q.removeLocked(old)
			gone = append(gone, given{old, dropLate})
		}
	}
	for r := numRanks - 1; q.n >= q.room && r > t.rank; r-- {
		if old := q.lanes[r].first; old != nil {
			q.removeLocked(old)
			gone = append(gone, given{old, dropOverload})
		}
	}
	if q.n >= q.room {
		return false, gone
	}
	q.n++
	q.lanes[t.rank].add(t)
	q.places[at] = t
	q.ready.Signal()
	return true, gone
}

// removeLocked takes out a ticket that waits.
func (q *queue) removeLocked(t *ticket) {
	q.lanes[t.rank].remove(t)
	if at := placeOf(t); q.places[at] == t {
		delete(q.places, at)
	}
	q.n--
	select {
	case q.freed <- struct{}{}:
	default:
	}
}

// push waits for room, but not longer than the answer would be waited for. Who
// pushes reads no further meanwhile, so that TCP makes the client wait, too.
func (q *queue) push(ctx context.Context, t *ticket) (ok bool, gone []given) {
	if ok, gone = q.offer(time.Now(), t); ok {
		return true, gone
	}
	timer := time.NewTimer(time.Until(t.until))
	defer timer.Stop()
	for {
		select {
		case <-q.freed:
		case <-timer.C:
			return false, gone
		case <-ctx.Done():
			return false, gone
		}
		ok, more := q.offer(time.Now(), t)
		gone = append(gone, more...)
		if ok {
			q.pass()
			return true, gone
		}
	}
}

// pass lets the next one look who waits for room, if there is some.
func (q *queue) pass() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n < q.room {
		select {
		case q.freed <- struct{}{}:
		default:
		}
	}
}

// take waits for a ticket; nil: there will be none.
func (q *queue) take() *ticket {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for r := range q.lanes {
			if t := q.lanes[r].next(time.Now()); t != nil {
				q.removeLocked(t)
				return t
			}
		}
		if q.closed {
			return nil
		}
		q.ready.Wait()
	}
}

// lose takes out what came over a connection that is lost.
func (q *queue) lose(via answerer) (gone []given) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.lanes {
		for t := q.lanes[r].first; t != nil; {
			next := t.behind
			if t.via == via {
				q.removeLocked(t)
				gone = append(gone, given{t, dropGone})
			}
			t = next
		}
	}
	return gone
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
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
	for t := q.take(); t != nil; t = q.take() {
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

// giveUp ends tickets that had to leave a queue.
func (s *Server) giveUp(gone []given) {
	for _, g := range gone {
		s.refuse(g.ticket, g.why)
		g.via.answer(g.ticket, nil)
	}
}

// refuse gives back a ticket that found no room.
func (s *Server) refuse(t *ticket, why error) {
	s.duplicates.finish(time.Now(), t.key, nil)
	s.drop(&t.from, why)
}
