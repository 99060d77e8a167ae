package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"postern/pptp/gre"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
)

const (
	// headroom is kept in front of an inner packet: GRE 16, PPP 4, MPPE 2, inner
	// protocol 2.
	headroom = 32

	// ackDelay and ackEvery are the node's: RFC 2637 §4.4 wants a fraction of the
	// peer's time-out, and no sender's window to run full.
	ackDelay = 100 * time.Millisecond
	ackEvery = 8

	// swapEvery and swapWait make QuirkWindows10's disorder: each such packet of the
	// handshake leaves behind the next, or alone when there is none for so long.
	swapEvery = 9
	swapWait  = 10 * time.Millisecond
)

// txBuffer is room for one packet on its way out.
type txBuffer struct {
	buf [headroom + maxFrame]byte
	ms  [1]gre.Message
}

// Stats counts since the session began. Octets and packets are inner ones.
type Stats struct {
	InOctets, InPackets   uint64
	OutOctets, OutPackets uint64

	Duplicates    uint64 // GRE packets that came before, or too late to tell
	Cleartext     uint64 // inner packets in the clear where encryption is on or required
	Undecryptable uint64 // encrypted ones that did not open, or had no key yet
	BadFrames     uint64 // what no layer could read, or nobody waited for
	Unsent        uint64 // the network took them not
}

// Stats counts since the session began.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// greInput takes one packet of the session's tunnel.
func (s *Session) greInput(now time.Time, h *gre.Header) {
	switch {
	case !h.HasSeq: // an acknowledgement; they steer nothing here, package gre says why
	case s.phase == phaseCall:
		if len(s.early) < maxEarly {
			s.early = append(s.early, earlyPacket{h.Seq, bytes.Clone(h.Payload)})
		}
	default:
		s.receive(now, h.Seq, h.Payload)
	}
}

func (s *Session) receive(now time.Time, seq uint32, payload []byte) {
	if s.phase == phaseGone {
		return
	}
	before, any := s.window.Highest()
	switch s.window.Receive(now, seq, payload, s.frameFn) {
	case gre.Delivered, gre.Late, gre.Jumped, gre.Held:
	case gre.Duplicate, gre.TooOld, gre.TooFar, gre.Unknown:
		s.stats.Duplicates++
		return
	}
	s.afterReceive(now, before, any)
}

// afterReceive sees to the acknowledgement and to packets still held.
func (s *Session) afterReceive(now time.Time, before uint32, any bool) {
	if s.phase == phaseGone {
		return
	}
	if high, ok := s.window.Highest(); ok && (!any || high != before) {
		if s.acked {
			s.acked, s.unacked = false, 0
			s.ackAt = now.Add(ackDelay)
		}
		if s.unacked++; s.unacked >= ackEvery {
			s.sendAck()
		}
	}
	s.wake(now, s.ackAt)
	s.wake(now, s.window.Deadline())
}

// frame takes one PPP frame in its order.
func (s *Session) frame(b []byte) {
	if s.phase == phaseGone {
		return
	}
	proto, data, err := ppp.ParseFrame(b)
	switch {
	case err != nil:
		s.stats.BadFrames++
	case proto == ppp.ProtoMPPE:
		s.ciphertext(data)
	case proto != ppp.ProtoIP:
		s.controlFrame(time.Now(), proto, data)
	case s.cfg.MPPE.Use == Required || s.ccp != nil && s.ccp.State() == ppp.Opened && s.ccp.Results().RecvBits != 0:
		s.stats.Cleartext++
	default:
		s.ipInput(data)
	}
}

// controlFrame takes a frame that is not data.
func (s *Session) controlFrame(now time.Time, proto ppp.Proto, data []byte) {
	if s.q.runningIDs {
		s.ids.in(proto, data)
	}
	switch {
	case proto == ppp.ProtoLCP:
		s.lcpStep(now, s.lcp.Input(now, data))
	case proto == ppp.ProtoCHAP && s.chap != nil:
		s.chapStep(now, s.chap.Input(now, data))
	case proto == ppp.ProtoCCP && s.ccp != nil:
		s.ccpStep(now, s.ccp.Input(now, data))
	case proto == ppp.ProtoIPCP && s.ipcp != nil:
		if s.q.refuse && !s.settled() {
			s.terminateAck(now, data)
			break
		}
		s.ipcpStep(now, s.ipcp.Input(now, data))
	case proto == ppp.ProtoCHAP, proto == ppp.ProtoIPCP:
		s.stats.BadFrames++ // not at this time
	case s.phase == phaseNetwork || s.phase == phaseUp:
		s.reject(now, proto, data)
	}
	s.arm(now)
}

// terminateAck is pppd's answer to IPCP while it waits for encryption.
func (s *Session) terminateAck(now time.Time, data []byte) {
	if len(data) >= 4 && ppp.Code(data[0]) == ppp.CodeConfigureRequest {
		s.sendPPP(now, ppp.Packet{Proto: ppp.ProtoIPCP, Data: []byte{byte(ppp.CodeTerminateAck), data[1], 0, 4}})
	}
}

// reject answers a protocol that we do not speak, CCP among them where encryption is
// off.
func (s *Session) reject(now time.Time, proto ppp.Proto, data []byte) {
	s.stats.BadFrames++
	if s.rejects++; s.rejects <= maxRejects {
		s.lcpStep(now, s.lcp.ProtocolReject(now, proto, data))
	}
}

