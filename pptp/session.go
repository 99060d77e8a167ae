package pptp

import (
	"cmp"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/config"
	"postern/pptp/chap"
	"postern/pptp/gre"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
)

// phase is where a session stands, after RFC 1661 §3.2.
type phase uint8

const (
	phaseEstablish phase = iota // LCP
	phaseAuth                   // CHAP, and the wait for the service
	phaseNetwork                // CCP and IPCP
	phaseUp                     // the client has its address
	phaseClosing                // the end has been decided; the peer is being told
	phaseGone                   // out of every table
)

var phaseNames = [...]string{"establish", "authenticate", "network", "up", "closing", "gone"}

func (p phase) String() string { return phaseNames[p] }

// How long a peer is waited for at the end.
const (
	// closeWait is for the Terminate-Ack, and for a client that clears the call
	// itself after ours.
	closeWait = 2 * time.Second
	// failWait is for the client to hang up after a refused login: pppd and Windows
	// do so at once and report the refusal, not a broken line.
	failWait = 3 * time.Second
)

// session is one call and the PPP link on it. shard.mu guards it, except what says
// otherwise.
type session struct {
	node  *Node
	shard *shard
	conn  *controlConn
	gre   gre.Conn
	log   *slog.Logger

	id                 string // Acct-Session-Id
	callID, peerCallID uint16
	peer, local        netip.Addr // outer addresses

	phase  phase
	cause  Cause
	text   string // what the peer is told of the end; "": what the cause says
	timer  timer
	window gre.Window
	// deliver is the frame method, bound once so that receiving allocates nothing.
	deliver func([]byte)

	lcp  *ppp.LCP
	chap *chap.Authenticator
	ccp  *ppp.CCP
	ipcp *ppp.IPCP

	requireMPPE bool // nothing goes in the clear
	opener      *mppe.Opener
	openerBits  ppp.MPPEBits

	user          string // as typed
	clientName    string // LCP Identification: claims
	clientVersion string
	asking        bool // a service has been asked and has not answered
	settled       bool // it does not count as starting any more
	accepted      bool // a service has accepted: a Stop is owed
	stopped       bool // and is in the spool
	started       bool // Accounting-Start was handed over
	grant         grant
	post          *post   // in the packet filter, once accepted; nil: there is none
	inner         [4]byte // the leased address
	mtu           int     // the largest inner packet either way

	// changing is held by who changes the session for a service, so that filter and
	// session see changes in one order. Taken before shard.mu.
	changing sync.Mutex

	created, upAt time.Time
	loginBy       time.Time
	heldUntil     time.Time // in quarantine; zero: not
	endAt         time.Time // Session-Timeout
	closeBy       time.Time
	interimAt     time.Time
	idleAt        time.Time
	ackAt         time.Time
	unacked       int
	rejects       int // Protocol-Rejects sent

	in      counter
	inLimit bucket

	// portal is where the client is sent while it is in quarantine; nil: it is not. The
	// captive server reads it.
	portal atomic.Pointer[string]

	// Read and written by both halves.
	lastActive atomic.Int64 // Unix seconds of the last inner packet
	ackDue     atomic.Uint64
	seq        atomic.Uint32 // of the next packet we send

	// out is the sending half; shard.tx guards it.
	out sender
}

// counter counts inner packets.
type counter struct{ octets, packets uint64 }

func (c *counter) add(n int) { c.octets += uint64(n); c.packets++ }

// sender is the sending half.
type sender struct {
	counter
	limit     bucket
	open      bool // IP may be sent
	sealer    *mppe.Sealer
	acfc, pfc bool
	mru       int
}

// maxRejects bounds the Protocol-Rejects of a session: macOS and Windows need two.
const maxRejects = 32

// newSession makes a session for a call. Its call ID is taken by the caller.
func newSession(c *controlConn, conn gre.Conn, peerCallID uint16, now time.Time) *session {
	n := c.node
	set := n.settings.Load()
	s := &session{
		node: n, conn: c, gre: conn, peerCallID: peerCallID, peer: c.peer, local: c.local,
		created: now, loginBy: now.Add(set.Timers.Login), requireMPPE: set.MPPE.Require, mtu: set.MTU,
		lcp: ppp.NewLCP(ppp.LCPConfig{
			MRU: uint16(set.MTU), PFC: true, ACFC: true, Demand: set.demand,
			EchoInterval: set.Timers.LCPEcho, EchoFailures: uint8(set.Timers.LCPEchoFailures),
		}),
	}
	s.out.mru = set.MTU
	s.deliver = s.frame
	s.timer.session = s
	return s
}

