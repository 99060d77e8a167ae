package ppp

import (
	"bytes"
	"time"
)

// Bounds of our own, beside the RFC's counters in Timer. The RFC's table lets some
// peers go round for ever (one that acknowledges us and never asks; one that
// renegotiates as soon as it has opened); these end it.
const (
	// Naks and Rejects we take before giving up. A peer that refuses each option
	// of the longest list by itself, and some Naks twice, needs about ten.
	maxRounds = 20

	// Configure-Requests sent between two openings.
	maxRequests = 30

	// Times the layer may leave Opened before it has once stayed there for calm.
	maxFlaps = 10
	calm     = time.Minute

	// Identical requests acknowledged in Opened before the table is followed: see
	// repeated. Repetitions further apart than repeatWindow do not add up.
	maxRepeats   = 3
	repeatWindow = 10 * time.Second

	// Terminate-Acks in answer to a request that do not count as an answer: see
	// termAck.
	maxRefunds = 10

	// The longest option list remembered for repeated. Ours take at most 36 octets
	// (IPCP: six options of six).
	maxAcked = 36
)

// layer is what differs between the protocols that share the automaton.
type layer interface {
	// forget drops what was learnt about our own request: negotiation starts afresh.
	forget()
	// request appends the options of our Configure-Request. It appends the same
	// until refused or forget is called: an Ack is checked against it.
	request(dst []byte) []byte
	// judge reads the peer's request and says what is wrong with it. With stubborn
	// set, Naks become Rejects.
	judge(opts []byte, stubborn bool, r *reply)
	// refused learns from a Nak or Reject of our request. A reason gives up.
	refused(code Code, opts []byte) Reason
	// agreed checks what an Ack of our request leaves us with. A reason gives up.
	agreed() Reason
	// code handles the protocol's own codes; false means unknown.
	code(now time.Time, p packet, s *Step) bool
	// codeRejected tells of a code beyond the basic seven the peer does not know.
	codeRejected(c Code)
	// stuck is the reason when negotiation does not converge.
	stuck() Reason
	// must tells whether the session cannot live without this layer.
	must() bool
	// opened and closed start and stop what runs only in Opened.
	opened(now time.Time)
	closed()
}

// fsm is the option negotiation automaton of RFC 1661 §4, driven by the parsed
// table. No input makes it unusable: a malformed one is dropped with Step.Err, a
// hostile one ends in Closed with a Finished event, from where it answers
// Configure-Requests with Terminate-Acks.
type fsm struct {
	timer Timer
	proto Proto
	state State
	ended Reason // why; told with Finished

	ident   uint8 // the last identifier we used
	reqID   uint8 // that of our last Configure- or Terminate-Request
	waiting bool  // our last Configure-Request has had no answer yet
	gaveUp  bool  // Refused has been told

	restarts uint8 // RFC 1661 §4.6 Restart counter
	rounds   uint8 // Naks and Rejects got
	failures uint8 // Naks and Rejects sent since our last Ack
	requests uint8
	flaps    uint8
	repeats  uint8
	refunds  uint8

	badID, badCopies uint8 // the last request refused, see countFailure

	ackedLen int8 // of acked; -1 if it did not fit
	acked    [maxAcked]byte

	interval time.Duration
	rtt      time.Duration // of our last answered request; before, what Timer says
	deadline time.Time     // of the restart timer
	sentAt   time.Time     // first transmission of the request waiting
	openedAt time.Time
	repeatAt time.Time
	closing  string // data of our Terminate-Request
}

func newFSM(p Proto, t Timer) fsm { return fsm{proto: p, timer: t, rtt: t.RTT} }

// State returns the automaton's state.
func (f *fsm) State() State { return f.state }

// Ended is the reason the layer gave with Finished.
func (f *fsm) Ended() Reason { return f.ended }

// open, lowerUp, lowerDown and close are the administrative events of RFC 1661 §4.3.
func (f *fsm) open(now time.Time, l layer, s *Step)      { f.event(now, evOpen, l, s, packet{}, nil) }
func (f *fsm) lowerUp(now time.Time, l layer, s *Step)   { f.event(now, evUp, l, s, packet{}, nil) }
func (f *fsm) lowerDown(now time.Time, l layer, s *Step) { f.event(now, evDown, l, s, packet{}, nil) }