// ciphertext opens an MPPE packet in place.
func (s *Session) ciphertext(data []byte) {
	if s.opener == nil || len(data) < mppe.HeaderLen {
		s.stats.Undecryptable++
		return
	}
	plain, err := s.opener.Open(data[mppe.HeaderLen:mppe.HeaderLen], data)
	if err != nil {
		s.stats.Undecryptable++
		if errors.Is(err, mppe.ErrNeedReset) {
			now := time.Now()
			s.ccpStep(now, s.ccp.ResetRequest(now))
		}
		return
	}
	proto, ip, err := ppp.ParseFrame(plain)
	if err != nil || proto != ppp.ProtoIP {
		s.stats.BadFrames++
		return
	}
	s.ipInput(ip)
}

// ipInput takes one inner packet.
func (s *Session) ipInput(b []byte) {
	if s.phase != phaseUp || len(b) < ipv4Header || b[0]>>4 != 4 {
		s.stats.BadFrames++
		return
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < ipv4Header || n > len(b) {
		s.stats.BadFrames++
		return
	}
	b = b[:n:n]
	s.stats.InOctets += uint64(n)
	s.stats.InPackets++
	switch {
	case s.answered(b):
	case s.deliver != nil:
		s.rx.ips = append(s.rx.ips, b)
	default:
		s.answerPing(b)
	}
}

// Send sends an inner packet; it copies it.
func (s *Session) Send(ip []byte) error {
	if len(ip) < ipv4Header || ip[0]>>4 != 4 {
		return ErrNotIPv4
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendIP(ip)
}

// sendIP is Send. mu is held.
func (s *Session) sendIP(ip []byte) error {
	if len(ip) > s.mtu {
		return ErrTooBig
	}
	t := s.host.tx.Get().(*txBuffer)
	defer s.host.tx.Put(t)
	copy(t.buf[headroom:], ip)
	m, err := s.seal(t.buf[:], len(ip))
	if err != nil {
		return err
	}
	return s.write(t, m.Buf)
}

// seal makes a GRE packet of buf[headroom:headroom+n] in place. mu is held.
func (s *Session) seal(buf []byte, n int) (gre.Message, error) {
	if s.phase != phaseUp {
		return gre.Message{}, ErrNotUp
	}
	if n > s.mtu {
		return gre.Message{}, ErrTooBig
	}
	off, end := headroom-2, headroom+n
	binary.BigEndian.PutUint16(buf[off:], uint16(ppp.ProtoIP))
	if s.sealer != nil {
		off -= mppe.HeaderLen
		s.sealer.Seal(buf[:off], buf[off+mppe.HeaderLen:end])
		off -= 2
		binary.BigEndian.PutUint16(buf[off:], uint16(ppp.ProtoMPPE))
	}
	if !s.acfc {
		off -= 2
		buf[off], buf[off+1] = 0xFF, 0x03
	}
	off = s.number(buf[:end], off)
	s.stats.OutOctets += uint64(n)
	s.stats.OutPackets++
	return gre.Message{Buf: buf[off:end], N: end - off, Addr: s.cfg.Server.Addr()}, nil
}

// number puts the GRE header in front of buf[off:]: the next number, and the
// acknowledgement that is due.
func (s *Session) number(buf []byte, off int) int {
	high, _ := s.window.Highest()
	off = gre.Prepend(buf, off, s.peerCallID, true, s.seq, !s.acked, high)
	s.seq++
	s.acked, s.ackAt = true, time.Time{}
	return off
}

// sendAck sends an acknowledgement without a payload, if one is still due.
func (s *Session) sendAck() {
	s.ackAt = time.Time{}
	if s.acked {
		return
	}
	s.acked = true
	t := s.host.tx.Get().(*txBuffer)
	defer s.host.tx.Put(t)
	high, _ := s.window.Highest()
	off := gre.Prepend(t.buf[:headroom], headroom, s.peerCallID, false, 0, true, high)
	_ = s.write(t, t.buf[off:headroom]) // counted; the next one says the same
}

// sendPPP sends a control packet. mu is held.
func (s *Session) sendPPP(now time.Time, p ppp.Packet) {
	t := s.host.tx.Get().(*txBuffer)
	defer s.host.tx.Put(t)
	buf := ppp.AppendHeader(t.buf[:headroom], p.Proto, s.acfc, s.pfc)
	at := len(buf)
	buf = append(buf, p.Data...)
	if s.q.runningIDs {
		s.ids.out(p.Proto, buf[at:])
	}
	swap := s.q.swap && s.phase < phaseUp && s.late == nil && s.seq%swapEvery == swapEvery-1
	off := s.number(buf, headroom)
	if swap {
		s.late, s.lateAt = bytes.Clone(buf[off:]), now.Add(swapWait)
		s.wake(now, s.lateAt)
		return
	}
	_ = s.write(t, buf[off:]) // counted; the machine repeats what matters
	s.sendLate()
}

// sendRaw sends a packet of no machine of ours.
func (s *Session) sendRaw(now time.Time, p ppp.Proto, data []byte) {
	data = bytes.Clone(data)
	if s.q.runningIDs {
		data[1] = s.ids.take()
	}
	s.sendPPP(now, ppp.Packet{Proto: p, Data: data})
}

// sendLate sends the packet that was kept back.
func (s *Session) sendLate() {
	b := s.late
	s.late, s.lateAt = nil, time.Time{}
	if b != nil {
		t := s.host.tx.Get().(*txBuffer)
		defer s.host.tx.Put(t)
		_ = s.write(t, b) // as in sendPPP
	}
}

// write sends one packet. mu is held.
func (s *Session) write(t *txBuffer, b []byte) error {
	t.ms[0] = gre.Message{Buf: b, N: len(b), Addr: s.cfg.Server.Addr()}
	k, _ := s.host.conn.WriteBatch(t.ms[:]) // its error is the reader's too, who ends the session
	t.ms[0] = gre.Message{}
	if k == 0 {
		s.stats.Unsent++
		return ErrUnsent
	}
	return nil
}