// start begins the link; the call has been answered.
func (s *session) start(now time.Time) {
	s.shard.wheel.before(&s.timer, s.loginBy)
	s.lcpStep(now, s.lcp.Open(now))
	s.lcpStep(now, s.lcp.LowerUp(now))
}

// deadline is the earliest of everything the session waits for.
func (s *session) deadline() time.Time {
	d := s.lcp.Deadline()
	for _, t := range [...]time.Time{s.loginBy, s.heldUntil, s.endAt, s.closeBy, s.interimAt, s.idleAt, s.ackAt, s.window.Deadline()} {
		d = earlier(d, t)
	}
	if s.chap != nil {
		d = earlier(d, s.chap.Deadline())
	}
	if s.ccp != nil {
		d = earlier(d, s.ccp.Deadline())
	}
	if s.ipcp != nil {
		d = earlier(d, s.ipcp.Deadline())
	}
	return d
}

// earlier is the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// arm sets the wheel's entry after anything may have moved a deadline.
func (s *session) arm() {
	if s.phase != phaseGone {
		s.shard.wheel.before(&s.timer, s.deadline())
	}
}

// timeout does what is due; the shard calls it.
func (s *session) timeout(now time.Time) {
	if due(now, s.ackAt) {
		s.sendAck()
	}
	if due(now, s.window.Deadline()) {
		s.releaseHeld(now)
	}
	switch {
	case s.phase == phaseGone:
		return
	case due(now, s.closeBy):
		s.closeTimeout(now)
	case due(now, s.loginBy):
		s.end(now, LoginTimeout)
	case due(now, s.heldUntil):
		s.end(now, QuarantineTimeout)
	case due(now, s.endAt):
		s.end(now, SessionTimeout)
	case due(now, s.idleAt):
		s.checkIdle(now)
	}
	if due(now, s.interimAt) && s.phase == phaseUp {
		s.interimAt = now.Add(s.grant.interim)
		s.account(now, acctInterim)
	}
	if due(now, s.lcp.Deadline()) {
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
	s.arm()
}

// releaseHeld gives up waiting for a packet that comes late or not at all.
func (s *session) releaseHeld(now time.Time) {
	b := &rxBatch{node: s.node, now: s.node.since(now)}
	s.shard.rx = b
	before, any := s.window.Highest()
	s.window.Timeout(now, s.deliver)
	s.afterReceive(now, before, any)
	s.shard.rx = nil
	b.flush()
}

// checkIdle ends a session without inner packets for its Idle-Timeout.
func (s *session) checkIdle(now time.Time) {
	at := time.Unix(s.lastActive.Load(), 0).Add(s.grant.idle)
	if due(now, at) {
		s.end(now, IdleTimeout)
		return
	}
	s.idleAt = at
}

// controlFrame takes a frame that is not data.
func (s *session) controlFrame(now time.Time, proto ppp.Proto, data []byte) {
	switch proto {
	case ppp.ProtoLCP:
		s.lcpStep(now, s.lcp.Input(now, data))
	case ppp.ProtoCHAP:
		if s.chap == nil {
			s.node.metrics.drop(DropWrongPhase)
			return
		}
		s.chapStep(now, s.chap.Input(now, data))
	case ppp.ProtoCCP:
		if s.ccp == nil {
			s.node.metrics.drop(DropWrongPhase)
			return
		}
		s.ccpStep(now, s.ccp.Input(now, data))
	case ppp.ProtoIPCP:
		if s.ipcp == nil {
			s.node.metrics.drop(DropWrongPhase)
			return
		}
		s.ipcpStep(now, s.ipcp.Input(now, data))
	default:
		s.rejectProtocol(now, proto, data)
	}
	s.arm()
}

// rejectProtocol answers a protocol that we do not speak. IPV6CP is one: an inner
// IPv6 address would need leases, filters and anti-spoofing of its own, and every
// client seen lives without. So is Apple's 0x8235. Before the network phase such
// frames are dropped (RFC 1661 §3.4).
func (s *session) rejectProtocol(now time.Time, proto ppp.Proto, data []byte) {
	s.node.metrics.drop(DropProtocol)
	if s.phase != phaseNetwork && s.phase != phaseUp || s.rejects >= maxRejects {
		return
	}
	s.rejects++
	s.lcpStep(now, s.lcp.ProtocolReject(now, proto, data))
}

// lcpStep does what LCP wants done.
func (s *session) lcpStep(now time.Time, st ppp.Step) {
	s.send(&st)
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
			s.end(now, PeerSilent)
		case ppp.LoopDetected:
			s.end(now, LinkLooped)
		case ppp.PeerTerminate:
			s.log.Debug("peer terminates", "layer", "lcp", "text", e.Text)
			s.close(now, PeerTerminated)
		case ppp.Refused, ppp.Finished:
			s.linkOver(now, e.Reason)
		case ppp.PeerIdentification:
			s.identified(e.Text)
		case ppp.PeerProtocolReject:
			s.protocolRejected(now, e.Proto)
		case ppp.PeerTimeRemaining, ppp.EventUnknown, ppp.ResetRequest, ppp.RepeatedRequest:
		}
	}
}

