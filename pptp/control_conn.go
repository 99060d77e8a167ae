package pptp

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"postern/pptp/control"
)

// controlConn is one TCP connection of RFC 2637 §2 and the calls on it. serve is its
// only reader; any goroutine may end a call.
type controlConn struct {
	node        *Node
	tcp         net.Conn
	peer, local netip.Addr
	log         *slog.Logger

	mu    sync.Mutex
	m     *control.Conn
	calls map[uint16]*session // by our call ID
}

const (
	// readSize takes any message in one read.
	readSize = 512
	// writeWait bounds a write to a peer that does not read.
	writeWait = 5 * time.Second
	// lineSpeed is what we say of our line, in bit/s; nobody uses it.
	lineSpeed = 100_000_000
)

// serve reads until the connection is over. The calls on it go with it.
func (c *controlConn) serve() {
	start := time.Now()
	why := LostControl
	started := false
	defer func() {
		_ = c.tcp.Close()
		if !started {
			c.node.admission.Done(c.peer)
		}
		c.hangUp(why)
		c.log.Debug("control connection closed", "duration", time.Since(start).Round(time.Second))
	}()
	buf := make([]byte, readSize)
	for {
		c.mu.Lock()
		at := c.m.Deadline()
		c.mu.Unlock()
		if c.tcp.SetReadDeadline(at) != nil {
			return
		}
		k, err := c.tcp.Read(buf)
		now := time.Now()
		var st control.Step
		var bad error
		c.mu.Lock()
		if k > 0 {
			st, bad = c.m.Input(now, buf[:k])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			st, err = c.m.Timeout(now), nil
		}
		werr := c.write(st.Send)
		c.mu.Unlock()
		if bad != nil {
			c.log.Debug("control connection ended by its peer's message", "error", bad)
		}
		for _, e := range st.Events {
			switch e := e.(type) {
			case control.Started:
				started = true
				c.node.admission.Started(c.peer)
				c.log.Debug("control connection started", "host", e.HostName, "vendor", e.Vendor)
			case control.Stopped:
				why = PeerStopped
			default:
				c.event(now, e)
			}
		}
		if err != nil || werr != nil || bad != nil || st.Close {
			return
		}
	}
}

// write sends b. mu is held.
func (c *controlConn) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := c.tcp.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	_, err := c.tcp.Write(b)
	return err
}

// event does what a message asks for.
func (c *controlConn) event(now time.Time, e control.Event) {
	switch e := e.(type) {
	case control.CallRequest:
		c.node.call(c, now, e)
	case control.CallClear:
		c.end(e.CallID)
	case control.CallDisconnect:
		c.end(e.CallID)
	case control.LinkInfo:
		// The ACCM is for a line with byte stuffing; PPTP has none. Windows sends
		// three of these.
		c.log.Debug("set-link-info", "call", e.CallID, "send_accm", e.SendACCM, "recv_accm", e.RecvACCM)
	case control.WANError:
		c.log.Debug("wan-error-notify", "call", e.CallID)
	case control.Ignored:
		c.node.metrics.oddities.WithLabelValues(e.Why.String()).Inc()
		c.log.Debug("control message ignored", "type", e.Type.String(), "why", e.Why.String())
	case control.IncomingCall:
		c.log.Debug("incoming call refused", "call", e.PeerCallID)
	case control.Started, control.Stopped, control.Refused, control.CallReply:
	}
}

// accept answers a call request.
func (c *controlConn) accept(now time.Time, s *session) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[s.callID] = s
	return c.write(c.m.AcceptCall(now, s.peerCallID, s.callID, 0, lineSpeed).Send)
}

// refuse answers a call request with a no.
func (c *controlConn) refuse(now time.Time, peerCallID uint16, r control.CallResult, code control.ErrorCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.write(c.m.RefuseCall(now, peerCallID, r, code).Send); err != nil {
		c.log.Debug("call refusal not sent", "error", err)
	}
}

// take removes a call, and returns its session if it was there.
func (c *controlConn) take(callID uint16) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.calls[callID]
	delete(c.calls, callID)
	return s
}

// end is the peer's word that a call is over; it has been confirmed already.
func (c *controlConn) end(callID uint16) {
	if s := c.take(callID); s != nil {
		s.shard.enter()
		s.close(time.Now(), PeerCleared)
		s.shard.leave()
	}
}

// farewell tells the peer that we ended a call.
func (c *controlConn) farewell(now time.Time, callID uint16, why Cause) {
	if c.take(callID) == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.write(c.m.Disconnect(now, callID, why.info().result, why.info().ppp).Send)
	if err == nil { // the idle time begins now
		err = c.tcp.SetReadDeadline(c.m.Deadline())
	}
	if err != nil {
		c.log.Debug("call-disconnect-notify not sent", "error", err)
	}
}

// hangUp ends every call: the connection is gone.
func (c *controlConn) hangUp(why Cause) {
	c.mu.Lock()
	left := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, s := range left {
		now := s.shard.enter()
		s.close(now, why)
		s.shard.leave()
	}
}

// stop ends the connection from our side.
func (c *controlConn) stop(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.write(c.m.Stop(now, control.StopShutdown).Send) == nil {
		_ = c.tcp.SetReadDeadline(c.m.Deadline())
	}
}
