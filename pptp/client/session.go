package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"postern/internal/mschap"
	"postern/pptp/chap"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
)

// phase is where a session stands: RFC 2637's call, then RFC 1661 §3.2's phases.
type phase uint8

const (
	phaseCall      phase = iota // control connection and call
	phaseLink                   // LCP
	phaseAuth                   // CHAP
	phaseNetwork                // CCP and IPCP
	phaseUp                     // IP passes
	phaseTerminate              // LCP is closing; the end has been decided
	phaseClear                  // the call is being cleared
	phaseGone                   // out of every table
)

var phaseNames = [...]string{"call", "LCP", "authentication", "network", "up", "terminate", "clear", "gone"}

func (p phase) String() string { return phaseNames[p] }

const (
	// closeWait is how long the server has for each of its answers at the end.
	closeWait = 2 * time.Second

	// settleWait is how long IP waits for an optional CCP. Packets that were sent in
	// the clear while the server arms its decryptor would end the session there.
	settleWait = 3 * time.Second

	// maxEarly bounds what is kept of a server that begins PPP before its
	// Outgoing-Call-Reply has come: GRE overtakes TCP.
	maxEarly = 4

	// maxRejects bounds the Protocol-Rejects of a session.
	maxRejects = 32
)

// Session is one call and the PPP link on it. Its methods may be called from any
// goroutine.
type Session struct {
	host   *Host
	line   *line
	cfg    *Config
	q      *habits
	log    *slog.Logger
	callID uint16

	ready chan struct{} // closed when IP passes for the first time
	done  chan struct{} // closed when it is over, err being set

	mu         sync.Mutex
	phase      phase
	err        error // why it ends or ended
	peerCallID uint16
	mtu        int // the largest inner packet

	timer   *time.Timer
	armed   time.Time // when timer fires; zero: not running
	closeBy time.Time
	backBy  time.Time // IPCP went down: until when it may come back
	settle  time.Time // see settleWait
	ackAt   time.Time

	window  gre.Window
	frameFn func([]byte) // the frame method, bound once
	early   []earlyPacket
	rx      *rxBatch // of whoever holds mu
	seq     uint32   // of the next packet we send
	unacked int
	acked   bool   // nothing received waits for an acknowledgement
	late    []byte // a packet that leaves behind its successor
	lateAt  time.Time
	ids     runningIDs

	lcp     *ppp.LCP
	chap    *chap.Peer
	ccp     *ppp.CCP // nil: not wanted
	ipcp    *ppp.IPCP
	noCCP   bool // CCP came to nothing
	rejects int

	acfc, pfc        bool
	linked           bool // Reached knows
	changed          bool // the server was sent a new password
	sendKey, recvKey [16]byte
	sealer           *mppe.Sealer
	opener           *mppe.Opener
	openerBits       ppp.MPPEBits

	local, peer netip.Addr
	dns         []netip.Addr

	deliver    func([][]byte)
	delivering sync.Mutex // the reader and the timer take turns; taken without mu
	pings      map[uint16]*ping
	pingSeq    uint16
	stats      Stats
}

type earlyPacket struct {
	seq     uint32
	payload []byte
}

func newSession(h *Host, l *line, c *Config, callID uint16) *Session {
	q := c.Quirk.habits()
	s := &Session{
		host: h, line: l, cfg: c, q: q, log: c.Log, callID: callID,
		ready: make(chan struct{}), done: make(chan struct{}), acked: true, seq: q.firstSeq, mtu: c.MTU,
	}
	if c.Log != discard {
		s.log = c.Log.With("call", callID, "peer", c.Server.Addr())
	}
	s.frameFn = s.frame
	if c.Deliver != nil {
		s.deliver = func(ips [][]byte) {
			for _, ip := range ips {
				c.Deliver(ip)
			}
		}
	}
	s.timer = time.AfterFunc(time.Hour, s.fire)
	s.timer.Stop()
	return s
}

// await waits for a session to come up or to fail.
func (s *Session) await(ctx context.Context) (*Session, error) {
	select {
	case <-s.ready:
		return s, nil
	case <-s.done:
	case <-ctx.Done():
		s.mu.Lock()
		err := s.err // decided already; the server is only slow to say goodbye
		if err == nil {
			err = fmt.Errorf("no session, %s did not end: %w", s.phase, context.Cause(ctx))
		}
		s.mu.Unlock()
		s.abandon(err)
	}
	select {
	case <-s.ready: // both at once: the caller gets to see that it was up
		return s, nil
	default:
		return nil, s.Err()
	}
}

