package mppe

import "slices"

// Sealer encrypts one direction of a link. It is not safe for concurrent use.
// In stateless mode it keeps no RC4 table: 48 octets in all.
type Sealer struct {
	chain  chain
	key    [16]byte // current session key
	flush  bool     // stateful: the peer asked for a reset
	count  uint16   // of the next packet
	stream *rc4     // stateful only
}

// NewSealer starts at coherency count 0 from the sender's start key, 128 bits
// of it whatever the strength. An unknown strength panics: a caller that has
// agreed on nothing must not encrypt.
func NewSealer(start *[16]byte, p Params) *Sealer {
	s := &Sealer{}
	s.chain, s.key = newChain(start, p.Strength)
	if !p.Stateless {
		s.stream = &rc4{}
		s.stream.init(&s.key)
	}
	return s
}

// Seal appends the MPPE header and the encrypted frame to dst; frame begins
// with the PPP protocol number. It allocates only if dst lacks room for
// HeaderLen+len(frame) octets.
//
// To seal in place, let the frame lie where its ciphertext goes and leave
// room in front: Seal(buf[:off-HeaderLen], buf[off:end]). Any other overlap of
// frame with the room behind dst garbles the packet.
func (s *Sealer) Seal(dst, frame []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, HeaderLen+len(frame))[:n+HeaderLen+len(frame)]
	header, out := dst[n:n+HeaderLen], dst[n+HeaderLen:]

	if s.stream == nil {
		s.chain.next(&s.key)
		s.putHeader(header, flagFlushed|flagEncrypted)
		var r rc4
		r.init(&s.key)
		r.xor(out, frame)
		return dst
	}

	// The very first packet does not say FLUSHED, though its table is fresh:
	// Linux takes FLUSHED in stateful mode for a key change (see Reset).
	var bits byte = flagEncrypted
	if s.flush {
		s.count |= flagPacket
		s.flush = false
	}
	if s.count&flagPacket == flagPacket {
		s.chain.next(&s.key)
		s.stream.init(&s.key)
		bits |= flagFlushed
	}
	s.putHeader(header, bits)
	s.stream.xor(out, frame)
	return dst
}

func (s *Sealer) putHeader(b []byte, bits byte) {
	b[0], b[1] = bits|byte(s.count>>8), byte(s.count)
	s.count = (s.count + 1) & countMask
}

// Reset answers the peer's CCP Reset-Request: the next packet is FLUSHED. In
// stateless mode every packet is, and nothing happens.
//
// RFC 3078 §8.2 keeps the session key for that packet, as FreeBSD does; Linux
// changes it, for sending and receiving alike. So that either understands us,
// the count leaps ahead to the next flag packet, where both change the key
// once: for the peer, which knows that packets got lost, that is some more of
// them. Several requests before the next packet count as one.
func (s *Sealer) Reset() { s.flush = s.stream != nil }
