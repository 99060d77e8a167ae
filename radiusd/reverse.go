package radiusd

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/internal/radius"
)

// Requests of ours on connections that NAS have opened: RFC 5176 the other way round.
// Each direction has Identifiers of its own.

const (
	// maxNodes bounds how many names of NAS one connection is remembered by; a proxy
	// may stand for many.
	maxNodes = 256
	// reverseRest is how long an Identifier whose answer did not come is left alone:
	// the answer to the old request would be taken for a forged one to the new.
	reverseRest = time.Minute
)

// asked is what we have asked on one connection.
type asked struct {
	mu    sync.Mutex
	next  byte
	waits map[byte]*waiting
}

// waiting is a request that has no answer yet.
type waiting struct {
	sent     []byte
	unsigned bool
	reply    chan *radius.Packet // room for one
	until    time.Time           // given up, and resting; zero: somebody waits
}

// begin encodes p under a free Identifier.
func (a *asked) begin(p *radius.Packet, unsigned bool) (*waiting, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for range 256 {
		id := a.next
		a.next++
		if w := a.waits[id]; w != nil && (w.until.IsZero() || now.Before(w.until)) {
			continue
		}
		q := *p
		q.Identifier, q.Secret = id, radius.RadSecSecret().Bytes()
		b, err := radius.EncodeRequest(&q)
		if err != nil {
			return nil, err
		}
		if a.waits == nil {
			a.waits = make(map[byte]*waiting)
		}
		w := &waiting{sent: b, unsigned: unsigned, reply: make(chan *radius.Packet, 1)}
		a.waits[id] = w
		return w, nil
	}
	return nil, errBusy
}

// giveUp leaves the Identifier alone for a while, unless it was answered.
func (a *asked) giveUp(w *waiting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.until = time.Now().Add(reverseRest)
}

// answered takes a reply. One that is not believed changes nothing.
func (a *asked) answered(b []byte) error {
	s, err := radius.Inspect(b)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waits[s.Identifier]
	if w == nil {
		return radius.FaultUnexpected
	}
	parse := radius.ParseReply
	if w.unsigned {
		parse = radius.ParseUnsignedReply
	}
	p, err := parse(b, w.sent, radius.RadSecSecret())
	if err != nil {
		return err
	}
	delete(a.waits, s.Identifier)
	w.reply <- p
	return nil
}

// isReply says whether a packet answers what only we ask.
func isReply(b []byte) bool {
	switch radius.Code(b[0]) {
	case radius.CodeDisconnectACK, radius.CodeDisconnectNAK, radius.CodeCoAACK, radius.CodeCoANAK:
		return true
	default:
		return false
	}
}

// learn notes that a NAS is at the other end.
func (c *radsecConn) learn(t *ticket) {
	n := nas(t)
	name := n.Node()
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if len(c.nodes) < maxNodes {
		c.nodes[name] = true
	}
}

// to returns the connections to a NAS of a client, the newest first.
func (r *radsec) to(c *client, node string) []*radsecConn {
	st := r.s.state.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*radsecConn
	for conn := range r.conns {
		if conn.nodes[node] && st.clients.certified(conn.from.names...) == c {
			found = append(found, conn)
		}
	}
	slices.SortFunc(found, func(a, b *radsecConn) int { return cmp.Compare(b.from.space, a.from.space) })
	return found
}

// enter lets a request of ours onto the connection; pending.Done ends it.
func (c *radsecConn) enter() bool {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if !c.r.conns[c] {
		return false
	}
	c.pending.Add(1)
	return true
}

// joined and left keep the table of connections that may be asked on.
func (r *radsec) joined(c *radsecConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
}

func (r *radsec) left(c *radsecConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	close(c.gone)
}

// Peer says whether a NAS has a RadSec connection open from an address.
func (s *Server) Peer(a netip.Addr) bool {
	s.mu.RLock()
	r := s.radsec
	s.mu.RUnlock()
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		if c.from.addr.Addr() == a.Unmap() {
			return true
		}
	}
	return false
}

// radsecWay asks on a connection.
type radsecWay struct {
	c        *radsecConn
	unsigned bool
}

func (w radsecWay) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	if !w.c.enter() {
		return nil, errGone
	}
	defer w.c.pending.Done()
	q, err := w.c.asked.begin(p, w.unsigned)
	if err != nil {
		return nil, err
	}
	defer w.c.asked.giveUp(q)
	w.c.send(q.sent)
	timer := time.NewTimer(reverseTimeout)
	defer timer.Stop()
	select {
	case reply := <-q.reply:
		return reply, nil
	case <-w.c.gone:
		return nil, errGone
	case <-timer.C:
		return nil, errLate
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drawnSecret is for one exchange within the process.
func drawnSecret() radius.Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // ends the process rather than fail
	return radius.NewSecret(b[:])
}