// enter and leave enclose whatever may deliver packets, which leave does without the
// lock.
func (s *Session) enter(b *rxBatch) {
	s.mu.Lock()
	s.rx = b
}

func (s *Session) leave(b *rxBatch) {
	s.rx = nil
	deliver := s.deliver
	s.mu.Unlock()
	if len(b.ips) == 0 {
		return
	}
	if deliver != nil {
		s.delivering.Lock()
		deliver(b.ips)
		s.delivering.Unlock()
	}
	clear(b.ips)
	b.ips = b.ips[:0]
}

// fire is the timer's.
func (s *Session) fire() {
	b := &rxBatch{}
	s.enter(b)
	s.armed = time.Time{}
	s.timeout(time.Now())
	s.leave(b)
}

// wake sees to it that fire runs at that time or before. Zero: never mind.
func (s *Session) wake(now, at time.Time) {
	if at.IsZero() || s.phase == phaseGone || !s.armed.IsZero() && !at.Before(s.armed) {
		return
	}
	s.armed = at
	s.timer.Reset(max(at.Sub(now), 0))
}

// arm is wake for the earliest of everything the session waits for.
func (s *Session) arm(now time.Time) {
	for _, t := range [...]time.Time{s.closeBy, s.backBy, s.settle, s.ackAt, s.lateAt, s.window.Deadline()} {
		s.wake(now, t)
	}
	if s.lcp != nil {
		s.wake(now, s.lcp.Deadline())
	}
	if s.chap != nil {
		s.wake(now, s.chap.Deadline())
	}
	if s.ccp != nil {
		s.wake(now, s.ccp.Deadline())
	}
	if s.ipcp != nil {
		s.wake(now, s.ipcp.Deadline())
	}
}

func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// timeout does what is due.
func (s *Session) timeout(now time.Time) {
	if due(now, s.lateAt) {
		s.sendLate()
	}
	if due(now, s.ackAt) {
		s.sendAck()
	}
	if due(now, s.window.Deadline()) {
		before, any := s.window.Highest()
		s.window.Timeout(now, s.frameFn)
		s.afterReceive(now, before, any)
	}
	switch {
	case s.phase == phaseGone:
		return
	case due(now, s.closeBy) && s.phase == phaseTerminate:
		s.clear(now)
	case due(now, s.closeBy):
		s.gone(now, nil)
		return
	case due(now, s.backBy):
		s.end(now, fmt.Errorf("%w: %s did not come back", ErrLink, ppp.ProtoIPCP))
	case due(now, s.settle):
		s.settle = time.Time{}
		s.noCCP = true
		s.tryUp(now)
	}
	if s.lcp != nil && due(now, s.lcp.Deadline()) {
		s.lcpStep(now, s.lcp.Timeout(now))
	}
	if s.chap != nil && due(now, s.chap.Deadline()) {
		s.chapStep(now, s.chap.Timeout(now))
	}
	if s.ccp != nil && due(now, s.ccp.Deadline()) {
		s.ccpStep(now, s.ccp.Timeout(now))
	}
	if s.ipcp != nil && due(now, s.ipcp.Deadline()) {
		s.ipcpStep(now, s.ipcp.Timeout(now))
	}
	s.arm(now)
}

// callReply begins the link, or ends the session.
func (s *Session) callReply(now time.Time, e control.CallReply) {
	b := &rxBatch{}
	s.enter(b)
	defer s.leave(b)
	if s.phase != phaseCall {
		return
	}
	if e.Result != control.CallConnected {
		s.gone(now, &CallRefusedError{e.Result, e.Error})
		return
	}
	s.peerCallID = e.PeerCallID
	s.phase = phaseLink
	s.cfg.reached(Called, now)
	if s.q.linkInfo {
		s.line.linkInfo(now, s, everyControlCharacter, everyControlCharacter)
	}
	echo := max(s.cfg.EchoInterval, 0)
	s.lcp = ppp.NewLCP(ppp.LCPConfig{
		MRU: uint16(s.cfg.MTU), ACCM: s.q.accm, PFC: true, ACFC: true,
		Accept: []ppp.Auth{ppp.AuthMSCHAPv2}, AskCallback: s.q.callback,
		EchoInterval: echo, EchoFailures: echoFailures,
	})
	s.lcpStep(now, s.lcp.Open(now))
	s.lcpStep(now, s.lcp.LowerUp(now))
	for _, p := range s.early {
		s.receive(now, p.seq, p.payload)
	}
	s.early = nil
	s.arm(now)
}

