package ppp

import (
	"encoding/binary"
	"time"
)

// echo handles RFC 1661 §5.8-5.9: answered as soon as LCP is open. pppd sends its
// first Echo-Request at once, before authentication, and counts on it.
func (l *LCP) echo(now time.Time, p packet, s *Step) {
	if len(p.data) < 4 { // no room for the magic number
		s.Err = ErrShortPacket
		return
	}
	if l.state != Opened || p.code == CodeDiscardRequest {
		return
	}
	magic := binary.BigEndian.Uint32(p.data)
	if magic != 0 && magic == l.magic && !l.dropped.has(lcpMagic) {
		s.tell(Event{Kind: LoopDetected})
		return
	}
	if p.code == CodeEchoReply {
		l.echoPending = 0
		return
	}
	l.event(now, evEcho, l, s, p, nil)
	l.send(s, packet{CodeEchoReply, p.id, append(l.magicBytes(), p.data[4:]...)})
}

// Echo sends an Echo-Request now.
func (l *LCP) Echo(now time.Time) (s Step) {
	if l.state == Opened {
		l.sendEcho(now, &s)
	}
	return s
}

// Heard notes that the peer lives: any packet from it says so. It saves the session
// from calling a busy peer dead whose Echo-Replies wait behind its data.
func (l *LCP) Heard() { l.echoPending = 0 }

func (l *LCP) sendEcho(now time.Time, s *Step) {
	l.ident++
	if l.echoPending < 255 {
		l.echoPending++
	}
	if l.cfg.EchoInterval > 0 && !l.echoOff {
		l.echoAt = now.Add(l.cfg.EchoInterval)
	}
	l.send(s, packet{CodeEchoRequest, l.ident, l.magicBytes()})
}

// echoTimeout sends the next Echo-Request, or gives the peer up.
func (l *LCP) echoTimeout(now time.Time, s *Step) {
	if l.echoAt.IsZero() || now.Before(l.echoAt) {
		return
	}
	if l.echoPending >= l.cfg.EchoFailures {
		l.echoAt = time.Time{}
		s.tell(Event{Kind: Dead, Reason: PeerSilent})
		return
	}
	l.sendEcho(now, s)
}

func (l *LCP) opened(now time.Time) {
	l.loops, l.echoPending = 0, 0
	if l.cfg.EchoInterval > 0 && !l.echoOff {
		l.echoAt = now.Add(l.cfg.EchoInterval)
	}
}

func (l *LCP) closed() { l.echoAt = time.Time{} }

// identified handles an Identification (RFC 1570 §2.1). It has no answer and no
// effect; Windows sends three: version, computer name, 16 raw octets.
func (l *LCP) identified(p packet, s *Step) {
	if len(p.data) < 4 {
		s.Err = ErrShortPacket
		return
	}
	s.tell(Event{Kind: PeerIdentification, Text: printable(p.data[4:])})
}

// timeRemaining handles a Time-Remaining (RFC 1570 §2.2), which has no answer.
func (l *LCP) timeRemaining(p packet, s *Step) {
	if len(p.data) < 8 {
		s.Err = ErrShortPacket
		return
	}
	s.tell(Event{Kind: PeerTimeRemaining, Seconds: binary.BigEndian.Uint32(p.data[4:]), Text: printable(p.data[8:])})
}
