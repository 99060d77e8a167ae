package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State is where a control connection stands (RFC 2637 §3.1).
type State uint8

// The states. The RFC's idle is split by role, because the server's waits for
// a message and the client's does not exist: a Conn starts with its request.
const (
	StateClosed   State = iota // over; a Conn is not used again
	StateWaiting               // server, idle: SCCRQ awaited
	StateStarting              // client, wait_ctl_reply: SCCRP awaited
	StateUp                    // established
	StateStopping              // wait_stop_reply: StopCCRP awaited
)

var stateNames = [...]string{
	StateClosed:   "closed",
	StateWaiting:  "waiting",
	StateStarting: "starting",
	StateUp:       "up",
	StateStopping: "stopping",
}

// String returns the state's name.
func (s State) String() string { return enumName(stateNames[:], int(s)) }

type role uint8

const (
	server role = iota // PAC: answers calls
	client             // PNS: places calls
)

// Errors that only Conn gives.
var (
	ErrNotStarted = errors.New("message before the connection has started")
	ErrClosed     = errors.New("control connection is closed")
)

// Conn is one control connection. It is not safe for concurrent use: its owner
// feeds it what TCP delivers, in any chunks, calls Timeout at Deadline, and
// obeys each Step.
//
// What is answered in which state ("2/1" is result general error, error
// not-connected; "–" is Ignored, OutOfState unless said otherwise; "E" closes
// with ErrNotStarted):
//
//	              waiting (server)    starting (client)   up                      stopping
//	SCCRQ         SCCRP → up          SCCRP 3             SCCRP 3, –              –
//	SCCRP         E                   → up, or closed     –                       –
//	StopCCRQ      StopCCRP 2/1 →      StopCCRP 2/1 →      StopCCRP → closed       StopCCRP → closed
//	              closed              closed
//	StopCCRP      E                   E                   –                       → closed
//	Echo-Request  Echo-Reply 2/1, E   Echo-Reply 2/1, E   Echo-Reply              Echo-Reply
//	Echo-Reply    E                   E                   alive, or – BadEcho     –
//	OCRQ          OCRP 2/1, E         OCRP 2/1, E         event; client: OCRP 7   OCRP 2/1, –
//	OCRP          E                   E                   client: event           –
//	ICRQ          ICRP 2/1, E         ICRP 2/1, E         ICRP 3, event           ICRP 2/1, –
//	ICRP, ICCN    E                   E                   –                       –
//	CCRQ          CDN 2/1, E          CDN 2/1, E          CDN 4, event            –
//	CDN           E                   E                   event                   –
//	WEN, SLI      E                   E                   event                   –
//	other         E                   E                   – NotDefined,NotControl –
//
// An unknown call ID is Ignored as UnknownCall; in CCRQ, which waits for an
// answer, it is answered by CDN 2/5 (bad call ID). OCRQ with a call ID in use
// gets OCRP 2/5, one too many OCRP 2/4 (no resource), an impossible field OCRP
// 2/3 (bad value).
//
// Errors: every error of Input ends the connection, and the Step that comes
// with it has Close set and whatever answer there still is (RFC 2637 §3.1: a
// malformed message closes the connection "to ensure recovery into a known
// state"). ErrMagic, ErrKind and ErrLength mean that the stream cannot be read
// on, ErrNotStarted that the peer skipped the start; ErrClosed answers input
// that comes later. Whatever leaves the connection usable is an Ignored event,
// not an error.
type Conn struct {
	cfg   *Config
	epoch time.Time     // of the durations below: with the monotonic clock, at a third of the size
	now   time.Duration // of the call in progress
	heard time.Duration // last message from the peer
	asked time.Duration // our Echo-Request without an answer, 0: none
	limit time.Duration // waiting, starting, stopping: end of patience; up: of idleness; 0: none

	buf   []byte // the beginning of one message, never more; nil between messages
	calls []call

	echoID      uint32
	state       State
	role        role
	why         Cause // stopping: what to close with
	refuse      StartResult
	refuseError ErrorCode
}

// newConn makes a connection whose patience begins now.
func newConn(cfg *Config, now time.Time, r role, s State) *Conn {
	c := &Conn{cfg: cfg, epoch: now, role: r, state: s}
	c.limit = after(0, cfg.StartTimeout, DefaultStartTimeout)
	return c
}

// State returns where the connection stands.
func (c *Conn) State() State { return c.state }

