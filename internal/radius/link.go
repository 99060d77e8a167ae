package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// link is one space of 256 Identifiers: a UDP socket, a RadSec connection, or a
// number that stands for either in process.
type link struct {
	t    *target
	conn net.Conn       // nil in process
	port netip.AddrPort // in process: what tells this link from the others
	gone chan struct{}  // closed when nothing will come of it any more
	once sync.Once

	writing sync.Mutex    // one packet at a time on a stream
	doubt   chan struct{} // asks the watchdog to look now
	asked   chan []byte   // requests of the service's own; nil: not taken

	// Under t.mu.
	slots [256]slot
	next  byte      // where the search for a free Identifier goes on
	ready time.Time // no Identifier is free before then
	heard time.Time
}

// slot is an Identifier: taken while a request waits, then resting until ready.
type slot struct {
	taken  bool
	ready  time.Time
	flight *flight
}

// flight is a request that waits for its reply under one Identifier.
type flight struct {
	link    *link
	id      byte
	sent    []byte
	replies chan *Packet // room for one; a second reply is not waited for
}

// never is later than any Identifier becomes free by itself.
const never = 1000 * time.Hour

func (t *target) newLink(conn net.Conn) *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened++
	return &link{
		t: t, conn: conn, port: netip.AddrPortFrom(netip.Addr{}, t.opened),
		gone: make(chan struct{}), doubt: make(chan struct{}, 1),
		next: byte(rand.Uint32()), heard: time.Now(),
	}
}

// add makes the link one that requests are sent on.
func (t *target) add(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links = append(t.links, l)
	t.wakeLocked()
}

// end takes the link out; requests on it are lost.
func (l *link) end() {
	l.once.Do(func() {
		if l.conn != nil {
			_ = l.conn.Close()
		}
		l.t.mu.Lock()
		defer l.t.mu.Unlock()
		for i, other := range l.t.links {
			if other == l {
				l.t.links = append(l.t.links[:i:i], l.t.links[i+1:]...)
				break
			}
		}
		close(l.gone)
		l.t.wakeLocked()
	})
}

// suspect asks for a look at the connection; in doubt already is enough.
func (l *link) suspect() {
	select {
	case l.doubt <- struct{}{}:
	default:
	}
}

// wakeLocked lets the one who waits in acquire look again.
func (t *target) wakeLocked() {
	if t.waiting > 0 {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// takeLocked finds a free Identifier, the one longest at rest first.
func (l *link) takeLocked(now time.Time) (id byte, ok bool) {
	if now.Before(l.ready) {
		return 0, false
	}
	l.ready = now.Add(never)
	for range l.slots {
		id := l.next
		l.next++
		s := &l.slots[id]
		if !s.taken && !now.Before(s.ready) {
			s.taken, l.ready = true, now
			return id, true
		}
		if !s.taken && s.ready.Before(l.ready) {
			l.ready = s.ready
		}
	}
	return 0, false
}

// restLocked gives the Identifier back, to be used again after a rest.
func (l *link) restLocked(id byte, rest time.Duration) {
	s := &l.slots[id]
	s.taken, s.flight, s.ready = false, nil, time.Now().Add(rest)
	if s.ready.Before(l.ready) {
		l.ready = s.ready
	}
	l.t.wakeLocked()
}

func (l *link) reserve() (byte, bool) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	return l.takeLocked(time.Now())
}

// abandon gives back an Identifier that nothing was sent under.
func (l *link) abandon(id byte) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.restLocked(id, 0)
}

// acquire takes an Identifier on a link, opening one or waiting for one where there
// is none. Without patience it does not wait for a connection that is down.
//
// Of many who wait only the one at the gate is woken: thousands of logins may come
// at once when a node has lost its service for a moment.
func (t *target) acquire(ctx context.Context, patient bool) (*link, byte, error) {
	t.mu.Lock()
	if t.waiting == 0 {
		if l, id, _ := t.anyLocked(time.Now()); l != nil {
			t.mu.Unlock()
			return l, id, nil
		}
	}
	t.waiting++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
	}()
	select {
	case t.gate <- struct{}{}:
		defer func() { <-t.gate }()
	case <-t.c.ctx.Done():
		return nil, 0, ErrClosed
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("%w: no identifier was free", errSilent)
	}
	for {
		t.mu.Lock()
		now := time.Now()
		l, id, soonest := t.anyLocked(now)
		if l != nil {
			t.mu.Unlock()
			return l, id, nil
		}
		if t.stream() && len(t.links) == 0 && t.dead && !patient {
			t.mu.Unlock()
			return nil, 0, fmt.Errorf("%w: not connected", errSilent)
		}
		if !t.stream() && len(t.links) < t.c.cfg.MaxSockets {
			t.mu.Unlock()
			if err := t.openDatagram(ctx); err != nil {
				return nil, 0, fmt.Errorf("%w: %w", errLost, err)
			}
			continue
		}
		if t.stream() {
			t.growLocked(now)
		}
		changed := t.changed
		t.mu.Unlock()

		timer := time.NewTimer(soonest.Sub(now))
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
		case <-t.c.ctx.Done():
			timer.Stop()
			return nil, 0, ErrClosed
		case <-ctx.Done():
			timer.Stop()
			return nil, 0, fmt.Errorf("%w: no identifier was free", errSilent)
		}
	}
}

