package ppp

import "time"

// Quirk makes a client's first CCP request look like another client's, for tests
// and for the swarm.
//
// Handled in: CCP.forget, CCP.refused.
type Quirk uint8

const (
	QuirkNone   Quirk = iota
	QuirkHOnly        // Windows 10: only the H bit, no strength, until Nak'd
	QuirkNoBits       // routers: no bit at all, for ever, whatever the answer
)

// CCPConfig is the encryption policy of one side. It serves either role: RFC 1962
// knows none. The zero value wants no encryption and rejects it.
type CCPConfig struct {
	Require       bool     // the session must not live without encryption in both directions
	Allow         MPPEBits // strengths allowed, other bits are ignored; none with Require means 128
	AllowStateful bool     // take stateful mode if the peer insists; stateless is asked for first
	AskStateful   bool     // ask for stateful mode: pppd never proposes it, so a test has to
	Quirk         Quirk
	Timer         Timer
}

// CCPResults is what has been agreed, from Up to Down. A request says what its
// sender can decrypt (RFC 1962 §4), so the two directions are separate.
type CCPResults struct {
	SendBits MPPEBits // what we encrypt with: the peer's request
	RecvBits MPPEBits // what the peer encrypts with: our request
}

// resetSpacing is the least time between two Reset-Requests. Every packet of a
// stateful receiver out of step would ask for one, and the first is on its way.
const resetSpacing = 250 * time.Millisecond

// CCP's only option we know (RFC 3078 §2). Deflate, BSD, Stac, MPPC by other
// numbers and all the rest are rejected.
const ccpMPPE = 18

// CCP is the Compression Control Protocol's machine.
type CCP struct {
	fsm
	cfg     CCPConfig
	want    MPPEBits // what our request asks for; 0: nothing
	peer    MPPEBits // what we last acknowledged
	stale   uint8    // Naks that offered nothing allowed
	resetAt time.Time
}

// maxStale is the number of such Naks after which the peer has refused.
const maxStale = 3

// NewCCP makes a machine in Initial.
func NewCCP(cfg CCPConfig) *CCP {
	cfg.Allow &= mppeStrengths
	if cfg.Require && cfg.Allow == 0 {
		cfg.Allow = MPPE128
	}
	cfg.AllowStateful = cfg.AllowStateful || cfg.AskStateful
	cfg.Timer = cfg.Timer.withDefaults(ccpFirst)
	return &CCP{fsm: newFSM(ProtoCCP, cfg.Timer), cfg: cfg}
}

// Open says encryption may be negotiated.
func (c *CCP) Open(now time.Time) (s Step) { c.open(now, c, &s); return c.done(s) }

// LowerUp says the network phase has begun.
func (c *CCP) LowerUp(now time.Time) (s Step) { c.lowerUp(now, c, &s); return c.done(s) }

// LowerDown says it has ended.
func (c *CCP) LowerDown(now time.Time) (s Step) { c.lowerDown(now, c, &s); return c.done(s) }

// Close ends encryption; the peer is told reason.
func (c *CCP) Close(now time.Time, reason string) (s Step) {
	c.close(now, c, ClosedByUs, reason, &s)
	return c.done(s)
}

// Input takes a CCP packet from its code on.
func (c *CCP) Input(now time.Time, data []byte) (s Step) { c.input(now, c, data, &s); return c.done(s) }

// Timeout does what is due at now.
func (c *CCP) Timeout(now time.Time) (s Step) { c.timeout(now, c, &s); return c.done(s) }

// Deadline is when Timeout wants to be called; zero means never.
func (c *CCP) Deadline() time.Time { return c.deadline }

// Rejected says that the peer has answered CCP with an LCP Protocol-Reject.
func (c *CCP) Rejected(now time.Time) (s Step) { c.rejected(now, c, &s); return c.done(s) }

// Results is what has been agreed.
func (c *CCP) Results() CCPResults { return CCPResults{SendBits: c.peer, RecvBits: c.recvBits()} }

// ResetRequest asks a stateful peer to start over with its next packet (RFC 1962
// §3, RFC 3078 §7.3). It may be called for each packet that cannot be opened: one
// request goes out each resetSpacing.
func (c *CCP) ResetRequest(now time.Time) (s Step) {
	if c.state != Opened || !c.resetAt.IsZero() && now.Sub(c.resetAt) < resetSpacing {
		return s
	}
	c.resetAt = now
	c.ident++
	c.send(&s, packet{CodeResetRequest, c.ident, nil})
	return s
}

// Repeat sends our acknowledged Configure-Request once more without leaving Opened:
// what Windows 10 does to servers, for tests and the swarm.
func (c *CCP) Repeat() (s Step) {
	if c.state == Opened {
		c.ident++
		c.send(&s, packet{CodeConfigureRequest, c.ident, c.request(nil)})
	}
	return s
}

// done completes a Step: RecvReady, and Refused for every end but our own when
// encryption is required.
func (c *CCP) done(s Step) Step {
	var acked, asked bool
	for _, p := range s.Send {
		acked = acked || Code(p.Data[0]) == CodeConfigureAck
		asked = asked || Code(p.Data[0]) == CodeConfigureRequest
	}
	repeated := false
	for _, e := range s.Events {
		if e.Kind == RepeatedRequest {
			repeated = true
		}
		if e.Kind == Finished && c.cfg.Require && !c.gaveUp && e.Reason != ClosedByUs {
			c.gaveUp = true
			s.tell(Event{Kind: Refused, Reason: e.Reason})
		}
	}
	if !repeated && (acked || asked && c.state == AckSent) {
		s.RecvReady = c.recvBits()
	}
	return s
}

