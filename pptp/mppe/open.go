package mppe

import "slices"

// Chosen by us.
const (
	// lateWindow is how far behind a count may lie and still be taken for a
	// late or repeated packet. Networks reorder by tens of packets at most.
	lateWindow = 256

	// maxGap is how many packets may be missing before one that is believed to
	// be ahead: all of the count's space but for what is late and as much
	// again between the two, where nothing can be told. Half the space, which
	// Linux takes, would leave a session dead after 40 ms of silence at
	// 50,000 packets a second. What forged gaps cost is bounded by farKeys.
	maxGap = countSpace - 2*lateWindow - 1

	// outOfStep is after how many packets in a row that do not open we try
	// whether a whole round of counts, 4096 packets, has been lost: at 20 Mbit/s
	// that is two seconds without a radio link.
	outOfStep = 8

	// extraChanges is how many key changes a FLUSHED packet may be ahead of
	// what its count says: 1 for Linux, which changes the key when it resets
	// (see Sealer.Reset), 1 more for each such packet that was lost, 16 for a
	// lost round of counts.
	extraChanges = 20
)

// Opener decrypts one direction of a link. It is not safe for concurrent use.
// In stateless mode it keeps no RC4 table: 80 octets in all, and while packets
// are missing up to 768 for the keys of those and 4 KB for finding the key of
// one far ahead.
type Opener struct {
	chain  chain
	bad    uint8    // packets in a row that did not open
	key    [16]byte // of packet next-1; before the first, the first session key
	next   uint64   // number of the packet after the furthest opened, from 0
	seen   uint64   // bit k: packet next-1-k was opened
	late   *lateKeys
	far    *farKeys
	stream *rc4 // stateful only: the table as packet next will find it
}

// NewOpener expects coherency count 0 under the peer's send key, 128 bits of
// it whatever the strength. An unknown strength panics, as NewSealer's does.
func NewOpener(start *[16]byte, p Params) *Opener {
	o := &Opener{}
	o.chain, o.key = newChain(start, p.Strength)
	if !p.Stateless {
		o.stream = &rc4{}
		o.stream.init(&o.key)
	}
	return o
}

// Open appends the decrypted frame, protocol number first, to dst; frame
// begins with the MPPE header and holds an IP packet (see plausible). It allocates only if dst lacks room for
// len(frame)-HeaderLen octets, and when packets are found missing.
//
// To open in place, Open(frame[HeaderLen:HeaderLen], frame): the frame's data
// must lie exactly where the result goes, or apart from it. On an error dst
// and frame are as they were and the result is nil.
//
// All errors are this package's sentinels, and all leave the Opener as it was
// but for its count of failures.
func (o *Opener) Open(dst, frame []byte) ([]byte, error) {
	if len(frame) < HeaderLen+minPlain {
		return nil, ErrShort
	}
	if frame[0]&flagEncrypted == 0 {
		return nil, ErrNotEncrypted
	}
	flushed := frame[0]&flagFlushed != 0
	count := uint64(frame[0])<<8&0xf00 | uint64(frame[1])
	ahead := (count - o.next) & countMask
	data := frame[HeaderLen:]
	if o.stream != nil {
		return o.openStateful(dst, data, ahead, flushed)
	}
	if !flushed {
		return nil, ErrNotFlushed
	}
	return o.openStateless(dst, data, ahead)
}

// openStateless handles RFC 3078 §8.1: the key of a packet is found by as many
// changes as its count is ahead of the last one.
func (o *Opener) openStateless(dst, data []byte, ahead uint64) (out []byte, err error) {
	switch {
	case ahead <= maxGap:
		out, err = o.openAhead(dst, data, o.next+ahead)
	case countSpace-ahead <= lateWindow:
		out, err = o.openLate(dst, data, countSpace-ahead)
	default:
		err = ErrGap
	}
	if err == nil || err == ErrReplay {
		return out, err
	}
	if o.bad < outOfStep {
		o.bad++
		return nil, err
	}
	if ahead > maxGap {
		if out, far := o.openAhead(dst, data, o.next+ahead); far == nil {
			return out, nil
		}
	}
	if out, far := o.openAhead(dst, data, o.next+ahead+countSpace); far == nil {
		return out, nil
	}
	return nil, err
}

