package pptp

import (
	"encoding/binary"
	"errors"
	"time"

	"postern/pptp/gre"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
	"postern/pptp/tun"
)

const (
	// batchSize is how many packets one system call moves at most.
	batchSize = 64
	// maxFrame holds the largest packet we send or take: an inner packet of 1500
	// octets and every header. Larger GRE packets are cut by the socket and fall
	// to the length check.
	maxFrame = 2048
	// headroom is kept in front of an inner packet: GRE 16, PPP 4, MPPE 2, inner
	// protocol 2.
	headroom = 32

	ipv4Header = 20

	// ackDelay is how long an acknowledgement waits for a packet to ride on; RFC
	// 2637 §4.4 wants a fraction of the peer's time-out, which is no less than 0.5 s.
	ackDelay = 100 * time.Millisecond
	// ackEvery acknowledges at once after so many packets, so that a peer with the
	// smallest window in use (RouterOS and old Windows: 16 and more) does not stall.
	ackEvery = 8
)

// rxBatch collects what a receiver's batch holds for the TUN device.
type rxBatch struct {
	node *Node
	now  int64 // Node.since, for all of the batch
	ms   []gre.Message
	bufs [][]byte
}

func newRxBatch(n *Node) *rxBatch {
	b := &rxBatch{node: n, ms: make([]gre.Message, batchSize), bufs: make([][]byte, 0, 2*batchSize)}
	slab := make([]byte, batchSize*maxFrame)
	for i := range b.ms {
		b.ms[i].Buf = slab[i*maxFrame : (i+1)*maxFrame : (i+1)*maxFrame]
	}
	return b
}

// flush writes what was collected; the views into ms end with it.
func (b *rxBatch) flush() {
	if len(b.bufs) == 0 {
		return
	}
	n, _ := b.node.tun.WriteBatch(b.bufs, 0) // its error is the reader's too, who tells
	b.node.metrics.drops[DropTunWrite].Add(uint64(len(b.bufs) - n))
	clear(b.bufs)
	b.bufs = b.bufs[:0]
}

// receive moves packets of one GRE socket into sessions until the socket closes.
func (n *Node) receive(conn gre.Conn) error {
	b := newRxBatch(n)
	for {
		k, err := conn.ReadBatch(b.ms)
		if err != nil {
			return err
		}
		n.input(b, b.ms[:k])
	}
}

// input hands a batch to its sessions, a run of packets of one shard under one
// lock, and what comes out of it to the TUN device.
func (n *Node) input(b *rxBatch, ms []gre.Message) {
	now := time.Now()
	n.coarse.Store(now.Unix())
	b.now = n.since(now)
	var sh *shard
	for i := range ms {
		h, err := gre.Parse(ms[i].Buf[:ms[i].N])
		if err != nil {
			n.metrics.drop(DropMalformed)
			continue
		}
		s := n.calls.at[h.CallID].Load()
		if s == nil {
			n.metrics.drop(n.stray(ms[i].Addr, now))
			continue
		}
		if s.peer != ms[i].Addr {
			n.metrics.drop(DropWrongPeer)
			continue
		}
		if s.shard != sh {
			if sh != nil {
				sh.rx = nil
				sh.leave()
			}
			sh = s.shard
			sh.mu.Lock()
			sh.rx = b
		}
		s.greInput(now, &h)
		if len(b.bufs) >= batchSize { // held packets may come out in a burst
			b.flush()
		}
	}
	if sh != nil {
		sh.rx = nil
		sh.leave()
	}
	b.flush()
}

// greInput takes one packet of the session's tunnel.
func (s *session) greInput(now time.Time, h *gre.Header) {
	if s.phase == phaseGone {
		return
	}
	// Acknowledgements steer nothing here (package gre says why), but one for a
	// packet we never sent is worth a counter: somebody is guessing.
	if h.HasAck && int32(s.seq.Load()-1-h.Ack) < 0 {
		s.node.metrics.drop(DropStrayAck)
	}
	if !h.HasSeq {
		return
	}
	before, any := s.window.Highest()
	switch s.window.Receive(now, h.Seq, h.Payload, s.deliver) {
	case gre.Delivered, gre.Late, gre.Jumped, gre.Held:
	case gre.Duplicate, gre.TooOld, gre.TooFar, gre.Unknown:
		s.node.metrics.drop(DropDuplicate)
		return
	}
	s.afterReceive(now, before, any)
}

// afterReceive sees to the acknowledgement and to packets still held.
func (s *session) afterReceive(now time.Time, before uint32, any bool) {
	if s.phase == phaseGone {
		return
	}
	if high, ok := s.window.Highest(); ok && (!any || high != before) {
		if s.ackDue.Swap(ackPending|uint64(high)) == 0 {
			s.unacked = 0
			s.ackAt = now.Add(ackDelay)
			s.shard.wheel.before(&s.timer, s.ackAt)
		}
		if s.unacked++; s.unacked >= ackEvery {
			s.sendAck()
		}
	}
	s.shard.wheel.before(&s.timer, s.window.Deadline())
}

