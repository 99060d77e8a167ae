package control

import (
	"slices"
	"time"
)

// NewClient makes the machine of a TCP connection that was just dialled; the
// Step carries SCCRQ.
func NewClient(cfg *Config, now time.Time) (*Conn, Step) {
	c := newConn(cfg, now, client, StateStarting)
	var s Step
	c.send(&s, StartRequest{Version: Version, Identity: cfg.identity()})
	return c, s
}

// startReply takes the server's answer. A version that is not ours is stopped
// with the reason for it (RFC 2637 §3.1.1).
func (c *Conn) startReply(s *Step, m StartReply) {
	switch {
	case m.Result != StartOK:
		c.event(s, Refused{Result: m.Result, Error: m.Error})
		c.close(s, CausePeerRefused)
	case m.Version != Version:
		c.stop(s, StopProtocol, CauseVersion)
	default:
		c.up(s, m.Version, m.Identity)
	}
}

// Call asks the server for a call, with what a usual client says of its line.
// The answer is a CallReply event.
func (c *Conn) Call(now time.Time, callID, serial, window uint16) Step {
	return c.CallWith(now, OutgoingCallRequest{
		CallID: callID, Serial: serial,
		MinBPS: defaultMinBPS, MaxBPS: defaultMaxBPS,
		Bearer: BearerAny, Framing: FramingAny,
		Window: c.cfg.window(window),
	})
}

// CallWith is Call with every field of the request chosen. A call that cannot
// even be asked for is answered by a CallReply of our own, so that the caller
// has one place to look.
func (c *Conn) CallWith(now time.Time, m OutgoingCallRequest) Step {
	var s Step
	c.enter(now)
	code := ErrorNone
	switch {
	case c.state != StateUp || c.role != client:
		code = ErrorNotConnected
	case c.byOwn(m.CallID) >= 0:
		code = ErrorBadCallID
	case len(c.calls) >= c.cfg.maxCalls():
		code = ErrorNoResource
	}
	if code != ErrorNone {
		c.event(&s, CallReply{CallID: m.CallID, Result: CallGeneralError, Error: code})
		return s
	}
	c.addCall(call{own: m.CallID, haveOwn: true, state: callPending})
	c.send(&s, m)
	return s
}

// outgoingCallReply takes the server's answer to our call.
func (c *Conn) outgoingCallReply(s *Step, m OutgoingCallReply) {
	if c.role == server {
		c.ignore(s, m, WrongRole)
		return
	}
	i := c.byOwn(m.PeerCallID)
	if i < 0 {
		c.ignore(s, m, UnknownCall)
		return
	}
	k := &c.calls[i]
	if k.state == callUp || k.havePeer { // answered before
		c.ignore(s, m, OutOfState)
		return
	}
	e := CallReply{
		CallID: k.own, Result: m.Result, Error: m.Error, Cause: m.Cause,
		Speed: m.Speed, Window: m.Window, Delay: m.Delay, Channel: m.Channel,
	}
	if m.Result != CallConnected {
		c.dropCall(i)
		c.event(s, e)
		return
	}
	if c.byPeer(m.CallID) >= 0 { // two calls cannot have one ID
		c.send(s, CallClearRequest{CallID: k.own})
		c.dropCall(i)
		e.Result, e.Error = CallGeneralError, ErrorBadCallID
		c.event(s, e)
		return
	}
	k.peer, k.havePeer = m.CallID, true
	if k.state == callClearing { // the yes and our Clear have crossed; CDN follows
		return
	}
	k.state = callUp
	e.PeerCallID = m.CallID
	c.event(s, e)
}

// Clear ends a call: CCRQ. CallDisconnect follows when the server confirms.
func (c *Conn) Clear(now time.Time, callID uint16) Step {
	var s Step
	c.enter(now)
	i := c.byOwn(callID)
	if i < 0 || c.role != client || c.calls[i].state == callClearing {
		return s
	}
	k := c.calls[i]
	k.state = callClearing
	// To the end of the table: see disconnected.
	c.calls = append(slices.Delete(c.calls, i, i+1), k)
	c.send(&s, CallClearRequest{CallID: callID})
	c.watchIdle()
	return s
}

// SetLinkInfo tells the server the control character maps of a call that is
// up.
func (c *Conn) SetLinkInfo(now time.Time, callID uint16, sendACCM, recvACCM uint32) Step {
	var s Step
	c.enter(now)
	i := c.byOwn(callID)
	if i < 0 || c.role != client || c.calls[i].state != callUp {
		return s
	}
	c.send(&s, SetLinkInfo{PeerCallID: c.calls[i].peer, SendACCM: sendACCM, RecvACCM: recvACCM})
	return s
}

// disconnected finds the call that a CDN means whose ID is not the server's
// ID of any call: accel-ppp puts our ID there, and a server that had not yet
// answered a call has none to confirm our Clear with and sends zero, as ours
// does. A zero with "bad call ID" means no call: there, Clear and the server's
// own CDN have crossed. A right zero means the call whose Clear was sent first
// of those unanswered: the server answers in order, and the table has calls
// that are being cleared in that order.
func (c *Conn) disconnected(m CallDisconnectNotify) int {
	if m.CallID != 0 {
		return c.byOwn(m.CallID)
	}
	if m.Error == ErrorBadCallID {
		return -1
	}
	return slices.IndexFunc(c.calls, func(k call) bool { return k.state == callClearing && !k.havePeer })
}