// everyControlCharacter is the ACCM of a line that nothing is known of.
const everyControlCharacter = 0xFFFFFFFF

// lcpStep does what LCP wants done.
func (s *Session) lcpStep(now time.Time, st ppp.Step) {
	s.send(now, &st)
	for _, e := range st.Events {
		if s.phase == phaseGone {
			return
		}
		switch e.Kind {
		case ppp.Up:
			s.linkUp(now)
		case ppp.Down:
			s.linkDown(now)
		case ppp.Dead:
			s.end(now, ErrSilent)
		case ppp.Refused:
			s.end(now, linkError(ppp.ProtoLCP, e.Reason))
		case ppp.PeerTerminate:
			s.terminated(now, e.Text)
		case ppp.Finished:
			if s.phase < phaseTerminate {
				s.fail(linkError(ppp.ProtoLCP, e.Reason))
			}
			s.clear(now)
		case ppp.PeerProtocolReject:
			s.protocolRejected(now, e.Proto)
		case ppp.PeerIdentification, ppp.PeerTimeRemaining:
			s.log.Debug("server says", "layer", "lcp", "text", e.Text)
		case ppp.LoopDetected, ppp.EventUnknown, ppp.ResetRequest, ppp.RepeatedRequest:
		}
	}
}

// linkUp waits for the server's challenge.
func (s *Session) linkUp(now time.Time) {
	if s.phase != phaseLink {
		return
	}
	r := s.lcp.Results()
	if r.PeerAuth != ppp.AuthMSCHAPv2 {
		s.end(now, ErrAuthMethod)
		return
	}
	s.acfc, s.pfc = r.SendACFC, r.SendPFC
	s.mtu = min(s.cfg.MTU, int(r.PeerMRU))
	s.phase = phaseAuth
	if !s.linked { // a server may negotiate anew before the login
		s.linked = true
		s.cfg.reached(Linked, now)
	}
	s.chap = chap.NewPeer(chap.PeerConfig{Name: s.cfg.User, Password: s.cfg.Password, NTHash: s.cfg.NTHash})
	s.chapStep(now, s.chap.Start(now))
	if s.q.echo {
		s.lcpStep(now, s.lcp.Echo(now))
	}
	if s.q.identify {
		s.identify(now)
	}
}

// identify is what Windows says of itself: its version, its name, and 16 octets of
// which nobody knows what they mean.
func (s *Session) identify(now time.Time) {
	computer := s.cfg.Computer
	if computer == "" {
		computer = "DESKTOP"
	}
	for _, text := range [...]string{"MSRASV5.20", "MSRAS-0-" + computer, "\x8d\x0f\x1a\x5c\x93\xe2\x44\x4b\x9e\x07\xd1\xff\x00\x38\x71\xc6"} {
		s.lcpStep(now, s.lcp.Identify(text))
	}
}

// linkDown: the server negotiates anew. After the login that would be a second login.
func (s *Session) linkDown(now time.Time) {
	switch s.phase {
	case phaseAuth:
		s.phase, s.chap = phaseLink, nil
	case phaseNetwork, phaseUp:
		if st := s.lcp.State(); st == ppp.Stopping || st == ppp.Closing {
			return // its own event follows
		}
		s.end(now, &EndedError{How: EndRenegotiated})
	case phaseCall, phaseLink, phaseTerminate, phaseClear, phaseGone:
	}
}

// terminated: the server has said why it ends the link and will disconnect the call.
func (s *Session) terminated(now time.Time, text string) {
	if s.phase >= phaseTerminate {
		return
	}
	s.fail(&EndedError{How: EndTerminated, Text: text})
	s.phase, s.closeBy = phaseTerminate, now.Add(closeWait)
}

// protocolRejected tells a protocol's machine that the server does not speak it.
func (s *Session) protocolRejected(now time.Time, p ppp.Proto) {
	switch {
	case p == ppp.ProtoCCP && s.ccp != nil:
		s.ccpStep(now, s.ccp.Rejected(now))
	case p == ppp.ProtoIPCP && s.ipcp != nil:
		s.ipcpStep(now, s.ipcp.Rejected(now))
	case p == ppp.ProtoCHAP:
		s.end(now, ErrAuthMethod)
	}
}