// ackPending marks session.ackDue as holding an acknowledgement.
const ackPending = 1 << 32

// sendAck sends an acknowledgement without a payload, if one is still due.
func (s *session) sendAck() {
	s.unacked, s.ackAt = 0, time.Time{}
	due := s.ackDue.Swap(0)
	if due == 0 {
		return
	}
	sh := s.shard
	sh.tx.Lock()
	defer sh.tx.Unlock()
	buf := sh.scratch[:headroom]
	off := gre.Prepend(buf, headroom, s.peerCallID, false, 0, true, uint32(due))
	s.write(buf[off:])
}

// frame takes one PPP frame in its order.
func (s *session) frame(b []byte) {
	if s.phase == phaseGone {
		return
	}
	proto, data, err := ppp.ParseFrame(b)
	if err != nil {
		s.node.metrics.drop(DropBadFrame)
		return
	}
	switch proto {
	case ppp.ProtoMPPE:
		s.ciphertext(data)
	case ppp.ProtoIP:
		switch {
		case s.phase != phaseNetwork && s.phase != phaseUp:
			s.node.metrics.drop(DropWrongPhase)
		case s.opener != nil || s.requireMPPE:
			s.node.metrics.drop(DropCleartext)
			if s.phase == phaseUp {
				s.end(time.Now(), Cleartext)
			}
		default:
			s.ipInput(data)
		}
	default:
		s.controlFrame(time.Now(), proto, data)
	}
}

// ciphertext opens an MPPE packet in place. It is never answered with a
// Protocol-Reject: while CCP opens, that would leave a dead tunnel.
func (s *session) ciphertext(data []byte) {
	if s.opener == nil {
		s.node.metrics.drop(DropCiphertext)
		return
	}
	if len(data) < mppe.HeaderLen {
		s.node.metrics.drop(DropBadFrame)
		return
	}
	plain, err := s.opener.Open(data[mppe.HeaderLen:mppe.HeaderLen], data)
	if err != nil {
		s.node.metrics.drop(DropUndecryptable)
		if errors.Is(err, mppe.ErrNeedReset) {
			s.ccpStep(time.Now(), s.ccp.ResetRequest(time.Now()))
		}
		return
	}
	proto, ip, err := ppp.ParseFrame(plain)
	switch {
	case err != nil:
		s.node.metrics.drop(DropBadFrame)
	case proto != ppp.ProtoIP:
		s.rejectProtocol(time.Now(), proto, ip)
	default:
		s.ipInput(ip)
	}
}