// enter notes the time of a call from outside. Time that runs backwards stands
// still.
func (c *Conn) enter(now time.Time) { c.now = max(c.now, now.Sub(c.epoch)) }

// Input takes what TCP delivered: parts of messages, or several at once.
func (c *Conn) Input(now time.Time, b []byte) (Step, error) {
	var s Step
	if c.state == StateClosed {
		return s, ErrClosed
	}
	c.enter(now)
	for len(b) > 0 && c.state != StateClosed {
		m, n, err := c.next(b)
		b = b[n:]
		switch {
		case errors.Is(err, ErrShort):
			continue
		case err != nil && m == nil:
			c.malformed(&s, err)
			return s, err
		}
		if err := c.message(&s, m, err != nil); err != nil {
			return s, err
		}
	}
	return s, nil
}

// next takes octets from b until it has a message, counts what it took, and
// keeps the beginning of one that is not complete: whole messages are read
// where they lie.
func (c *Conn) next(b []byte) (m Message, n int, err error) {
	if len(c.buf) == 0 {
		m, n, err = Parse(b)
		if errors.Is(err, ErrShort) {
			n = len(b)
			c.buf = append(make([]byte, 0, maxMessage), b...)
		}
		return m, n, err
	}
	n = min(c.missing(), len(b))
	c.buf = append(c.buf, b[:n]...)
	m, _, err = Parse(c.buf)
	if !errors.Is(err, ErrShort) {
		c.buf = nil
	}
	return m, n, err
}

// missing counts the octets that buf wants next: those of the length field,
// then those of the message, which Parse has found to be a sane number.
func (c *Conn) missing() int {
	if len(c.buf) < lengthOctets {
		return lengthOctets - len(c.buf)
	}
	return int(binary.BigEndian.Uint16(c.buf)) - len(c.buf)
}

// malformed ends a connection whose stream cannot be read on. A wrong magic
// cookie is no PPTP and gets no answer (RFC 2637 §2: loss of synchronisation
// "must result in immediate closing"); a peer that speaks it badly is told.
func (c *Conn) malformed(s *Step, err error) {
	var length *lengthError
	switch {
	case errors.Is(err, ErrMagic):
	case c.state == StateUp:
		c.send(s, StopRequest{Reason: StopGeneral})
	case c.state == StateWaiting && errors.As(err, &length) && length.t == TypeStartRequest:
		c.send(s, StartReply{
			Version: Version, Result: StartGeneralError, Error: ErrorBadFormat,
			Identity: c.cfg.identity(),
		})
	}
	c.close(s, CauseMalformed)
}

// message handles one well-framed message.
func (c *Conn) message(s *Step, m Message, badValue bool) error {
	switch c.state {
	case StateWaiting, StateStarting:
		c.alive()
		return c.notStarted(s, m)
	case StateUp:
		c.started(s, m, badValue)
	case StateStopping:
		c.stopping(s, m)
	case StateClosed:
	}
	return nil
}

// alive notes a sign of life (RFC 2637 §3.1.4 counts any control message).
func (c *Conn) alive() { c.heard, c.asked = c.now, 0 }

// notStarted handles what comes before the connection is established.
func (c *Conn) notStarted(s *Step, m Message) error {
	switch m := m.(type) {
	case StartRequest:
		if c.role == client {
			// The peer wants to originate what we are originating already.
			c.send(s, StartReply{Version: Version, Result: StartExists, Identity: c.cfg.identity()})
			c.ignore(s, m, OutOfState)
			return nil
		}
		c.startRequest(s, m)
		return nil
	case StartReply:
		if c.role == client {
			c.startReply(s, m)
			return nil
		}
	case StopRequest:
		c.send(s, StopReply{Result: StopError, Error: ErrorNotConnected})
		c.event(s, Stopped(m))
		c.close(s, CausePeerStopped)
		return nil
	}
	c.notConnected(s, m)
	c.close(s, CauseNotStarted)
	return fmt.Errorf("%w: %s", ErrNotStarted, m.Type())
}

// notConnected answers a request that needs a control connection there is not
// (RFC 2637 §2.16, error 1).
func (c *Conn) notConnected(s *Step, m Message) {
	switch m := m.(type) {
	case EchoRequest:
		c.send(s, EchoReply{Identifier: m.Identifier, Result: EchoError, Error: ErrorNotConnected})
	case OutgoingCallRequest:
		c.send(s, OutgoingCallReply{PeerCallID: m.CallID, Result: CallGeneralError, Error: ErrorNotConnected})
	case IncomingCallRequest:
		c.send(s, IncomingCallReply{PeerCallID: m.CallID, Result: IncomingGeneralError, Error: ErrorNotConnected})
	case CallClearRequest:
		c.send(s, CallDisconnectNotify{Result: DisconnectGeneralError, Error: ErrorNotConnected})
	}
}