// anyLocked takes a free Identifier of any link, or says when one will be free.
func (t *target) anyLocked(now time.Time) (*link, byte, time.Time) {
	soonest := now.Add(never)
	for _, l := range t.links {
		if id, ok := l.takeLocked(now); ok {
			return l, id, now
		}
		if l.ready.Before(soonest) {
			soonest = l.ready
		}
	}
	return nil, 0, soonest
}

// launch encodes q under an acquired Identifier and sends it.
func (t *target) launch(l *link, id byte, q *Packet, replies chan *Packet) (*flight, error) {
	q.Identifier = id
	b, err := EncodeRequest(q)
	if err != nil {
		l.abandon(id)
		return nil, err
	}
	f := &flight{link: l, id: id, sent: b, replies: replies}
	t.mu.Lock()
	l.slots[id].flight = f
	t.mu.Unlock()
	t.transmit(f)
	return f, nil
}

// release ends the wait for f, if it was not answered.
func (t *target) release(f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.link.slots[f.id].flight == f {
		f.link.restLocked(f.id, restUnanswered)
	}
}

// transmit sends f's octets. A datagram that cannot be sent is a lost one; a stream
// that cannot be written to is over.
func (t *target) transmit(f *flight) {
	l := f.link
	switch t.transport {
	case InProcess:
		// The handler may take its time, as a service does; Close waits for it.
		t.c.spawn(func() {
			from := Peer{Addr: l.port, Transport: InProcess, Name: t.c.cfg.Name, Secret: t.secret}
			if reply := t.local.ServeRADIUS(t.c.ctx, bytes.Clone(f.sent), from); reply != nil {
				l.deliver(reply)
			}
		})
	case UDP:
		_, _ = l.conn.Write(f.sent)
	case RadSec:
		l.write(f.sent)
	case TransportUnknown:
	}
}

// write sends a packet on a stream.
func (l *link) write(b []byte) {
	l.writing.Lock()
	defer l.writing.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(l.t.c.cfg.Timeout))
	if err := WritePacket(l.conn, b); err != nil {
		l.t.c.log.Debug("RadSec write failed", "server", l.t.name, "err", err)
		_ = l.conn.Close() // its reader ends the link
	}
}

// deliver hands one received packet to whom it answers. What is not believed is
// counted and forgotten, and the wait for the real reply goes on.
func (l *link) deliver(b []byte) {
	if err := l.accept(b); err != nil {
		fault := FaultUnknown
		errors.As(err, &fault)
		l.t.m.dropped[fault].Inc()
		l.t.c.log.Debug("reply dropped", "server", l.t.name, "port", l.t.port, "reason", fault)
	}
}

func (l *link) accept(b []byte) error {
	s, err := Inspect(b)
	if err != nil {
		return err
	}
	t := l.t
	t.mu.Lock()
	f := l.slots[s.Identifier].flight
	t.mu.Unlock()
	if f == nil {
		return FaultUnexpected
	}
	unsigned := t.unsigned && len(b) > offCode && Code(b[offCode]) == CodeAccountingResponse
	reply, err := parseReply(b, f.sent, t.secret, !unsigned)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.slots[s.Identifier].flight != f { // given up meanwhile
		return FaultUnexpected
	}
	rest := restAnswered
	if t.stream() { // a stream repeats nothing and loses nothing
		rest = 0
	}
	l.restLocked(s.Identifier, rest)
	l.heard = time.Now()
	t.reviveLocked()
	select {
	case f.replies <- reply:
	default:
	}
	return nil
}