func (f *fsm) close(now time.Time, l layer, why Reason, text string, s *Step) {
	if f.ended == ReasonUnknown || f.state == Opened {
		f.ended = why
	}
	f.closing = text[:min(len(text), maxText)]
	f.event(now, evClose, l, s, packet{}, nil)
}

// fail ends the layer for a fault of the peer's. The Terminate-Request carries the
// reason's name: pppd and Windows log it.
func (f *fsm) fail(now time.Time, l layer, why Reason, s *Step) {
	f.ended = why
	if why == Looped {
		s.tell(Event{Kind: LoopDetected})
	}
	if !f.gaveUp && l.must() {
		f.gaveUp = true
		s.tell(Event{Kind: Refused, Reason: why})
	}
	f.close(now, l, why, why.String(), s)
}

// timeout runs the restart timer if it is due.
func (f *fsm) timeout(now time.Time, l layer, s *Step) {
	if f.deadline.IsZero() || now.Before(f.deadline) {
		return
	}
	if f.restarts > 0 {
		f.event(now, evTimeout, l, s, packet{}, nil)
		return
	}
	if f.ended == ReasonUnknown {
		f.ended = NoAnswer
	}
	f.event(now, evTimeoutLast, l, s, packet{}, nil)
}

// input takes a packet from its code on.
func (f *fsm) input(now time.Time, l layer, b []byte, s *Step) {
	p, err := parsePacket(b)
	if err != nil {
		s.Err = err
		return
	}
	if f.state <= Starting {
		return // the layer below is not up for us
	}
	switch p.code {
	case CodeConfigureRequest:
		f.configureRequest(now, l, p, s)
	case CodeConfigureAck:
		if !f.answers(p) || !f.agrees(l, p) {
			return
		}
		f.answered(now)
		if why := l.agreed(); why != ReasonUnknown {
			f.fail(now, l, why, s)
			return
		}
		f.event(now, evAck, l, s, p, nil)
	case CodeConfigureNak, CodeConfigureReject:
		f.configureRefused(now, l, p, s)
	case CodeTerminateRequest:
		s.tell(Event{Kind: PeerTerminate, Text: printable(p.data)})
		if f.state >= ReqSent {
			f.ended = PeerTerminated
		}
		f.event(now, evTermRequest, l, s, p, nil)
	case CodeTerminateAck:
		f.termAck(now, l, p, s)
	case CodeCodeReject:
		f.codeReject(now, l, p, s)
	default:
		if !l.code(now, p, s) {
			f.event(now, evUnknownCode, l, s, p, nil)
		}
	}
}

// answers tells whether p answers the request that waits. Anything else is dropped
// (RFC 1661 §5.2-5.4), among it the second copy of an answer: the table would leave
// Opened for it, and Windows sends a Nak twice now and then.
func (f *fsm) answers(p packet) bool { return f.waiting && p.id == f.reqID }

func (f *fsm) answered(now time.Time) {
	f.waiting = false
	f.rtt = now.Sub(f.sentAt)
}

// agrees checks that an Ack repeats our request (RFC 1661 §5.2).
func (f *fsm) agrees(l layer, p packet) bool {
	var buf [2 * maxAcked]byte
	return bytes.Equal(p.data, l.request(buf[:0]))
}

func (f *fsm) configureRequest(now time.Time, l layer, p packet, s *Step) {
	if s.Err = checkOptions(p.data); s.Err != nil {
		return
	}
	if f.state == Closed || f.state == Closing || f.state == Stopping { // RCR+ and RCR- do the same there
		f.event(now, evGoodRequest, l, s, p, nil)
		return
	}
	if f.state == Opened {
		if f.repeated(now, p.data) {
			f.send(s, packet{CodeConfigureAck, p.id, p.data})
			s.tell(Event{Kind: RepeatedRequest})
			return
		}
		if f.flap(now, l, s) {
			return
		}
	}
	var r reply
	l.judge(p.data, f.failures >= f.timer.MaxFailure, &r)
	code := r.code()
	switch {
	case r.fail != ReasonUnknown:
		f.fail(now, l, r.fail, s)
	case code == CodeConfigureAck:
		f.failures = 0
		f.ackedLen = -1
		if len(p.data) <= maxAcked {
			f.ackedLen = int8(copy(f.acked[:], p.data))
		}
		f.event(now, evGoodRequest, l, s, p, p.data)
	case f.failures >= 2*f.timer.MaxFailure:
		f.fail(now, l, l.stuck(), s)
	default:
		f.countFailure(p.id)
		answer := r.nak
		if code == CodeConfigureReject {
			answer = r.rej
		}
		f.event(now, evBadRequest, l, s, packet{code, p.id, nil}, answer)
	}
}