// openAhead opens a packet whose number is next or greater.
func (o *Opener) openAhead(dst, data []byte, number uint64) ([]byte, error) {
	var skipped [lateSlots][16]byte
	missing := number - o.next
	key := o.key
	if missing <= lateSlots {
		for i := range missing {
			o.chain.next(&key)
			skipped[i] = key
		}
		o.chain.next(&key)
	} else {
		key = o.keyAt(number + 1)
	}

	var r rc4
	r.init(&key)
	head := peek(&r, data)
	if !plausible(&head, len(data)) {
		return nil, ErrNonsense
	}

	if missing > 0 {
		first := o.next
		if missing > lateSlots {
			first = number - lateSlots
			k := o.keyAt(first)
			for i := range skipped {
				o.chain.next(&k)
				skipped[i] = k
			}
		}
		if o.late == nil {
			o.late = &lateKeys{}
		}
		for n := first; n < number; n++ {
			o.late.put(n, &skipped[n-first])
		}
	}
	o.key = key
	o.advance(number)
	return finish(dst, data, &head, &r), nil
}

// openLate opens a packet from the keys kept of those that were missing.
func (o *Opener) openLate(dst, data []byte, back uint64) ([]byte, error) {
	if back <= 64 && o.seen>>(back-1)&1 != 0 {
		return nil, ErrReplay
	}
	if o.late == nil || back > o.next {
		return nil, ErrTooOld
	}
	key := o.late.get(o.next - back)
	if key == nil {
		return nil, ErrTooOld
	}
	var r rc4
	r.init(key)
	head := peek(&r, data)
	if !plausible(&head, len(data)) {
		return nil, ErrNonsense
	}
	o.late.drop(o.next - back)
	if back <= 64 {
		o.seen |= 1 << (back - 1)
	}
	o.bad = 0
	return finish(dst, data, &head, &r), nil
}

// openStateful handles RFC 3078 §8.2. The table runs on from packet to packet;
// FLUSHED and flag packets start it anew, so they can be opened whatever was
// lost before them. Late packets cannot: the table has passed them.
//
// A gap does not end the stream, as a forged packet can show one, too: should
// the packet expected still come, it opens.
func (o *Opener) openStateful(dst, data []byte, ahead uint64, flushed bool) ([]byte, error) {
	if back := countSpace - ahead; back <= lateWindow {
		if back <= 64 && o.seen>>(back-1)&1 != 0 {
			return nil, ErrReplay
		}
		return nil, ErrTooOld
	}
	number := o.next + ahead
	if !flushed && number&flagPacket != flagPacket {
		if ahead != 0 {
			return nil, ErrNeedReset
		}
		r := *o.stream
		head := peek(&r, data)
		if !plausible(&head, len(data)) {
			return nil, ErrNonsense
		}
		out := finish(dst, data, &head, &r)
		*o.stream = r
		o.advance(number)
		return out, nil
	}

	// The number of flag packets from next up to this one.
	key := o.key
	for range (number+1)/256 - o.next/256 {
		o.chain.next(&key)
	}
	for range 1 + extraChanges {
		var r rc4
		r.init(&key)
		head := peek(&r, data)
		if plausible(&head, len(data)) {
			out := finish(dst, data, &head, &r)
			*o.stream, o.key = r, key
			o.advance(number)
			return out, nil
		}
		o.chain.next(&key)
	}
	return nil, ErrNonsense
}

// advance notes that a packet at or past next was opened.
func (o *Opener) advance(number uint64) {
	o.seen = o.seen<<(number+1-o.next) | 1
	round := o.next / lateWindow
	o.next = number + 1
	o.bad = 0
	if o.next/lateWindow != round { // rarely: let go of what is of no more use
		o.tidy()
	}
}

func (o *Opener) tidy() {
	if o.late != nil && o.late.expire(o.next) {
		o.late = nil
	}
	if o.far != nil && o.far.passed(o.next) {
		o.far = nil
	}
}

// peek decrypts the first octets.
func peek(r *rc4, data []byte) (head [peekLen]byte) {
	r.xor(head[:], data[:peekLen])
	return head
}

// finish appends what peek has decrypted and the rest.
func finish(dst, data []byte, head *[peekLen]byte, r *rc4) []byte {
	n := len(dst)
	dst = slices.Grow(dst, len(data))[:n+len(data)]
	copy(dst[n:], head[:])
	r.xor(dst[n+peekLen:], data[peekLen:])
	return dst
}
