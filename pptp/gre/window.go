package gre

import (
	"bytes"
	"time"
)

// Chosen by us.
const (
	// holdPackets and holdTime bound what one session keeps while a packet is
	// missing. Windows sends 10 before 9 inside its handshake and radio links
	// turn a few packets round; TCP inside the tunnel takes a packet that comes
	// three places late for lost. What is not there after 30 ms is lost.
	holdPackets = 8
	holdTime    = 30 * time.Millisecond

	// holdSpan is how far ahead a packet may be and still be waited for. Beyond
	// it a burst was lost, and waiting only adds delay.
	holdSpan = 32

	// holdOctets is the longest packet worth a copy. With holdPackets it makes
	// 16 KB the most a session holds.
	holdOctets = 2048

	// lateSpan is how far behind a packet that has not come before is still
	// delivered: MPPE keeps the keys of missing packets, so that it opens. The
	// width of Window.seen.
	lateSpan = 64

	// maxJump is how many packets may be missing before one that is believed at
	// once: a round of MPPE's counts, 12 bits of them. See Window.far.
	maxJump = 4096
)

// Window is the receiving end of one call: it puts packets in order and delivers
// each once. The zero value is ready, and whatever number comes first is right:
// Linux begins at 1, pptpd and Windows at 0. It is not safe for concurrent use.
//
// No verdict ends it: a packet refused leaves it as it was. It takes 32 octets,
// and more only while packets are held.
type Window struct {
	seen    uint64 // bit k: packet next-1-k was delivered
	held    *held  // nil: none
	next    uint32 // number expected
	probe   uint32 // number that would confirm a jump beyond maxJump
	begun   bool   // a packet has come, next means something
	probing bool   // probe means something
}

// held keeps copies in the order of their numbers.
type held struct {
	n       int
	packets [holdPackets]heldPacket
}

type heldPacket struct {
	seq     uint32
	until   time.Time
	payload []byte
}

// Receive takes the packet of number seq and calls deliver for it and for those
// that waited for it, or for nothing. A payload passed to deliver is valid during
// the call; deliver must not use the Window. Nothing is allocated but what is Held.
func (w *Window) Receive(now time.Time, seq uint32, payload []byte, deliver func([]byte)) Verdict {
	if !w.begun {
		w.begun = true
		w.pass(seq)
		deliver(payload)
		return Delivered
	}
	ahead := int32(seq - w.next) // numbers wrap: RFC 1982's comparison
	switch {
	case ahead == 0:
		w.probing = false
		w.pass(seq)
		deliver(payload)
		if w.held != nil {
			w.release(deliver)
		}
		return Delivered
	case ahead < 0:
		return w.behind(seq, payload, deliver)
	case w.held.has(seq):
		return Duplicate
	case ahead > maxJump && !w.far(seq):
		return TooFar
	case ahead > holdSpan || len(payload) > holdOctets:
		w.probing = false
		return w.jump(seq, payload, deliver)
	}
	w.probing = false
	return w.hold(now, seq, payload, deliver)
}

// Timeout gives up waiting where that has gone on for long enough, and returns
// how many packets it delivered.
func (w *Window) Timeout(now time.Time, deliver func([]byte)) int {
	n := 0
	for w.held != nil && w.held.expired(now) {
		n += w.skip(deliver)
	}
	return n
}

// Deadline is when to call Timeout. Zero: nothing is held.
func (w *Window) Deadline() time.Time {
	var first time.Time
	if w.held == nil {
		return first
	}
	for i := range w.held.n {
		if t := w.held.packets[i].until; first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}

// Highest is the number to acknowledge (§4.1): of the last packet delivered in
// order, those given up counting as delivered.
func (w *Window) Highest() (seq uint32, any bool) { return w.next - 1, w.begun }

// pass makes seq, which is not behind, the last delivered in order.
func (w *Window) pass(seq uint32) {
	w.seen = w.seen<<(seq-w.next+1) | 1 // a shift by 64 or more leaves 0
	w.next = seq + 1
}

// behind delivers a packet that was given up, and no other. A peer that starts
// again from 0 is refused here: a call has one run of numbers (§4.1), and a
// recorded packet would look the same.
func (w *Window) behind(seq uint32, payload []byte, deliver func([]byte)) Verdict {
	back := w.next - 1 - seq
	switch {
	case back >= lateSpan:
		return TooOld
	case w.seen>>back&1 != 0:
		return Duplicate
	}
	w.seen |= 1 << back
	deliver(payload)
	return Late
}

// far says whether a packet more than maxJump ahead is believed: only when the
// one before it in number came just before it, as RFC 3550 §A.1 has it for RTP.
// One stray or forged packet then cannot put the session's own behind, and a
// client that was out of reach while we kept sending comes back.
func (w *Window) far(seq uint32) bool {
	if w.probing && seq == w.probe {
		return true
	}
	w.probing, w.probe = true, seq+1
	return false
}

// jump delivers what is held before seq, then seq, and what waited behind it.
func (w *Window) jump(seq uint32, payload []byte, deliver func([]byte)) Verdict {
	for w.held != nil && int32(w.held.packets[0].seq-seq) < 0 {
		w.skip(deliver)
	}
	w.pass(seq)
	deliver(payload)
	if w.held != nil {
		w.release(deliver)
	}
	return Jumped
}

// hold keeps a copy of a packet a little ahead of its turn. If there is no room,
// the first gap is given up until there is.
func (w *Window) hold(now time.Time, seq uint32, payload []byte, deliver func([]byte)) Verdict {
	if w.held == nil {
		w.held = new(held)
	}
	at := w.held.find(seq)
	if w.held.n == holdPackets {
		if at == 0 { // itself the first after the gap
			return w.jump(seq, payload, deliver)
		}
		w.skip(deliver)
		if seq == w.next {
			return w.jump(seq, payload, deliver)
		}
		return w.hold(now, seq, payload, deliver)
	}
	w.held.insert(at, heldPacket{seq, now.Add(holdTime), bytes.Clone(payload)})
	return Held
}

// skip gives up the packets missing before the first held, and delivers that one
// and those that follow it without a gap.
func (w *Window) skip(deliver func([]byte)) int {
	first := w.held.packets[0].seq
	w.seen <<= first - w.next
	w.next = first
	return w.release(deliver)
}

// release delivers the held packets whose turn it is.
func (w *Window) release(deliver func([]byte)) int {
	n := 0
	for w.held != nil && w.held.packets[0].seq == w.next {
		p := w.held.takeFirst()
		if w.held.n == 0 {
			w.held = nil
		}
		w.pass(p.seq)
		deliver(p.payload)
		n++
	}
	return n
}

// find returns the place of seq: of the first packet not before it.
func (h *held) find(seq uint32) int {
	for i := range h.n {
		if int32(h.packets[i].seq-seq) >= 0 {
			return i
		}
	}
	return h.n
}

func (h *held) has(seq uint32) bool {
	if h == nil {
		return false
	}
	at := h.find(seq)
	return at < h.n && h.packets[at].seq == seq
}

func (h *held) insert(at int, p heldPacket) {
	copy(h.packets[at+1:], h.packets[at:h.n])
	h.packets[at] = p
	h.n++
}

func (h *held) takeFirst() heldPacket {
	p := h.packets[0]
	copy(h.packets[:], h.packets[1:h.n])
	h.n--
	h.packets[h.n] = heldPacket{}
	return p
}

func (h *held) expired(now time.Time) bool {
	for i := range h.n {
		if !now.Before(h.packets[i].until) {
			return true
		}
	}
	return false
}