// chapStep does what CHAP wants done.
func (s *Session) chapStep(now time.Time, st chap.Step) {
	if st.Send != nil {
		s.sendPPP(now, ppp.Packet{Proto: ppp.ProtoCHAP, Data: st.Send})
	}
	switch e := st.Event.(type) {
	case chap.Succeeded:
		master := mschap.MasterKey(&e.HashHash, &e.NTResponse)
		s.sendKey, s.recvKey = mschap.StartKeys(&master, false)
		s.chap, s.cfg.Password, s.cfg.NTHash, s.cfg.NewPassword = nil, "", nil, "" // needed no more; nobody else reads them
		s.network(now)
	case chap.Failed:
		if s.changePassword(now, &e) {
			return
		}
		s.chap = nil
		switch e.Reason {
		case chap.Rejected:
			s.end(now, &RefusedError{e.Error, e.Text})
		case chap.Impostor:
			s.end(now, ErrImpostor)
		default:
			s.end(now, fmt.Errorf("%w: %s: %s", ErrLink, ppp.ProtoCHAP, e.Reason))
		}
	}
}

// changePassword answers an expired password with the new one, if there is one and
// the server takes it.
func (s *Session) changePassword(now time.Time, why *chap.Failed) bool {
	if why.Error.Code != mschap.ErrorPasswordExpired || s.cfg.NewPassword == "" {
		return false
	}
	st := s.chap.Change(now, s.cfg.NewPassword)
	switch {
	case errors.Is(st.Err, chap.ErrState): // the server changes none
		return false
	case st.Err != nil:
		s.chap = nil
		s.end(now, st.Err)
		return true
	}
	s.changed = true
	s.chapStep(now, st)
	return true
}

// network begins the network phase: both sides have proved who they are.
func (s *Session) network(now time.Time) {
	s.phase = phaseNetwork
	s.cfg.reached(LoggedIn, now)
	if s.q.linkInfo {
		s.line.linkInfo(now, s, s.lcp.Results().PeerACCM, 0)
	}
	timer := ppp.Timer{RTT: s.lcp.Results().RTT}
	s.ipcp = ppp.NewIPCP(ppp.IPCPConfig{Timer: timer, Client: true, WantDNS: true, WantNBNS: s.q.nbns})
	if s.cfg.MPPE.Use != Off {
		s.ccp = ppp.NewCCP(ppp.CCPConfig{
			Timer: timer, Require: s.cfg.MPPE.Use == Required, Allow: s.cfg.MPPE.Strengths, Quirk: s.q.ccp,
			AllowStateful: s.cfg.MPPE.Stateful != StatefulNo, AskStateful: s.cfg.MPPE.Stateful == StatefulAsk,
		})
	}
	if s.q.ipv6cp {
		s.sendRaw(now, ppp.ProtoIPV6CP, ipv6cpRequest)
	}
	s.ipcpStep(now, s.ipcp.Open(now))
	if s.ccp == nil || s.q.ipcpFirst || s.cfg.MPPE.Use != Required {
		s.ipcpStep(now, s.ipcp.LowerUp(now))
	}
	if s.ccp != nil {
		s.ccpStep(now, s.ccp.Open(now))
		s.ccpStep(now, s.ccp.LowerUp(now))
	}
}

// Requests for protocols of which we only want to see the refusal: an interface
// identifier (RFC 5072 §4.1); Apple's routes and domains, version 1.
var (
	ipv6cpRequest = []byte{1, 1, 0, 14, 1, 10, 0x1c, 0x5e, 0x2a, 0x83, 0x90, 0x4d, 0x77, 0xb1}
	acscpRequest  = []byte{1, 1, 0, 16, 1, 6, 1, 0, 0, 0, 2, 6, 1, 0, 0, 0}
)

// ccpStep does what CCP wants done, in Step's order: the decryptor stands before the
// acknowledgement leaves that lets the server encrypt.
func (s *Session) ccpStep(now time.Time, st ppp.Step) {
	if st.Down() {
		s.opener, s.openerBits, s.sealer = nil, 0, nil
	}
	if b := st.RecvReady; b != 0 && b != s.openerBits {
		s.opener, s.openerBits = mppe.NewOpener(&s.recvKey, mppeParams(b)), b
	}
	s.send(now, &st)
	for _, e := range st.Events {
		if s.phase == phaseGone {
			return
		}
		switch e.Kind {
		case ppp.Up:
			s.encrypted(now)
		case ppp.Down:
			s.unsettled(now)
		case ppp.Refused:
			s.end(now, linkError(ppp.ProtoCCP, e.Reason))
		case ppp.Finished:
			s.noCCP = true
			s.tryUp(now)
		case ppp.ResetRequest:
			if s.sealer != nil {
				s.sealer.Reset()
			}
		case ppp.RepeatedRequest, ppp.PeerTerminate, ppp.EventUnknown, ppp.Dead, ppp.LoopDetected,
			ppp.PeerIdentification, ppp.PeerTimeRemaining, ppp.PeerProtocolReject:
		}
	}
}