// linkUp begins authentication.
func (s *session) linkUp(now time.Time) {
	if s.phase != phaseEstablish {
		return
	}
	r := s.lcp.Results()
	s.shard.tx.Lock()
	s.out.acfc, s.out.pfc = r.SendACFC, r.SendPFC
	s.out.mru = min(int(r.PeerMRU), s.node.settings.Load().MTU)
	s.shard.tx.Unlock()
	s.mtu = min(s.mtu, int(r.PeerMRU))
	s.phase = phaseAuth
	s.chap = chap.NewAuthenticator(chap.Config{Name: s.node.name})
	s.chapStep(now, s.chap.Start(now))
}

// linkDown: the peer renegotiates. Before the login that costs a new challenge;
// after it the login would have to be proved again, so the session ends.
func (s *session) linkDown(now time.Time) {
	switch s.phase {
	case phaseAuth:
		if s.asking {
			s.end(now, LinkRenegotiated)
			return
		}
		s.phase, s.chap = phaseEstablish, nil
	case phaseNetwork, phaseUp:
		if s.lcp.State() == ppp.Stopping || s.lcp.State() == ppp.Closing {
			return // a Terminate-Request: its own event follows
		}
		s.end(now, LinkRenegotiated)
	case phaseEstablish, phaseClosing, phaseGone:
	}
}

// linkOver: LCP needs the tunnel no more.
func (s *session) linkOver(now time.Time, why ppp.Reason) {
	if s.phase == phaseClosing {
		s.gone(now)
		return
	}
	switch why {
	case ppp.PeerTerminated:
		s.close(now, PeerTerminated)
	case ppp.AuthRefused, ppp.AuthDemanded:
		s.close(now, AuthRefused)
	case ppp.Looped:
		s.close(now, LinkLooped)
	case ppp.PeerSilent:
		s.close(now, PeerSilent)
	default:
		s.close(now, LinkFailed)
	}
}

// protocolRejected tells a protocol's machine that the peer does not speak it.
func (s *session) protocolRejected(now time.Time, p ppp.Proto) {
	switch {
	case p == ppp.ProtoCCP && s.ccp != nil:
		s.ccpStep(now, s.ccp.Rejected(now))
	case p == ppp.ProtoIPCP && s.ipcp != nil:
		s.ipcpStep(now, s.ipcp.Rejected(now))
	case p == ppp.ProtoCHAP:
		s.end(now, AuthRefused)
	}
}

// identified keeps what Windows says of itself: MSRASV5.20, then MSRAS-0-<computer>,
// which become MS-RAS-Client-Version and -Name (RFC 2548 §2.5.3, §2.5.4).
func (s *session) identified(text string) {
	const name, version = "MSRAS-0-", "MSRASV"
	switch {
	case len(text) > len(name) && text[:len(name)] == name:
		s.clientName = text[len(name):]
	case len(text) > len(version) && text[:len(version)] == version:
		s.clientVersion = text
	}
}

// send puts a machine's packets on the wire.
func (s *session) send(st *ppp.Step) {
	if st.Err != nil {
		s.node.metrics.drop(DropBadFrame)
	}
	for _, p := range st.Send {
		s.sendPPP(p)
	}
}