// ipInput takes one packet of the client's: its source must be the address that
// the client was given, or one of the networks that are routed to it.
func (s *session) ipInput(b []byte) {
	m := s.node.metrics
	if s.phase != phaseUp {
		m.drop(DropWrongPhase)
		return
	}
	if len(b) < ipv4Header || b[0]>>4 != 4 {
		m.drop(DropBadIP)
		return
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < ipv4Header || n > len(b) {
		m.drop(DropBadIP)
		return
	}
	b = b[:n:n]
	if src, ok := tun.Source(b); !ok || src != s.inner && s.node.owner(src) != s {
		m.drop(DropSpoofed)
		return
	}
	if !s.inLimit.take(s.shard.rx.now, n) {
		m.drop(DropLimitIn)
		return
	}
	tun.ClampMSS(b, s.mtu)
	s.in.add(n)
	m.packets[dirIn].Add(1)
	m.octets[dirIn].Add(uint64(n))
	s.lastActive.Store(s.shard.node.coarse.Load())
	s.shard.rx.bufs = append(s.shard.rx.bufs, b)
}

// transmit moves packets of the TUN device into sessions until the device closes.
func (n *Node) transmit() error {
	b := newTxBatch(n)
	for {
		k, err := n.tun.ReadBatch(b.bufs, b.sizes, headroom)
		if err != nil {
			return err
		}
		b.output(k)
	}
}

// txBatch is the transmitter's room: packets as the device gives them, headroom in
// front, and the messages they become.
type txBatch struct {
	node  *Node
	bufs  [][]byte
	sizes []int
	ms    []gre.Message
}

func newTxBatch(n *Node) *txBatch {
	b := &txBatch{node: n, bufs: make([][]byte, batchSize), sizes: make([]int, batchSize), ms: make([]gre.Message, 0, batchSize)}
	slab := make([]byte, batchSize*maxFrame)
	for i := range b.bufs {
		b.bufs[i] = slab[i*maxFrame : (i+1)*maxFrame : (i+1)*maxFrame]
	}
	return b
}

// output sends the first k packets, a run of packets of one shard and one socket
// under one lock and in one call.
func (b *txBatch) output(k int) {
	var sh *shard
	var conn gre.Conn
	clock := time.Now()
	b.node.coarse.Store(clock.Unix())
	now := b.node.since(clock)
	for i := range k {
		ip := b.bufs[i][headroom : headroom+b.sizes[i]]
		dst, ok := tun.Destination(ip)
		if !ok {
			b.node.metrics.drop(DropBadIP)
			continue
		}
		s := b.node.owner(dst)
		if s == nil {
			b.node.metrics.drop(DropNoSession)
			continue
		}
		if s.shard != sh || s.gre != conn {
			b.send(conn)
			if s.shard != sh {
				if sh != nil {
					sh.tx.Unlock()
				}
				sh = s.shard
				sh.tx.Lock()
			}
			conn = s.gre
		}
		if !s.out.limit.take(now, len(ip)) {
			b.node.metrics.drop(DropLimitOut)
			continue
		}
		if len(ip) > s.out.mru {
			b.tooBig(s, ip)
			continue
		}
		if m, ok := s.seal(b.bufs[i], b.sizes[i]); ok {
			b.ms = append(b.ms, m)
		}
	}
	b.send(conn)
	if sh != nil {
		sh.tx.Unlock()
	}
}

// tooBig sends a packet larger than its client takes in fragments or, where it must
// not be fragmented, tells its sender. The TUN device has the usual MTU, so that this
// is for clients with a small MRU and may allocate. shard.tx is held.
func (b *txBatch) tooBig(s *session, ip []byte) {
	n := b.node
	if mustNotFragment(ip) {
		n.metrics.drop(DropTooBig)
		if reply := icmpTooBig(n.settings.Load().Inside.As4(), ip, s.out.mru); reply != nil {
			_, _ = n.tun.WriteBatch([][]byte{reply}, 0) // as lost as any ICMP may be
		}
		return
	}
	for _, piece := range fragment(ip, s.out.mru, headroom) {
		if m, ok := s.seal(piece, len(piece)-headroom); ok {
			b.ms = append(b.ms, m)
		}
	}
}

// send writes the collected messages.
func (b *txBatch) send(conn gre.Conn) {
	if len(b.ms) == 0 {
		return
	}
	k, _ := conn.WriteBatch(b.ms) // its error is the reader's too, who tells
	b.node.metrics.drops[DropSend].Add(uint64(len(b.ms) - k))
	b.ms = b.ms[:0]
}

// seal makes a GRE packet of buf[headroom:headroom+n] in place. shard.tx is held.
func (s *session) seal(buf []byte, n int) (gre.Message, bool) {
	m := s.node.metrics
	t := &s.out
	if !t.open || t.sealer == nil && s.requireMPPE {
		m.drop(DropWrongPhase)
		return gre.Message{}, false
	}
	ip := buf[headroom : headroom+n]
	tun.ClampMSS(ip, s.mtu)
	off, end := headroom, headroom+n
	off -= 2
	binary.BigEndian.PutUint16(buf[off:], uint16(ppp.ProtoIP))
	if t.sealer != nil {
		off -= mppe.HeaderLen
		t.sealer.Seal(buf[:off], buf[off+mppe.HeaderLen:end])
		off -= 2
		binary.BigEndian.PutUint16(buf[off:], uint16(ppp.ProtoMPPE))
	}
	if !t.acfc {
		off -= 2
		buf[off], buf[off+1] = 0xFF, 0x03
	}
	due := s.ackDue.Swap(0)
	off = gre.Prepend(buf[:end], off, s.peerCallID, true, s.seq.Add(1)-1, due != 0, uint32(due))
	t.add(n)
	m.packets[dirOut].Add(1)
	m.octets[dirOut].Add(uint64(n))
	s.lastActive.Store(s.node.coarse.Load())
	return gre.Message{Buf: buf[off:end], N: end - off, Addr: s.peer}, true
}

// sendPPP sends a control packet. shard.mu is held.
func (s *session) sendPPP(p ppp.Packet) {
	sh := s.shard
	sh.tx.Lock()
	defer sh.tx.Unlock()
	buf := ppp.AppendHeader(sh.scratch[:headroom], p.Proto, s.out.acfc, s.out.pfc)
	buf = append(buf, p.Data...)
	due := s.ackDue.Swap(0)
	off := gre.Prepend(buf, headroom, s.peerCallID, true, s.seq.Add(1)-1, due != 0, uint32(due))
	s.write(buf[off:])
}

// write sends one packet. shard.tx is held.
func (s *session) write(b []byte) {
	sh := s.shard
	sh.one[0] = gre.Message{Buf: b, N: len(b), Addr: s.peer}
	if k, _ := s.gre.WriteBatch(sh.one[:]); k == 0 {
		s.node.metrics.drop(DropSend)
	}
	sh.one[0] = gre.Message{}
}