// unsettled: encryption is negotiated anew, and packets wait for it.
func (s *Session) unsettled(now time.Time) {
	if s.cfg.MPPE.Use == Required {
		s.ipcpStep(now, s.ipcp.LowerDown(now))
		return
	}
	if s.noCCP = false; s.phase == phaseUp {
		s.phase, s.settle = phaseNetwork, now.Add(settleWait)
	}
}

// encrypted: CCP has opened, in both directions or in one.
func (s *Session) encrypted(now time.Time) {
	r := s.ccp.Results()
	if r.SendBits != 0 {
		s.sealer = mppe.NewSealer(&s.sendKey, mppeParams(r.SendBits))
	}
	s.log.Debug("encryption agreed", "layer", "ccp", "send", r.SendBits.String(), "recv", r.RecvBits.String())
	if s.q.acscp {
		s.sendRaw(now, ppp.ProtoACSCP, acscpRequest)
	}
	if s.cfg.MPPE.Use == Required {
		s.ipcpStep(now, s.ipcp.LowerUp(now)) // without effect where IPCP came first
	}
	if s.q.repeatCCP {
		s.ccpStep(now, s.ccp.Repeat())
	}
	s.tryUp(now)
}

// mppeParams turns CCP's bits into a cipher's.
func mppeParams(b ppp.MPPEBits) mppe.Params {
	p := mppe.Params{Strength: mppe.Bits128, Stateless: b.Stateless()}
	switch b.Strongest() {
	case ppp.MPPE56:
		p.Strength = mppe.Bits56
	case ppp.MPPE40:
		p.Strength = mppe.Bits40
	default:
	}
	return p
}

// ipcpStep does what IPCP wants done.
func (s *Session) ipcpStep(now time.Time, st ppp.Step) {
	s.send(now, &st)
	for _, e := range st.Events {
		if s.phase == phaseGone {
			return
		}
		switch e.Kind {
		case ppp.Up:
			r := s.ipcp.Results()
			s.local, s.peer, s.dns = r.Local, r.Peer, r.DNS
			s.tryUp(now)
		case ppp.Down:
			if s.phase == phaseUp {
				s.phase, s.backBy = phaseNetwork, now.Add(DefaultTimeout)
			}
		case ppp.Refused:
			s.end(now, linkError(ppp.ProtoIPCP, e.Reason))
		case ppp.Finished:
			if e.Reason != ppp.ClosedByUs {
				s.end(now, linkError(ppp.ProtoIPCP, e.Reason))
			}
		case ppp.PeerTerminate, ppp.RepeatedRequest, ppp.EventUnknown, ppp.Dead, ppp.LoopDetected, ppp.ResetRequest,
			ppp.PeerIdentification, ppp.PeerTimeRemaining, ppp.PeerProtocolReject:
		}
	}
}

// settled says whether it is known how packets are to travel.
func (s *Session) settled() bool {
	if s.ccp == nil || s.ccp.State() == ppp.Opened {
		return true
	}
	return s.noCCP && s.cfg.MPPE.Use != Required
}

// tryUp: IP passes when IPCP is open and CCP has come to an end, this or that.
func (s *Session) tryUp(now time.Time) {
	if s.phase != phaseNetwork || s.ipcp.State() != ppp.Opened {
		return
	}
	if !s.settled() {
		if s.cfg.MPPE.Use != Required {
			s.settle = now.Add(settleWait)
		}
		return
	}
	s.phase, s.backBy, s.settle = phaseUp, time.Time{}, time.Time{}
	s.sendLate()
	select {
	case <-s.ready: // IPCP was renegotiated
	default:
		s.log.Debug("session up", "address", s.local)
		s.cfg.reached(Up, now)
		close(s.ready)
	}
}

// send puts a machine's packets on the wire.
func (s *Session) send(now time.Time, st *ppp.Step) {
	if st.Err != nil {
		s.stats.BadFrames++
	}
	for _, p := range st.Send {
		s.sendPPP(now, p)
	}
}

