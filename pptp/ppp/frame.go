package ppp

import "errors"

// The address and control octets of RFC 1662 §3.1. PPTP peers may leave them out
// whether or not ACFC was negotiated, so both forms are always taken.
const (
	addressAll = 0xFF
	controlUI  = 0x03
)

var (
	ErrShortFrame = errors.New("ppp: frame too short for its protocol field")
	ErrBadProto   = errors.New("ppp: protocol field is not even-odd")
)

// ParseFrame splits a frame into protocol and payload. FF 03 and the protocol's
// first octet may be missing (ACFC, PFC: RFC 1661 §6.5-6.6). The payload is a view
// of b.
func ParseFrame(b []byte) (Proto, []byte, error) {
	if len(b) >= 2 && b[0] == addressAll && b[1] == controlUI {
		b = b[2:]
	}
	if len(b) == 0 {
		return ProtoUnknown, nil, ErrShortFrame
	}
	if b[0]&1 == 1 { // PFC: an odd first octet is the whole protocol field
		return Proto(b[0]), b[1:len(b):len(b)], nil
	}
	if len(b) < 2 {
		return ProtoUnknown, nil, ErrShortFrame
	}
	p := Proto(b[0])<<8 | Proto(b[1])
	if !p.wellFormed() {
		return ProtoUnknown, nil, ErrBadProto
	}
	return p, b[2:len(b):len(b)], nil
}

// AppendHeader appends the header of a frame of p. acfc and pfc say what the peer
// agreed to receive; LCP never uses either (RFC 1661 §6.5-6.6), so that a
// renegotiation is understood whatever went before.
func AppendHeader(dst []byte, p Proto, acfc, pfc bool) []byte {
	if p == ProtoLCP {
		acfc, pfc = false, false
	}
	if !acfc {
		dst = append(dst, addressAll, controlUI)
	}
	if pfc && p < 0x100 {
		return append(dst, byte(p))
	}
	return append(dst, byte(p>>8), byte(p))
}