// chapStep does what CHAP wants done.
func (s *session) chapStep(now time.Time, st chap.Step) {
	if st.Err != nil {
		s.node.metrics.drop(DropBadFrame)
	}
	if st.Send != nil {
		s.sendPPP(ppp.Packet{Proto: ppp.ProtoCHAP, Data: st.Send})
	}
	switch e := st.Event.(type) {
	case chap.Response:
		if s.phase == phaseAuth && !s.asking {
			s.user = e.Name
			p, err := s.accessRequest(&e)
			s.askService(now, p, err)
		}
	case chap.Expired:
		// The user has the time that CHAP grants, and then the login all of its own.
		s.loginBy = e.Until.Add(s.node.settings.Load().Timers.Login)
	case chap.ChangePassword:
		if s.phase == phaseAuth && !s.asking {
			p, err := s.changeRequest(&e)
			s.askService(now, p, err)
		}
	case chap.Failed:
		if s.phase != phaseAuth {
			return
		}
		if e.Reason == chap.Rejected {
			// Stay on the line: the client reads the refusal, then hangs up.
			s.phase, s.cause = phaseClosing, AuthFailed
			s.loginBy, s.closeBy = time.Time{}, now.Add(failWait)
			return
		}
		if e.Reason == chap.NoChange {
			s.end(now, AuthFailed)
			return
		}
		s.end(now, AuthSilent)
	}
}

// network begins the network phase: the service has accepted.
func (s *session) network(now time.Time) {
	set := s.node.settings.Load()
	s.phase = phaseNetwork
	timer := ppp.Timer{RTT: s.lcp.Results().RTT}
	s.ccp = ppp.NewCCP(ppp.CCPConfig{
		Timer: timer, Require: s.requireMPPE, Allow: s.grant.strengths & set.strengths,
		AllowStateful: set.MPPE.Stateful >= config.StatefulAllow, AskStateful: set.MPPE.Stateful == config.StatefulPrefer,
	})
	s.ipcp = ppp.NewIPCP(ppp.IPCPConfig{
		Timer: timer, Local: set.Inside, Peer: s.grant.addr, DNS: s.grant.dns, NBNS: s.grant.nbns,
	})
	s.ccpStep(now, s.ccp.Open(now))
	s.ipcpStep(now, s.ipcp.Open(now))
	s.ccpStep(now, s.ccp.LowerUp(now))
	if !s.requireMPPE {
		s.ipcpStep(now, s.ipcp.LowerUp(now))
	}
}

// ccpStep does what CCP wants done, in Step's order: the decryptor stands before the
// acknowledgement leaves that lets the peer encrypt.
func (s *session) ccpStep(now time.Time, st ppp.Step) {
	if st.Down() {
		s.opener, s.openerBits = nil, 0
		s.shard.tx.Lock()
		s.out.sealer = nil
		s.shard.tx.Unlock()
	}
	if b := st.RecvReady; b != 0 && b != s.openerBits {
		s.opener, s.openerBits = mppe.NewOpener(&s.grant.recvKey, mppeParams(b)), b
	}
	s.send(&st)
	for _, e := range st.Events {
		if s.phase == phaseGone {
			return
		}
		switch e.Kind {
		case ppp.Up:
			s.encrypted(now)
		case ppp.Down:
			if s.requireMPPE && s.ipcp != nil {
				s.ipcpStep(now, s.ipcp.LowerDown(now))
			}
		case ppp.Refused:
			s.end(now, EncryptionRefused)
		case ppp.ResetRequest:
			s.shard.tx.Lock()
			if s.out.sealer != nil {
				s.out.sealer.Reset()
			}
			s.shard.tx.Unlock()
		case ppp.RepeatedRequest:
			s.log.Debug("repeated request acknowledged", "layer", "ccp") // Windows 10
		case ppp.Finished, ppp.PeerTerminate, ppp.EventUnknown, ppp.Dead, ppp.LoopDetected,
			ppp.PeerIdentification, ppp.PeerTimeRemaining, ppp.PeerProtocolReject:
		}
	}
}

// encrypted: CCP has opened, in both directions or in one.
func (s *session) encrypted(now time.Time) {
	r := s.ccp.Results()
	if r.SendBits != 0 {
		s.shard.tx.Lock()
		s.out.sealer = mppe.NewSealer(&s.grant.sendKey, mppeParams(r.SendBits))
		s.shard.tx.Unlock()
	}
	s.log.Debug("encryption agreed", "layer", "ccp", "send", r.SendBits.String(), "recv", r.RecvBits.String())
	if s.requireMPPE && s.ipcp != nil {
		s.ipcpStep(now, s.ipcp.LowerUp(now))
	}
}

