package control

import "encoding/binary"

// SLI (RFC 2637 §2.15).
const (
	offSLIPeerCallID = 12
	offSLISendACCM   = 16
	offSLIRecvACCM   = 20
	sizeSetLinkInfo  = 24
)

// SetLinkInfo tells the PAC which control characters PPP negotiated to escape.
// PPTP carries no asynchronous framing, so the maps change nothing; Windows
// sends three in a call: all ones, the negotiated map, all ones again.
type SetLinkInfo struct {
	PeerCallID uint16 // the receiver's
	SendACCM   uint32
	RecvACCM   uint32
}

// Type is TypeSetLinkInfo.
func (m SetLinkInfo) Type() Type { return TypeSetLinkInfo }

func parseSetLinkInfo(b []byte) SetLinkInfo {
	return SetLinkInfo{
		PeerCallID: binary.BigEndian.Uint16(b[offSLIPeerCallID:]),
		SendACCM:   binary.BigEndian.Uint32(b[offSLISendACCM:]),
		RecvACCM:   binary.BigEndian.Uint32(b[offSLIRecvACCM:]),
	}
}

// Append appends the encoded message.
func (m SetLinkInfo) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeSetLinkInfo)
	binary.BigEndian.PutUint16(p[offSLIPeerCallID:], m.PeerCallID)
	binary.BigEndian.PutUint32(p[offSLISendACCM:], m.SendACCM)
	binary.BigEndian.PutUint32(p[offSLIRecvACCM:], m.RecvACCM)
	return b
}