// up establishes the connection; without a call it will not last.
func (c *Conn) up(s *Step, version uint16, peer Identity) {
	c.state, c.limit = StateUp, 0
	c.watchIdle()
	c.event(s, Started{Version: version, Identity: peer})
}

// started handles a message on an established connection.
func (c *Conn) started(s *Step, m Message, badValue bool) {
	if r, ok := m.(EchoReply); ok {
		c.echoReply(s, r)
		return
	}
	c.alive()
	switch m := m.(type) {
	case StartRequest:
		c.send(s, StartReply{Version: Version, Result: StartExists, Identity: c.cfg.identity()})
		c.ignore(s, m, OutOfState)
	case StopRequest:
		c.send(s, StopReply{Result: StopOK})
		c.event(s, Stopped(m))
		c.close(s, CausePeerStopped)
	case EchoRequest:
		c.send(s, EchoReply{Identifier: m.Identifier, Result: EchoOK})
	case OutgoingCallRequest:
		c.outgoingCallRequest(s, m, badValue)
	case OutgoingCallReply:
		c.outgoingCallReply(s, m)
	case IncomingCallRequest:
		c.incomingCallRequest(s, m, badValue)
	case CallClearRequest:
		c.callClear(s, m)
	case CallDisconnectNotify:
		c.callDisconnect(s, m)
	case WANErrorNotify:
		if c.byOwn(m.PeerCallID) < 0 {
			c.ignore(s, m, UnknownCall)
			return
		}
		c.event(s, WANError{CallID: m.PeerCallID, WANErrors: m.WANErrors})
	case SetLinkInfo:
		if c.byOwn(m.PeerCallID) < 0 {
			c.ignore(s, m, UnknownCall)
			return
		}
		c.event(s, LinkInfo{CallID: m.PeerCallID, SendACCM: m.SendACCM, RecvACCM: m.RecvACCM})
	case Unknown:
		if m.Management {
			c.ignore(s, m, NotControl)
			return
		}
		c.ignore(s, m, NotDefined)
	default: // SCCRP, StopCCRP, ICRP, ICCN: answers to nothing we asked
		c.ignore(s, m, OutOfState)
	}
}

// stopping waits for the answer to our StopCCRQ; calls are gone already.
func (c *Conn) stopping(s *Step, m Message) {
	switch m := m.(type) {
	case StopRequest: // both stop at once
		c.send(s, StopReply{Result: StopOK})
		c.event(s, Stopped(m))
		c.close(s, c.why)
	case StopReply:
		c.close(s, c.why)
	case EchoRequest:
		c.send(s, EchoReply{Identifier: m.Identifier, Result: EchoOK})
	case OutgoingCallRequest, IncomingCallRequest:
		c.notConnected(s, m)
		c.ignore(s, m, OutOfState)
	default:
		c.ignore(s, m, OutOfState)
	}
}

// echoReply takes an answer to our Echo-Request, which may come after another
// message has already proved the peer alive: two ends with the same interval
// ask at the same time. A reply with another identifier is odd, but comes from
// a living peer; one with an error says that the peer knows no such connection,
// and lets the timer run.
func (c *Conn) echoReply(s *Step, m EchoReply) {
	if m.Result != EchoOK {
		c.ignore(s, m, BadEcho)
		return
	}
	if c.echoID == 0 || m.Identifier != c.echoID {
		c.ignore(s, m, BadEcho)
	}
	c.alive()
}

// incomingCallRequest refuses: nobody dials in through us (RFC 2637 §2.10).
func (c *Conn) incomingCallRequest(s *Step, m IncomingCallRequest, badValue bool) {
	if badValue {
		c.send(s, IncomingCallReply{PeerCallID: m.CallID, Result: IncomingGeneralError, Error: ErrorBadValue})
		c.ignore(s, m, BadValue)
		return
	}
	c.send(s, IncomingCallReply{PeerCallID: m.CallID, Result: IncomingDoNotAccept})
	c.event(s, IncomingCall{PeerCallID: m.CallID, Dialed: m.Dialed, Dialing: m.Dialing})
}

