package control

import "encoding/binary"

// WEN (RFC 2637 §2.14).
const (
	offWENPeerCallID   = 12
	offWENCRC          = 16
	offWENFraming      = 20
	offWENHardware     = 24
	offWENBuffer       = 28
	offWENTimeout      = 32
	offWENAlignment    = 36
	sizeWANErrorNotify = 40
)

// WANErrors counts what went wrong on the PAC's line since the call began.
type WANErrors struct {
	CRC              uint32
	Framing          uint32
	HardwareOverruns uint32
	BufferOverruns   uint32
	Timeouts         uint32
	Alignment        uint32
}

// WANErrorNotify reports errors of the PAC's line. We have no line and send
// none.
type WANErrorNotify struct {
	PeerCallID uint16 // the receiver's
	WANErrors
}

// Type is TypeWANErrorNotify.
func (m WANErrorNotify) Type() Type { return TypeWANErrorNotify }

func parseWANErrorNotify(b []byte) WANErrorNotify {
	return WANErrorNotify{
		PeerCallID: binary.BigEndian.Uint16(b[offWENPeerCallID:]),
		WANErrors: WANErrors{
			CRC:              binary.BigEndian.Uint32(b[offWENCRC:]),
			Framing:          binary.BigEndian.Uint32(b[offWENFraming:]),
			HardwareOverruns: binary.BigEndian.Uint32(b[offWENHardware:]),
			BufferOverruns:   binary.BigEndian.Uint32(b[offWENBuffer:]),
			Timeouts:         binary.BigEndian.Uint32(b[offWENTimeout:]),
			Alignment:        binary.BigEndian.Uint32(b[offWENAlignment:]),
		},
	}
}

// Append appends the encoded message.
func (m WANErrorNotify) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeWANErrorNotify)
	binary.BigEndian.PutUint16(p[offWENPeerCallID:], m.PeerCallID)
	binary.BigEndian.PutUint32(p[offWENCRC:], m.CRC)
	binary.BigEndian.PutUint32(p[offWENFraming:], m.Framing)
	binary.BigEndian.PutUint32(p[offWENHardware:], m.HardwareOverruns)
	binary.BigEndian.PutUint32(p[offWENBuffer:], m.BufferOverruns)
	binary.BigEndian.PutUint32(p[offWENTimeout:], m.Timeouts)
	binary.BigEndian.PutUint32(p[offWENAlignment:], m.Alignment)
	return b
}