// countFailure counts a refusal. A request with the identifier of the last one
// refused is most likely its repetition because our answer was lost: on a bad link
// counting each would send away a peer that never saw a Nak. Every third counts, so
// that a peer that never changes its identifier ends too.
func (f *fsm) countFailure(id uint8) {
	if f.failures > 0 && id == f.badID {
		if f.badCopies++; f.badCopies%3 != 0 {
			return
		}
	}
	f.badID = id
	f.failures++
}

// repeated tells whether a request in Opened is the one we acknowledged. The table
// tears the layer down for it; we acknowledge it again and stay, for two reasons.
// Windows 10 repeats its CCP request after CCP has opened, and a server that
// follows the table loses the encryption there ("Windows 10 cannot connect any
// more" with pptpd). And a peer whose copy of our Ack was lost repeats itself in
// the same way: all it needs is the Ack.
//
// A peer that in truth starts afresh with the same options needs a request of ours
// too. It will ask again every few seconds, so after maxRepeats in short order the
// table is followed.
func (f *fsm) repeated(now time.Time, opts []byte) bool {
	if f.ackedLen < 0 || !bytes.Equal(opts, f.acked[:f.ackedLen]) {
		return false
	}
	if now.Sub(f.repeatAt) > repeatWindow {
		f.repeats = 0
	}
	f.repeatAt = now
	f.repeats++
	return f.repeats <= maxRepeats
}

// flap counts a departure from Opened that a packet of the peer's causes and tells
// whether it was one too many.
func (f *fsm) flap(now time.Time, l layer, s *Step) bool {
	if now.Sub(f.openedAt) >= calm {
		f.flaps = 0
	}
	f.flaps++
	if f.flaps <= maxFlaps {
		return false
	}
	f.fail(now, l, l.stuck(), s)
	return true
}

func (f *fsm) configureRefused(now time.Time, l layer, p packet, s *Step) {
	if !f.answers(p) {
		return
	}
	if s.Err = checkOptions(p.data); s.Err != nil {
		return
	}
	f.answered(now)
	f.rounds++
	why := l.refused(p.code, p.data)
	if why == ReasonUnknown && f.rounds > maxRounds {
		why = l.stuck()
	}
	if why != ReasonUnknown {
		f.fail(now, l, why, s)
		return
	}
	f.event(now, evNak, l, s, p, nil)
}

// termAck handles a Terminate-Ack. In Req-Sent and Ack-Sent the RFC's table stays
// where it is, and there is more to gain: kernel pppd with MPPE required answers
// IPCP Configure-Requests so until its CCP is up. The peer is there and says "not
// yet", so the next request goes out soon and, a bounded number of times, is not
// counted as unanswered.
func (f *fsm) termAck(now time.Time, l layer, p packet, s *Step) {
	if f.state == Opened && f.flap(now, l, s) {
		return
	}
	if (f.state == ReqSent || f.state == AckSent) && f.waiting && f.refunds < maxRefunds {
		f.refunds++
		f.restarts = min(f.restarts+1, f.timer.MaxConfigure)
		f.interval = f.timer.First
		f.deadline = earliest(f.deadline, now.Add(f.timer.First))
	}
	f.event(now, evTermAck, l, s, p, nil)
}

// codeReject handles RFC 1661 §5.6: the basic codes are fatal, others are not.
func (f *fsm) codeReject(now time.Time, l layer, p packet, s *Step) {
	if len(p.data) == 0 {
		s.Err = ErrShortPacket
		return
	}
	c := Code(p.data[0])
	if c >= CodeConfigureRequest && c <= CodeCodeReject {
		f.rejected(now, l, s)
		return
	}
	l.codeRejected(c)
	f.event(now, evRejected, l, s, p, nil)
}

// rejected is RXJ-: the peer does not do this protocol.
func (f *fsm) rejected(now time.Time, l layer, s *Step) {
	if f.ended == ReasonUnknown {
		f.ended = PeerRejected
	}
	f.closing = PeerRejected.String()
	f.event(now, evFatalReject, l, s, packet{}, nil)
}