// fail notes why the session ends; the first reason counts.
func (s *Session) fail(err error) {
	if s.err == nil {
		s.err = err
		s.log.Debug("session ends", "phase", s.phase.String(), "error", err)
	}
}

// end closes the link from our side, then the call.
func (s *Session) end(now time.Time, err error) {
	if s.phase >= phaseTerminate {
		return
	}
	s.fail(err)
	if s.lcp == nil {
		s.clear(now)
		return
	}
	s.phase, s.closeBy = phaseTerminate, now.Add(closeWait)
	s.lcpStep(now, s.lcp.Close(now, farewell(err)))
	s.arm(now)
}

// farewell is what the server is told; the words for an orderly end are pppd's.
func farewell(err error) string {
	if errors.Is(err, ErrClosed) {
		return "User request"
	}
	return err.Error()
}

// clear ends the call: LCP is over, or has had its time.
func (s *Session) clear(now time.Time) {
	if s.phase >= phaseClear {
		return
	}
	if s.q.linkInfo {
		s.line.linkInfo(now, s, everyControlCharacter, everyControlCharacter)
	}
	s.phase, s.closeBy = phaseClear, now.Add(closeWait)
	if !s.line.clear(now, s) {
		s.gone(now, nil)
		return
	}
	s.arm(now)
}

// disconnected: the server reports the call as ended, by its own wish or ours.
func (s *Session) disconnected(now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone(now, err)
}

// lineOver: there is no control connection any more, and so no call.
func (s *Session) lineOver(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone(time.Now(), err)
}

// abandon ends the session without the link's formalities.
func (s *Session) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.phase < phaseClear {
		s.line.clear(now, s)
	}
	s.gone(now, err)
}

// gone takes the session out of every table.
func (s *Session) gone(now time.Time, err error) {
	if s.phase == phaseGone {
		return
	}
	s.fail(err)
	s.phase = phaseGone
	s.timer.Stop()
	s.sealer, s.opener, s.chap, s.early, s.late = nil, nil, nil, nil, nil
	s.host.forget(s.callID)
	s.line.drop(now, s)
	close(s.done) // before the pings: they ask for Err
	for _, p := range s.pings {
		close(p.answer)
	}
	s.pings = nil
}

// Close ends the session as a client should: LCP Terminate, Call-Clear-Request, and
// a stop of the control connection when this was its last call. It waits for the
// server's answers, a few seconds at most.
func (s *Session) Close() error {
	s.mu.Lock()
	s.end(time.Now(), ErrClosed)
	s.mu.Unlock()
	<-s.done
	if s.host.private && s.host.idle() {
		s.host.work.Wait()
	}
	return nil
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why the session is over, and nil before: ErrClosed, *EndedError or one of
// the errors of Dial.
func (s *Session) Err() error {
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	default:
		return nil
	}
}

// Local is our inner address, Peer the server's.
func (s *Session) Local() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.local
}

// PasswordChanged says whether the session was opened with Config.NewPassword, which
// is the password from now on.
func (s *Session) PasswordChanged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Peer is the server's inner address.
func (s *Session) Peer() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer
}

// DNS are the name servers that the server gave.
func (s *Session) DNS() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dns
}

// MTU is the largest inner packet that Send takes.
func (s *Session) MTU() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mtu
}

// Host is what the session runs on.
func (s *Session) Host() *Host { return s.host }

// CallIDs are the numbers of the call, ours and the server's (RFC 2637 §4.1).
func (s *Session) CallIDs() (own, peer uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.callID, s.peerCallID
}

// MPPE is how each direction is encrypted, as "128-bit stateless", or "none".
func (s *Session) MPPE() (send, recv string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ccp == nil || s.ccp.State() != ppp.Opened {
		return describe(0), describe(0)
	}
	r := s.ccp.Results()
	return describe(r.SendBits), describe(r.RecvBits)
}

func describe(b ppp.MPPEBits) string {
	if b.Strongest() == 0 {
		return "none"
	}
	p := mppeParams(b)
	if p.Stateless {
		return p.Strength.String() + " stateless"
	}
	return p.Strength.String() + " stateful"
}

// Identify sends an LCP Identification (RFC 1570 §2.1), by which clients tell their
// version and name.
func (s *Session) Identify(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseUp {
		return ErrNotUp
	}
	s.lcpStep(time.Now(), s.lcp.Identify(text))
	return nil
}
