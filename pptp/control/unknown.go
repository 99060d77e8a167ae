package control

import "encoding/binary"

// Unknown is a well-framed message that RFC 2637 does not define: a management
// message (§2: "currently not defined"), or a control type that is not in the
// list. It is skipped by its length and reported, never acted upon.
type Unknown struct {
	Management bool   // PPTP Message Type 2
	Code       uint16 // control message type as sent
	Body       []byte // what follows the header; a view, until the next Input
}

// Type is TypeUnknown.
func (m Unknown) Type() Type { return TypeUnknown }

// parseUnknown reads any framed message; b is exactly one.
func parseUnknown(b []byte) Unknown {
	return Unknown{
		Management: binary.BigEndian.Uint16(b[offKind:]) == kindManage,
		Code:       binary.BigEndian.Uint16(b[offType:]),
		Body:       b[offBody:],
	}
}

// Append appends the message as it came, and as much of Body as fits.
func (m Unknown) Append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, headerSize)...)
	b = append(b, m.Body[:min(len(m.Body), maxMessage-headerSize)]...)
	kind := uint16(kindControl)
	if m.Management {
		kind = kindManage
	}
	putHeader(b[at:], kind, Type(m.Code))
	return b
}