// callClear ends a call at the peer's wish and confirms it (RFC 2637 §2.12,
// §3.2.3). A call not answered yet has no ID of ours to confirm with: zero.
func (c *Conn) callClear(s *Step, m CallClearRequest) {
	i := c.byPeer(m.CallID)
	if i < 0 {
		c.send(s, CallDisconnectNotify{Result: DisconnectGeneralError, Error: ErrorBadCallID})
		c.ignore(s, m, UnknownCall)
		return
	}
	k := c.calls[i]
	c.send(s, CallDisconnectNotify{CallID: k.own, Result: DisconnectRequest})
	c.dropCall(i)
	c.event(s, CallClear{PeerCallID: k.peer, CallID: k.own, Answered: k.haveOwn})
}

// callDisconnect takes note that a call has ended. CDN carries its sender's
// ID (RFC 2637 §2.13).
func (c *Conn) callDisconnect(s *Step, m CallDisconnectNotify) {
	i := c.byPeer(m.CallID)
	if i < 0 && c.role == client {
		i = c.disconnected(m)
	}
	if i < 0 {
		c.ignore(s, m, UnknownCall)
		return
	}
	k := c.calls[i]
	c.dropCall(i)
	c.event(s, CallDisconnect{
		PeerCallID: k.peer, CallID: k.own,
		Result: m.Result, Error: m.Error, Cause: m.Cause, Statistics: m.Statistics,
	})
}

// Stop closes the control connection and all its calls: StopCCRQ, then Close
// once it is answered, or after StopTimeout. Where nothing has started there is
// nothing to stop, and the Step closes at once.
func (c *Conn) Stop(now time.Time, reason StopReason) Step {
	var s Step
	c.enter(now)
	switch c.state {
	case StateWaiting, StateStarting:
		c.close(&s, CauseStopped)
	case StateUp:
		c.stop(&s, reason, CauseStopped)
	case StateStopping, StateClosed:
	}
	return s
}

func (c *Conn) stop(s *Step, reason StopReason, why Cause) {
	if reason == StopReasonUnknown {
		reason = StopGeneral
	}
	c.send(s, StopRequest{Reason: reason})
	c.state, c.why, c.calls = StateStopping, why, nil
	c.limit = after(c.now, c.cfg.StopTimeout, DefaultStopTimeout)
}

// Timeout does what is due at now; called early, it does nothing.
func (c *Conn) Timeout(now time.Time) Step {
	var s Step
	c.enter(now)
	late := c.limit != 0 && c.now >= c.limit
	switch c.state {
	case StateWaiting, StateStarting:
		if late {
			c.close(&s, CauseStartTimeout)
		}
	case StateUp:
		switch echo := c.echoDue(); {
		case late:
			c.stop(&s, StopGeneral, CauseIdle)
		case echo == 0 || c.now < echo:
		case c.asked != 0:
			c.close(&s, CauseEchoTimeout)
		default:
			c.echoID++
			c.asked = c.now
			c.send(&s, EchoRequest{Identifier: c.echoID})
		}
	case StateStopping:
		if late {
			c.close(&s, c.why)
		}
	case StateClosed:
	}
	return s
}

// echoDue is when to ask for a sign of life or, having asked, to give up.
func (c *Conn) echoDue() time.Duration {
	if c.asked != 0 {
		return after(c.asked, c.cfg.EchoTimeout, DefaultEchoTimeout)
	}
	return after(c.heard, c.cfg.EchoInterval, DefaultEchoInterval)
}

// Deadline is when Timeout has something to do; zero: never, until something
// else happens.
func (c *Conn) Deadline() time.Time {
	due := c.limit
	if c.state == StateUp {
		if echo := c.echoDue(); echo != 0 && (due == 0 || echo < due) {
			due = echo
		}
	}
	if due == 0 || c.state == StateClosed {
		return time.Time{}
	}
	return c.epoch.Add(due)
}

func (c *Conn) close(s *Step, why Cause) {
	c.state, c.buf, c.calls = StateClosed, nil, nil
	s.Close, s.Why = true, why
}

func (c *Conn) send(s *Step, m Message) {
	if c.cfg.Rewrite != nil {
		if m = c.cfg.Rewrite(m); m == nil {
			return
		}
	}
	s.Send = m.Append(s.Send)
}

func (c *Conn) event(s *Step, e Event) { s.Events = append(s.Events, e) }

func (c *Conn) ignore(s *Step, m Message, why Oddity) {
	c.event(s, Ignored{Type: m.Type(), Why: why})
}
