package client

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"time"
)

// ping waits for one echo reply.
type ping struct {
	dst    [4]byte
	data   []byte
	answer chan error // one value, or closed when the session is over
}

// Ping sends one echo request with so many octets of data through the tunnel and
// returns how long the reply took. It does not repeat what is lost: then ctx ends it.
func (s *Session) Ping(ctx context.Context, dst netip.Addr, size int) (time.Duration, error) {
	dst = dst.Unmap()
	if !dst.Is4() || size < 0 {
		return 0, errors.New("ping: IPv4 address and a size wanted")
	}
	p := &ping{dst: dst.As4(), data: make([]byte, size), answer: make(chan error, 1)}
	start := time.Now()
	seq, err := s.startPing(p)
	if err != nil {
		return 0, err
	}
	defer s.stopPing(seq)
	select {
	case err, ok := <-p.answer:
		if !ok {
			return 0, s.Err()
		}
		return time.Since(start), err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (s *Session) startPing(p *ping) (seq uint16, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseUp {
		return 0, ErrNotUp
	}
	s.pingSeq++
	seq = s.pingSeq
	for i := range p.data { // differs from ping to ping, in every octet
		p.data[i] = byte(i*7) ^ byte(i>>8) ^ byte(seq)
	}
	e := echo{src: s.local.As4(), dst: p.dst, id: s.callID, seq: seq, data: p.data}
	if err := s.sendIP(e.Append(nil)); err != nil {
		return 0, err
	}
	if s.pings == nil {
		s.pings = make(map[uint16]*ping)
	}
	s.pings[seq] = p
	return seq, nil
}

func (s *Session) stopPing(seq uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pings, seq)
}

// answered takes a packet that is the reply to a ping of ours. The call ID is the
// echo's identifier, so that the sessions of a Host do not share one.
func (s *Session) answered(b []byte) bool {
	if len(s.pings) == 0 || b[9] != protoICMP {
		return false
	}
	e, ok := parseEcho(b)
	if !ok || !e.reply || e.id != s.callID {
		return false
	}
	p := s.pings[e.seq]
	if p == nil || p.dst != e.src {
		return false
	}
	delete(s.pings, e.seq)
	var err error
	if !bytes.Equal(e.data, p.data) {
		err = ErrPayload
	}
	p.answer <- err
	return true
}

// answerPing answers an echo request for us, where no IP stack does.
func (s *Session) answerPing(b []byte) {
	e, ok := parseEcho(b)
	if !ok || e.reply || e.dst != s.local.As4() {
		return
	}
	e.src, e.dst, e.reply = e.dst, e.src, true
	_ = s.sendIP(e.Append(nil)) // a ping may get lost
}