// recvBits is what the peer encrypts with once it acknowledges our request. A
// request for several strengths cannot be meant by an Ack; should one come, the
// strongest counts.
func (c *CCP) recvBits() MPPEBits {
	if c.want&mppeStrengths == 0 {
		return 0
	}
	return c.want&MPPEStateless | c.want.Strongest()
}

// forget starts our request afresh: all strengths allowed (RFC 3078 §2.2 "SHOULD
// request all of the options it supports"; pppd rejects a request for 128 alone
// where it wants 40), stateless.
func (c *CCP) forget() {
	c.stale = 0
	c.want = c.cfg.Allow
	if c.cfg.Allow != 0 && !c.cfg.AskStateful {
		c.want |= MPPEStateless
	}
	if c.cfg.Quirk == QuirkHOnly {
		c.want = MPPEStateless
	}
}

// request appends the options of our Configure-Request.
func (c *CCP) request(dst []byte) []byte {
	if c.cfg.Quirk == QuirkNoBits {
		return option{typ: ccpMPPE, value: make([]byte, 4)}.Append(dst)
	}
	if c.want == 0 {
		return dst
	}
	return option{typ: ccpMPPE, value: c.want.Append(nil)}.Append(dst)
}

// acceptable is the one value of the peer's option we acknowledge when it offers b:
// a single strength, no compression, and stateless unless policy and peer say
// otherwise.
func (c *CCP) acceptable(b MPPEBits, stubborn bool) MPPEBits {
	strength := (b & c.cfg.Allow).Strongest()
	if strength == 0 {
		strength = c.cfg.Allow.Strongest()
	}
	stateful := !b.Stateless() && c.cfg.AllowStateful && b&mppeStrengths != 0
	if stateful && (c.cfg.AskStateful || stubborn || c.failures > 0) {
		return strength // it has had its Nak and insists
	}
	return strength | MPPEStateless
}

// judge reads the peer's request.
//
// Windows 10 asks with the H bit alone and takes our Nak of +H +S. Some routers ask
// with no bit at all, for ever: Naks, then Rejects, then the end, all counted.
func (c *CCP) judge(opts []byte, stubborn bool, r *reply) {
	var listed seen
	var peer MPPEBits
	for o := range options(opts) {
		if o.typ != ccpMPPE || c.cfg.Allow == 0 || listed.again(o.typ) {
			r.reject(o)
			continue
		}
		b, _ := parseMPPE(o.value)
		want := c.acceptable(b, stubborn)
		if len(o.value) != 4 || b != want {
			r.suggest(o, stubborn, want.Append(nil))
		}
		peer = b
	}
	if c.cfg.Require && !listed.has(ccpMPPE) && len(r.rej) == 0 {
		// No MPPE in the request: ask for it by an appended Nak (RFC 1661 §5.3).
		if stubborn {
			r.fail = EncryptionRefused
			return
		}
		r.nak = option{typ: ccpMPPE, value: c.acceptable(0, false).Append(nil)}.Append(r.nak)
	}
	if r.fail == ReasonUnknown && r.code() == CodeConfigureAck {
		c.peer = peer
	}
}

// refused learns from a Nak or Reject of our request.
func (c *CCP) refused(code Code, opts []byte) Reason {
	if c.cfg.Quirk == QuirkNoBits {
		return ReasonUnknown
	}
	for o := range options(opts) {
		if o.typ != ccpMPPE {
			continue
		}
		if code == CodeConfigureReject {
			return c.dropped()
		}
		b, ok := parseMPPE(o.value)
		strength := (b & c.cfg.Allow).Strongest()
		if !ok || strength == 0 {
			if c.stale++; c.stale >= maxStale {
				return c.dropped()
			}
			continue
		}
		c.want = strength
		if b.Stateless() || !c.cfg.AllowStateful {
			c.want |= MPPEStateless
		}
	}
	return ReasonUnknown
}

// dropped: the peer will not have what we ask. A stateful request is tried
// stateless, pppd without mppe-stateful rejects the former; then it is over, or
// goes on in the clear where the policy says so.
func (c *CCP) dropped() Reason {
	switch {
	case c.want != 0 && !c.want.Stateless():
		c.stale = 0
		c.want = c.cfg.Allow | MPPEStateless
	case c.cfg.Require:
		return EncryptionRefused
	default:
		c.want = 0
	}
	return ReasonUnknown
}

// code handles Reset-Request and Reset-Ack (RFC 1962 §3). MPPE needs no Reset-Ack,
// the flushed packet says it (RFC 3078 §7.3), but pppd waits for one.
func (c *CCP) code(_ time.Time, p packet, s *Step) bool {
	switch p.code {
	case CodeResetRequest:
		if c.state == Opened {
			s.tell(Event{Kind: ResetRequest})
			c.send(s, packet{CodeResetAck, p.id, nil})
		}
	case CodeResetAck:
		c.resetAt = time.Time{}
	default:
		return false
	}
	return true
}

// agreed: an Ack of a request without a strength (QuirkHOnly) encrypts nothing.
func (c *CCP) agreed() Reason {
	if c.cfg.Require && c.recvBits() == 0 {
		return EncryptionRefused
	}
	return ReasonUnknown
}

func (c *CCP) codeRejected(Code) {}
func (c *CCP) must() bool        { return c.cfg.Require }
func (c *CCP) opened(time.Time)  { c.resetAt = time.Time{} }
func (c *CCP) closed()           {}

func (c *CCP) stuck() Reason {
	if c.cfg.Require {
		return EncryptionRefused
	}
	return NotConverging
}
