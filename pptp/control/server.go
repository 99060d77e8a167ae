package control

import "time"

// NewServer makes the machine of a TCP connection that was just accepted.
func NewServer(cfg *Config, now time.Time) *Conn {
	return newConn(cfg, now, server, StateWaiting)
}

// Refuse makes the answer to the client's SCCRQ a refusal, and its end. It
// waits for the request, because closing a TCP connection whose input has not
// been read resets it, and the client would never see why. A connection that
// is up already is stopped instead.
func (c *Conn) Refuse(now time.Time, result StartResult, code ErrorCode) Step {
	if c.state != StateWaiting {
		return c.Stop(now, StopGeneral)
	}
	if result == StartResultUnknown || result == StartOK {
		result = StartGeneralError
	}
	if result == StartGeneralError {
		code = code.orPAC()
	}
	c.enter(now)
	c.refuse, c.refuseError = result, code
	return Step{}
}

// startRequest answers SCCRQ. The only version there ever was is 1.0; anything
// else is answered by result 5 and our version.
func (c *Conn) startRequest(s *Step, m StartRequest) {
	reply := StartReply{Version: Version, Result: StartOK, Identity: c.cfg.identity()}
	why := CauseNone
	switch {
	case m.Version != Version:
		reply.Result, why = StartBadVersion, CauseVersion
	case c.refuse != StartResultUnknown:
		reply.Result, reply.Error, why = c.refuse, c.refuseError, CauseRefused
	}
	c.send(s, reply)
	if why != CauseNone {
		c.close(s, why)
		return
	}
	c.up(s, m.Version, m.Identity)
}

// outgoingCallRequest enters the call and asks our owner, or refuses.
func (c *Conn) outgoingCallRequest(s *Step, m OutgoingCallRequest, badValue bool) {
	refusal := OutgoingCallReply{PeerCallID: m.CallID, Result: CallGeneralError}
	var why Oddity
	switch {
	case c.role == client: // nobody dials out through a client
		refusal.Result, why = CallDoNotAccept, WrongRole
	case badValue:
		refusal.Error, why = ErrorBadValue, BadValue
	case c.byPeer(m.CallID) >= 0:
		refusal.Error, why = ErrorBadCallID, DuplicateCall
	case len(c.calls) >= c.cfg.maxCalls():
		refusal.Error, why = ErrorNoResource, TooManyCalls
	default:
		c.addCall(call{peer: m.CallID, havePeer: true, state: callPending})
		c.event(s, CallRequest{
			PeerCallID: m.CallID, Serial: m.Serial,
			MinBPS: m.MinBPS, MaxBPS: m.MaxBPS,
			Bearer: m.Bearer, Framing: m.Framing,
			Window: m.Window, Delay: m.Delay,
			Phone: m.Phone, Subaddress: m.Subaddress,
		})
		return
	}
	c.send(s, refusal)
	c.ignore(s, m, why)
}

// pending finds an unanswered call; -1: none, because the peer has cleared it
// or the connection is over, and there is nothing to answer any more.
func (c *Conn) pending(peerCallID uint16) int {
	i := c.byPeer(peerCallID)
	if i >= 0 && c.calls[i].state != callPending {
		return -1
	}
	return i
}

// AcceptCall answers a CallRequest: connected. callID is ours, unique in the
// node, and what the client's GRE packets will carry.
func (c *Conn) AcceptCall(now time.Time, peerCallID, callID, window uint16, speed uint32) Step {
	var s Step
	c.enter(now)
	i := c.pending(peerCallID)
	if i < 0 {
		return s
	}
	k := &c.calls[i]
	k.own, k.haveOwn, k.state = callID, true, callUp
	c.send(&s, OutgoingCallReply{
		CallID: callID, PeerCallID: peerCallID, Result: CallConnected,
		Speed: speed, Window: c.cfg.window(window), Channel: uint32(callID),
	})
	return s
}

// RefuseCall answers a CallRequest: no. The code says why when the result is
// CallGeneralError.
func (c *Conn) RefuseCall(now time.Time, peerCallID uint16, result CallResult, code ErrorCode) Step {
	var s Step
	c.enter(now)
	i := c.pending(peerCallID)
	if i < 0 {
		return s
	}
	if result == CallResultUnknown || result == CallConnected {
		result = CallGeneralError
	}
	if result == CallGeneralError {
		code = code.orPAC()
	}
	c.send(&s, OutgoingCallReply{PeerCallID: peerCallID, Result: result, Error: code})
	c.dropCall(i)
	return s
}

// Disconnect ends an accepted call from our side: CDN. A general error is the
// PAC's own (RFC 2637 §2.16, error 6). cause is Q.931's, 0 for none.
func (c *Conn) Disconnect(now time.Time, callID uint16, result DisconnectResult, cause uint16) Step {
	var s Step
	c.enter(now)
	i := c.byOwn(callID)
	if i < 0 || c.role != server {
		return s
	}
	m := CallDisconnectNotify{CallID: callID, Result: result, Cause: cause}
	if result == DisconnectGeneralError || result == DisconnectUnknown {
		m.Result, m.Error = DisconnectGeneralError, ErrorPAC
	}
	c.send(&s, m)
	c.dropCall(i)
	return s
}
