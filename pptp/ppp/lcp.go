package ppp

import (
	"math/rand/v2"
	"time"
)

// LCPConfig is what one side wants of the link. The zero value is a peer that
// demands no authentication and accepts none.
type LCPConfig struct {
	MRU  uint16 // we ask for it; 0 leaves the default of 1500
	ACCM bool   // ask for an empty control character map; without meaning under PPTP, some routers expect it
	PFC  bool   // offer to take compressed protocol fields
	ACFC bool   // and frames without address and control

	Demand []Auth // server: what the peer must authenticate with, in our order
	Accept []Auth // client: what we may be asked to authenticate with, in our order

	AskCallback bool // client: ask for CBCP until rejected, as Windows does

	EchoInterval time.Duration // between Echo-Requests in Opened; 0: none
	EchoFailures uint8         // unanswered ones that make the peer Dead; 0: defaultEchoFailures

	Magic func() uint32 // source of magic numbers; nil: a random one
	Timer Timer
}

// LCPResults is what the two sides have agreed. It is final from Up to Down.
type LCPResults struct {
	LocalMRU, PeerMRU uint16 // we take at most LocalMRU octets, the peer PeerMRU
	PeerACCM          uint32 // what the peer wants escaped: nothing is, under PPTP
	SendPFC, SendACFC bool   // the peer takes short headers
	RecvPFC, RecvACFC bool   // we offered to, and the peer agreed
	Auth              Auth   // the peer must authenticate to us with it
	PeerAuth          Auth   // we must authenticate to the peer with it
	RTT               time.Duration
}

const (
	// DefaultMRU is RFC 1661 §6.1's: what either side must take if nothing is agreed.
	DefaultMRU = 1500

	// minMRU is the smallest MRU we accept, pppd's own minimum. Below it an IP
	// header and options would not pass.
	minMRU = 128

	// Equal magic numbers in a row before the link counts as looped. Two hosts
	// drawing the same 32 bits once is rare; five times is a mirror.
	maxLoops = 5

	defaultEchoFailures = 3
)

// LCP is the Link Control Protocol's machine, either role.
type LCP struct {
	fsm
	cfg LCPConfig

	// Ours: what we still ask for.
	dropped seen // options the peer rejected
	mru     uint16
	accm    uint32
	magic   uint32
	demand  uint8 // index of the method we demand
	loops   uint8

	peer peerLink

	echoPending uint8
	echoOff     bool // the peer Code-Rejected our Echo-Request
	echoAt      time.Time
}

// peerLink is what the peer's acknowledged request says.
type peerLink struct {
	mru       uint16
	accm      uint32
	magic     uint32
	auth      Auth
	pfc, acfc bool
}

// peerDefaults is a peer that has asked for nothing (RFC 1661 §6.1, RFC 1662 §7.1).
var peerDefaults = peerLink{mru: DefaultMRU, accm: 0xFFFFFFFF}

// NewLCP makes a machine in Initial. Methods that are not strong are struck from
// the lists, so that no configuration can agree to them.
func NewLCP(cfg LCPConfig) *LCP {
	cfg.Demand, cfg.Accept = strongOnly(cfg.Demand), strongOnly(cfg.Accept)
	cfg.Timer = cfg.Timer.withDefaults(defaultFirst)
	if cfg.Magic == nil {
		cfg.Magic = rand.Uint32
	}
	if cfg.EchoFailures == 0 {
		cfg.EchoFailures = defaultEchoFailures
	}
	return &LCP{fsm: newFSM(ProtoLCP, cfg.Timer), cfg: cfg, peer: peerDefaults}
}

// Open says the link may come up.
func (l *LCP) Open(now time.Time) (s Step) { l.open(now, l, &s); return s }

// LowerUp says frames can pass.
func (l *LCP) LowerUp(now time.Time) (s Step) { l.lowerUp(now, l, &s); return s }

// LowerDown says frames can pass no more.
func (l *LCP) LowerDown(now time.Time) (s Step) { l.lowerDown(now, l, &s); return s }