// event takes one transition of the table. in is the packet that caused it, answer
// the options of the Ack, Nak or Reject to be sent.
func (f *fsm) event(now time.Time, e event, l layer, s *Step, in packet, answer []byte) {
	t := &transitions[e][f.state]
	if !t.legal {
		return
	}
	from := f.state
	if t.has(scr) {
		if from <= Closed {
			f.requests, f.gaveUp = 0, false // the session starts the layer
		}
		if f.requests >= maxRequests {
			f.fail(now, l, l.stuck(), s)
			return
		}
		if from < ReqSent || from == Opened { // not negotiating until now
			f.begin(l)
		}
	}
	f.state = t.next
	for _, a := range t.actions {
		f.act(now, a, e, l, s, in, answer, t)
	}
	switch {
	case t.next < Closing || t.next == Opened:
		f.deadline = time.Time{} // RFC 1661 §4.6: the timer runs in states 4 to 8
	case e == evAck && t.next == AckRcvd:
		// The peer has our request and we lack its own, which it repeats by its own
		// clock. Asking again would make it answer again.
		f.interval = f.timer.Max
		f.deadline = now.Add(f.timer.Max)
	case from == Opened && e == evTermRequest:
		// zrc: one period for the peer to read our Terminate-Ack.
		f.deadline = now.Add(f.timer.Max)
	}
}

func (f *fsm) begin(l layer) {
	l.forget()
	f.ended = ReasonUnknown
	f.waiting = false
	f.interval = 0
	f.rounds, f.failures, f.refunds = 0, 0, 0
}

func (f *fsm) act(now time.Time, a action, e event, l layer, s *Step, in packet, answer []byte, t *transition) {
	switch a {
	case tlu:
		f.ended = ReasonUnknown
		f.rounds, f.requests, f.refunds, f.repeats = 0, 0, 0, 0
		f.openedAt = now
		l.opened(now)
		s.tell(Event{Kind: Up})
	case tld:
		l.closed()
		s.tell(Event{Kind: Down})
	case tlf:
		s.tell(Event{Kind: Finished, Reason: f.ended})
	case irc:
		f.restarts = f.timer.MaxConfigure
		if t.has(str) {
			f.restarts = f.timer.MaxTerminate
			f.waiting = false
		}
		f.interval = 0
	case zrc:
		f.restarts = 0
	case scr:
		f.sendRequest(now, l, s)
	case str:
		f.sendTerminate(now, e, s)
	case sca:
		f.send(s, packet{CodeConfigureAck, in.id, answer})
	case scn:
		f.send(s, packet{in.code, in.id, answer})
	case sta:
		f.send(s, packet{CodeTerminateAck, in.id, nil})
	case scj:
		f.ident++
		f.send(s, packet{CodeCodeReject, f.ident, quote(in.Append(nil))})
	case actNone, tls, ser:
		// tls: below us is GRE, which runs before PPP does and needs no start.
		// ser: the layer has answered the echo, which only LCP knows (lcp_echo.go).
	}
}

// sendRequest sends our Configure-Request. A repetition keeps its identifier
// (RFC 1661 §5.1 allows it), so that on a path slower than our timer the answer to
// the first copy still counts.
func (f *fsm) sendRequest(now time.Time, l layer, s *Step) {
	if f.waiting {
		f.interval = min(2*f.interval, f.timer.Max)
	} else {
		f.ident++
		f.reqID, f.waiting, f.sentAt = f.ident, true, now
		f.interval = max(f.interval, f.timer.first(f.rtt))
	}
	f.requests++
	f.sent(now)
	f.send(s, packet{CodeConfigureRequest, f.reqID, l.request(nil)})
}

func (f *fsm) sendTerminate(now time.Time, e event, s *Step) {
	if e == evTimeout {
		f.interval = min(2*f.interval, f.timer.Max)
	} else {
		f.ident++
		f.reqID = f.ident
		f.interval = f.timer.first(f.rtt)
	}
	f.sent(now)
	f.send(s, packet{CodeTerminateRequest, f.reqID, []byte(f.closing)})
}

// sent counts a transmission and starts the timer.
func (f *fsm) sent(now time.Time) {
	if f.restarts > 0 {
		f.restarts--
	}
	f.deadline = now.Add(f.interval)
}

func (f *fsm) send(s *Step, p packet) {
	s.Send = append(s.Send, Packet{f.proto, p.Append(make([]byte, 0, packetHeader+len(p.data)))})
}
