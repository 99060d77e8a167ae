// Package gre carries PPP frames in enhanced GRE as RFC 2637 §4 has it: the
// header (§4.1), the order of what is received (§4.2, §4.3) and the raw socket
// both travel through.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-----+-+-------+-----+-------------------------------+
//	|C|R|K|S|s|Recur|A| Flags | Ver |     Protocol Type 0x880B      |
//	+-+-+-+-+-+-----+-+-------+-----+-------------------------------+
//	|        Payload Length         |            Call ID            |
//	+-------------------------------+-------------------------------+
//	|                 Sequence Number, if S is set                  |
//	+---------------------------------------------------------------+
//	|             Acknowledgment Number, if A is set                |
//	+---------------------------------------------------------------+
//
// Left out: the sending window and its adaptive time-outs (§4.4). No peer in use
// keeps to them, Linux and Windows neither, and a tunnel that stops sending
// because acknowledgments were lost is worse than one that does not.
package gre

import (
	"encoding/binary"
	"errors"
)

// MaxHeader is the room Prepend needs in front of a payload.
const MaxHeader = 16

// Fixed by RFC 2637 §4.1.
const (
	minHeader = 8
	protoPPP  = 0x880B

	flagChecksum = 0x8000 // C
	flagRouting  = 0x4000 // R
	flagKey      = 0x2000 // K: payload length and call ID are there
	flagSeq      = 0x1000 // S
	flagStrict   = 0x0800 // s
	maskRecur    = 0x0700
	flagAck      = 0x0080 // A
	maskFlags    = 0x0078
	maskVersion  = 0x0007
	version      = 1

	mustBeZero = flagChecksum | flagRouting | flagStrict | maskRecur | maskFlags
)

// Why a packet is not read.
var (
	ErrShort    = errors.New("gre: packet ends inside its header")
	ErrVersion  = errors.New("gre: not version 1")
	ErrProtocol = errors.New("gre: protocol is not PPP")
	ErrFlags    = errors.New("gre: a flag is set that must be clear")
	ErrKey      = errors.New("gre: no call ID")
	ErrLength   = errors.New("gre: payload longer than the packet")
	ErrPayload  = errors.New("gre: payload without a sequence number")
)

// Header is a packet as received. Payload is a view into the buffer that was
// parsed; it has no room to append.
type Header struct {
	CallID         uint16 // the receiver's number of the call
	HasSeq, HasAck bool
	Seq, Ack       uint32
	Payload        []byte
}

// Parse reads a GRE header and finds the payload behind it. b begins at the GRE
// header; what follows the payload is padding and cut off.
func Parse(b []byte) (Header, error) {
	if len(b) < minHeader {
		return Header{}, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	switch {
	case flags&maskVersion != version:
		return Header{}, ErrVersion
	case binary.BigEndian.Uint16(b[2:]) != protoPPP:
		return Header{}, ErrProtocol
	case flags&mustBeZero != 0:
		return Header{}, ErrFlags
	case flags&flagKey == 0:
		return Header{}, ErrKey
	}
	h := Header{
		CallID: binary.BigEndian.Uint16(b[6:]),
		HasSeq: flags&flagSeq != 0,
		HasAck: flags&flagAck != 0,
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	b = b[minHeader:]
	if h.HasSeq {
		if len(b) < 4 {
			return Header{}, ErrShort
		}
		h.Seq, b = binary.BigEndian.Uint32(b), b[4:]
	}
	if h.HasAck {
		if len(b) < 4 {
			return Header{}, ErrShort
		}
		h.Ack, b = binary.BigEndian.Uint32(b), b[4:]
	}
	if n > len(b) {
		return Header{}, ErrLength
	}
	// §4.1: S is set when a payload is there. Without its number we could tell
	// neither its place nor whether it is a replay.
	if n > 0 && !h.HasSeq {
		return Header{}, ErrPayload
	}
	h.Payload = b[:n:n]
	return h, nil
}

// Prepend writes the header in front of the payload buf[off:] and returns where
// the packet begins now. It allocates nothing. There must be MaxHeader octets of
// room before off and at most 65535 of payload; otherwise it panics, for both are
// the caller's arithmetic and not the peer's doing.
func Prepend(buf []byte, off int, callID uint16, hasSeq bool, seq uint32, hasAck bool, ack uint32) int {
	n := len(buf) - off
	if off < MaxHeader || n < 0 || n > 0xffff {
		panic("gre: no room for the header, or payload too long")
	}
	flags := uint16(flagKey | version)
	if hasAck {
		flags |= flagAck
		off -= 4
		binary.BigEndian.PutUint32(buf[off:], ack)
	}
	if hasSeq {
		flags |= flagSeq
		off -= 4
		binary.BigEndian.PutUint32(buf[off:], seq)
	}
	off -= minHeader
	b := buf[off : off+minHeader]
	binary.BigEndian.PutUint16(b, flags)
	binary.BigEndian.PutUint16(b[2:], protoPPP)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	binary.BigEndian.PutUint16(b[6:], callID)
	return off
}