// mppeParams turns CCP's bits into a cipher's.
func mppeParams(b ppp.MPPEBits) mppe.Params {
	p := mppe.Params{Stateless: b.Stateless()}
	switch b.Strongest() {
	case ppp.MPPE56:
		p.Strength = mppe.Bits56
	case ppp.MPPE40:
		p.Strength = mppe.Bits40
	default:
		p.Strength = mppe.Bits128
	}
	return p
}

// ipcpStep does what IPCP wants done.
func (s *session) ipcpStep(now time.Time, st ppp.Step) {
	s.send(&st)
	for _, e := range st.Events {
		if s.phase == phaseGone {
			return
		}
		switch e.Kind {
		case ppp.Up:
			s.up(now)
		case ppp.Down:
			s.down()
		case ppp.Refused:
			s.end(now, AddressRefused)
		case ppp.Finished:
			if e.Reason != ppp.ClosedByUs && e.Reason != ppp.PeerTerminated {
				s.end(now, AddressRefused)
			}
		case ppp.PeerTerminate, ppp.RepeatedRequest, ppp.EventUnknown, ppp.Dead, ppp.LoopDetected, ppp.ResetRequest,
			ppp.PeerIdentification, ppp.PeerTimeRemaining, ppp.PeerProtocolReject:
		}
	}
}

// up: the client has its address.
func (s *session) up(now time.Time) {
	if s.phase != phaseNetwork {
		return
	}
	if !s.node.addrs.put(s.inner, s) {
		s.log.Error("address leased twice", "address", s.grant.addr)
		s.end(now, ServiceFault)
		return
	}
	if err := s.node.route(netip.PrefixFrom(s.grant.addr, 32), true); err != nil {
		s.node.addrs.remove(s.inner, s)
		s.log.Error("no route to the client", "address", s.grant.addr, "error", err)
		s.end(now, ServiceFault)
		return
	}
	s.lead()
	s.settle()
	s.phase, s.loginBy = phaseUp, time.Time{}
	s.shard.tx.Lock()
	s.out.open = true
	s.shard.tx.Unlock()
	if s.started { // IPCP was renegotiated
		return
	}
	s.upAt = now
	s.lastActive.Store(now.Unix())
	if s.grant.session > 0 {
		s.endAt = now.Add(s.grant.session)
	}
	if s.grant.idle > 0 {
		s.idleAt = now.Add(s.grant.idle)
	}
	if s.grant.interim > 0 {
		s.interimAt = now.Add(s.grant.interim)
	}
	s.started = true
	s.node.metrics.sessions.Add(1)
	s.node.metrics.setup.Observe(now.Sub(s.created).Seconds())
	r := s.ccp.Results()
	s.log.Info("session up", "user", redact(s.user), "address", s.grant.addr, "mppe", r.SendBits.String(), "mru", s.out.mru,
		"filter", s.grant.enforce.name())
	s.account(now, acctStart)
}

// settle: the session does not need a starting one's care any more.
func (s *session) settle() {
	if !s.settled {
		s.settled = true
		s.node.metrics.starting.Add(-1)
	}
}

// down: IPCP has left Opened; the session goes back to negotiating.
func (s *session) down() {
	if s.phase != phaseUp {
		return
	}
	s.shut() // while it still counts as up
	s.phase = phaseNetwork
	s.loginBy = time.Now().Add(s.node.settings.Load().Timers.Login)
}

// shut takes the session out of the data path.
func (s *session) shut() {
	if s.phase != phaseUp {
		return
	}
	s.shard.tx.Lock()
	s.out.open = false
	s.shard.tx.Unlock()
	s.unlead(s.grant.routes)
	s.node.addrs.remove(s.inner, s)
	if err := s.node.route(netip.PrefixFrom(s.grant.addr, 32), false); err != nil {
		s.log.Error("route to the client left behind", "address", s.grant.addr, "error", err)
	}
}

// end decides that the session is over and, where the peer is still there, tells it
// by LCP first.
func (s *session) end(now time.Time, why Cause) {
	if s.phase == phaseClosing || s.phase == phaseGone {
		return
	}
	s.close(now, why)
	if s.phase == phaseClosing && why.polite() {
		s.hangUp(now)
	}
}