// Close ends the link; the peer is told reason.
func (l *LCP) Close(now time.Time, reason string) (s Step) {
	l.close(now, l, ClosedByUs, reason, &s)
	return s
}

// Input takes an LCP packet from its code on.
func (l *LCP) Input(now time.Time, data []byte) (s Step) { l.input(now, l, data, &s); return s }

// Timeout does what is due at now.
func (l *LCP) Timeout(now time.Time) (s Step) {
	l.timeout(now, l, &s)
	l.echoTimeout(now, &s)
	return s
}

// Deadline is when Timeout wants to be called; zero means never.
func (l *LCP) Deadline() time.Time { return earliest(l.deadline, l.echoAt) }

// Results is what has been agreed.
func (l *LCP) Results() LCPResults {
	r := LCPResults{
		LocalMRU: DefaultMRU, PeerMRU: min(l.peer.mru, DefaultMRU), PeerACCM: l.peer.accm,
		SendPFC: l.peer.pfc, SendACFC: l.peer.acfc,
		RecvPFC: l.cfg.PFC && !l.dropped.has(lcpPFC), RecvACFC: l.cfg.ACFC && !l.dropped.has(lcpACFC),
		Auth: l.demanded(), PeerAuth: l.peer.auth, RTT: l.rtt,
	}
	if l.mru != 0 && !l.dropped.has(lcpMRU) {
		r.LocalMRU = l.mru
	}
	return r
}

// ProtocolReject tells the peer that we do not speak p (RFC 1661 §5.7); frame is the
// rejected frame after its protocol field. Only in Opened: before, such frames are
// dropped. The caller never rejects ProtoMPPE while CCP may still open: accel-ppp
// does now and then, and the tunnel stays dead.
func (l *LCP) ProtocolReject(_ time.Time, p Proto, frame []byte) (s Step) {
	if l.state != Opened {
		return s
	}
	l.ident++
	data := append([]byte{byte(p >> 8), byte(p)}, quote(frame)...)
	l.send(&s, packet{CodeProtocolReject, l.ident, data})
	return s
}

// Identify sends an Identification (RFC 1570 §2.1), as Windows clients do with
// their version and computer name once LCP is open.
func (l *LCP) Identify(text string) (s Step) {
	if l.state < Closed {
		return s
	}
	l.ident++
	l.send(&s, packet{CodeIdentification, l.ident, append(l.magicBytes(), quote([]byte(text))...)})
	return s
}

// code handles LCP's codes beyond the basic seven.
func (l *LCP) code(now time.Time, p packet, s *Step) bool {
	switch p.code {
	case CodeProtocolReject:
		l.protocolRejected(now, p, s)
	case CodeEchoRequest, CodeEchoReply, CodeDiscardRequest:
		l.echo(now, p, s)
	case CodeIdentification:
		l.identified(p, s)
	case CodeTimeRemaining:
		l.timeRemaining(p, s)
	default:
		return false
	}
	return true
}

// protocolRejected handles RFC 1661 §5.7: for LCP itself the link is lost, any other
// protocol is its machine's business.
func (l *LCP) protocolRejected(now time.Time, p packet, s *Step) {
	if len(p.data) < 2 {
		s.Err = ErrShortPacket
		return
	}
	if l.state != Opened {
		return
	}
	proto := Proto(p.data[0])<<8 | Proto(p.data[1])
	if proto == ProtoLCP {
		l.rejected(now, l, s)
		return
	}
	s.tell(Event{Kind: PeerProtocolReject, Proto: proto})
	l.event(now, evRejected, l, s, p, nil)
}

func (l *LCP) codeRejected(c Code) {
	if c == CodeEchoRequest { // such a peer cannot prove that it lives
		l.echoOff = true
		l.echoAt = time.Time{}
	}
}

func (l *LCP) agreed() Reason { return ReasonUnknown }
func (l *LCP) stuck() Reason  { return NotConverging }
func (l *LCP) must() bool     { return true }