// endElsewhere is end for a client that is to dial another node: it hears of it when a
// service knows, or does not answer for closeWait. By then its address and its place are
// free, however fast it dials.
func (s *session) endElsewhere(now time.Time, why Cause) {
	if s.phase != phaseUp {
		s.end(now, why)
		return
	}
	s.close(now, why)
	s.arm()
	s.accountAnd(now, acctStop, func() {
		now := s.shard.enter()
		defer s.shard.leave()
		if s.phase == phaseClosing && s.lcp.State() == ppp.Opened {
			s.hangUp(now)
		}
	})
}

// hangUp tells the peer by LCP.
func (s *session) hangUp(now time.Time) {
	s.lcpStep(now, s.lcp.Close(now, s.parting()))
	s.arm()
}

// enforced notes what the packet filter has begun to do. The time in quarantine counts
// from now, and Session-Timeout goes on counting meanwhile: a service that wants the
// limit to begin with the second factor sends it anew with the change.
func (s *session) enforced(now time.Time, e *enforcement) {
	s.grant.enforce = *e
	if e.held == 0 {
		s.heldUntil = time.Time{}
		s.setPortal(nil)
		return
	}
	s.heldUntil = now.Add(e.held)
	s.setPortal(&s.grant.enforce.url)
}

// setPortal sends the client's HTTP to url; nil: it is not held back any more.
func (s *session) setPortal(url *string) {
	if url != nil {
		own := *url // grant may change, and the captive server takes no lock
		url = &own
	}
	switch former := s.portal.Swap(url); {
	case former == nil && url != nil:
		s.node.metrics.quarantined.Add(1)
	case former != nil && url == nil:
		s.node.metrics.quarantined.Add(-1)
	}
}

// setLimits bounds what passes, in bits a second; 0: no bound.
func (s *session) setLimits(now time.Time) {
	at := s.node.since(now)
	s.inLimit.setRate(at, s.grant.up)
	s.shard.tx.Lock()
	defer s.shard.tx.Unlock()
	s.out.limit.setRate(at, s.grant.down)
}

// parting is what the peer reads in our Terminate-Request.
func (s *session) parting() string { return cmp.Or(s.text, s.cause.info().text) }

// close leaves the data path and waits a moment for the peer to hang up. Causes that
// leave nobody to wait for end the session at once, also where it waits already; the
// first cause stays.
func (s *session) close(now time.Time, why Cause) {
	if s.phase == phaseClosing && !why.polite() {
		s.gone(now)
	}
	if s.phase == phaseClosing || s.phase == phaseGone {
		return
	}
	s.shut()
	s.node.fence.release(s.post)
	s.setPortal(nil)
	s.phase, s.cause = phaseClosing, why
	s.loginBy, s.heldUntil, s.endAt, s.idleAt, s.interimAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	s.closeBy = now.Add(closeWait)
	if !why.polite() {
		s.gone(now)
	}
}

// closeTimeout: the peer did not hang up.
func (s *session) closeTimeout(now time.Time) {
	if s.lcp.State() == ppp.Opened { // a refused client that stays on the line
		s.closeBy = now.Add(closeWait)
		s.lcpStep(now, s.lcp.Close(now, s.parting()))
		return
	}
	s.gone(now)
}

// gone takes the session out of every table and tells the control connection and
// accounting.
func (s *session) gone(now time.Time) {
	if s.phase == phaseGone {
		return
	}
	s.shut()
	s.settle()
	s.phase = phaseGone
	s.shard.wheel.stop(&s.timer)
	if s.started {
		s.node.metrics.sessions.Add(-1)
	}
	s.node.metrics.calls.Add(-1)
	s.node.metrics.ended.WithLabelValues(s.cause.String()).Inc()
	if s.accepted && !s.stopped {
		s.account(now, acctStop)
	}
	var dur time.Duration
	if !s.upAt.IsZero() {
		dur = now.Sub(s.upAt).Round(time.Second)
	}
	s.log.Info("session ended", "user", redact(s.user), "cause", s.cause.String(), "duration", dur,
		"octets_in", s.in.octets, "octets_out", s.sent().octets)
	s.opener, s.chap, s.ccp, s.ipcp = nil, nil, nil, nil
	s.node.forget(s, now)
}

// sent is what has gone to the client.
func (s *session) sent() counter {
	s.shard.tx.Lock()
	defer s.shard.tx.Unlock()
	return s.out.counter
}
