package control

import "encoding/binary"

// ICRQ (RFC 2637 §2.9), ICRP (§2.10) and ICCN (§2.11).
const (
	offICRQCallID           = 12
	offICRQSerial           = 14
	offICRQBearer           = 16
	offICRQChannel          = 20
	offICRQDialedLen        = 24
	offICRQDialingLen       = 26
	offICRQDialed           = 28
	offICRQDialing          = offICRQDialed + nameSize
	offICRQSubaddress       = offICRQDialing + nameSize
	sizeIncomingCallRequest = offICRQSubaddress + nameSize // 220

	offICRPCallID         = 12
	offICRPPeerCallID     = 14
	offICRPResult         = 16
	offICRPError          = 17
	offICRPWindow         = 18
	offICRPDelay          = 20
	sizeIncomingCallReply = 24

	offICCNPeerCallID         = 12
	offICCNSpeed              = 16
	offICCNWindow             = 20
	offICCNDelay              = 22
	offICCNFraming            = 24
	sizeIncomingCallConnected = 28
)

// IncomingCallRequest announces a call that rings at the PAC. We refuse it.
type IncomingCallRequest struct {
	CallID     uint16
	Serial     uint16
	Bearer     Bearer
	Channel    uint32
	Dialed     string // number that was dialed
	Dialing    string // number of the caller
	Subaddress string
}

// IncomingCallReply answers an IncomingCallRequest.
type IncomingCallReply struct {
	CallID     uint16 // 0 in a refusal
	PeerCallID uint16
	Result     IncomingResult
	Error      ErrorCode
	Window     uint16
	Delay      uint16
}

// IncomingCallConnected tells that the incoming call was answered.
type IncomingCallConnected struct {
	PeerCallID uint16
	Speed      uint32
	Window     uint16
	Delay      uint16
	Framing    Framing
}

// IncomingResult is the result code of an IncomingCallReply (§2.10).
type IncomingResult uint8

// The answers to an incoming call.
const (
	IncomingResultUnknown IncomingResult = iota // not in the RFC
	IncomingConnect                             // the PAC should answer the call
	IncomingGeneralError                        // the error code says why
	IncomingDoNotAccept                         // the PAC should hang up or signal busy
)

var incomingResultNames = [...]string{
	IncomingResultUnknown: "unknown",
	IncomingConnect:       "connect",
	IncomingGeneralError:  "general error",
	IncomingDoNotAccept:   "do not accept",
}

// String returns the RFC's words for the result.
func (r IncomingResult) String() string { return enumName(incomingResultNames[:], int(r)) }

// Type is TypeIncomingCallRequest.
func (m IncomingCallRequest) Type() Type { return TypeIncomingCallRequest }

// Type is TypeIncomingCallReply.
func (m IncomingCallReply) Type() Type { return TypeIncomingCallReply }

// Type is TypeIncomingCallConnected.
func (m IncomingCallConnected) Type() Type { return TypeIncomingCallConnected }

// parseIncomingCallRequest gives ErrValue, and everything but the numbers,
// when a number is said to be longer than its field.
func parseIncomingCallRequest(b []byte) (IncomingCallRequest, error) {
	m := IncomingCallRequest{
		CallID:     binary.BigEndian.Uint16(b[offICRQCallID:]),
		Serial:     binary.BigEndian.Uint16(b[offICRQSerial:]),
		Bearer:     Bearer(binary.BigEndian.Uint32(b[offICRQBearer:])),
		Channel:    binary.BigEndian.Uint32(b[offICRQChannel:]),
		Subaddress: fieldText(b[offICRQSubaddress:sizeIncomingCallRequest]),
	}
	dialed := int(binary.BigEndian.Uint16(b[offICRQDialedLen:]))
	dialing := int(binary.BigEndian.Uint16(b[offICRQDialingLen:]))
	if dialed > nameSize || dialing > nameSize {
		return m, ErrValue
	}
	m.Dialed = string(b[offICRQDialed : offICRQDialed+dialed])
	m.Dialing = string(b[offICRQDialing : offICRQDialing+dialing])
	return m, nil
}

func parseIncomingCallReply(b []byte) IncomingCallReply {
	return IncomingCallReply{
		CallID:     binary.BigEndian.Uint16(b[offICRPCallID:]),
		PeerCallID: binary.BigEndian.Uint16(b[offICRPPeerCallID:]),
		Result:     IncomingResult(b[offICRPResult]),
		Error:      ErrorCode(b[offICRPError]),
		Window:     binary.BigEndian.Uint16(b[offICRPWindow:]),
		Delay:      binary.BigEndian.Uint16(b[offICRPDelay:]),
	}
}

func parseIncomingCallConnected(b []byte) IncomingCallConnected {
	return IncomingCallConnected{
		PeerCallID: binary.BigEndian.Uint16(b[offICCNPeerCallID:]),
		Speed:      binary.BigEndian.Uint32(b[offICCNSpeed:]),
		Window:     binary.BigEndian.Uint16(b[offICCNWindow:]),
		Delay:      binary.BigEndian.Uint16(b[offICCNDelay:]),
		Framing:    Framing(binary.BigEndian.Uint32(b[offICCNFraming:])),
	}
}

// Append appends the encoded message.
func (m IncomingCallRequest) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeIncomingCallRequest)
	binary.BigEndian.PutUint16(p[offICRQCallID:], m.CallID)
	binary.BigEndian.PutUint16(p[offICRQSerial:], m.Serial)
	binary.BigEndian.PutUint32(p[offICRQBearer:], uint32(m.Bearer))
	binary.BigEndian.PutUint32(p[offICRQChannel:], m.Channel)
	binary.BigEndian.PutUint16(p[offICRQDialedLen:], uint16(min(len(m.Dialed), nameSize)))
	binary.BigEndian.PutUint16(p[offICRQDialingLen:], uint16(min(len(m.Dialing), nameSize)))
	putText(p[offICRQDialed:offICRQDialing], m.Dialed)
	putText(p[offICRQDialing:offICRQSubaddress], m.Dialing)
	putText(p[offICRQSubaddress:sizeIncomingCallRequest], m.Subaddress)
	return b
}

// Append appends the encoded message.
func (m IncomingCallReply) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeIncomingCallReply)
	binary.BigEndian.PutUint16(p[offICRPCallID:], m.CallID)
	binary.BigEndian.PutUint16(p[offICRPPeerCallID:], m.PeerCallID)
	p[offICRPResult] = byte(m.Result)
	p[offICRPError] = byte(m.Error)
	binary.BigEndian.PutUint16(p[offICRPWindow:], m.Window)
	binary.BigEndian.PutUint16(p[offICRPDelay:], m.Delay)
	return b
}

// Append appends the encoded message.
func (m IncomingCallConnected) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeIncomingCallConnected)
	binary.BigEndian.PutUint16(p[offICCNPeerCallID:], m.PeerCallID)
	binary.BigEndian.PutUint32(p[offICCNSpeed:], m.Speed)
	binary.BigEndian.PutUint16(p[offICCNWindow:], m.Window)
	binary.BigEndian.PutUint16(p[offICCNDelay:], m.Delay)
	binary.BigEndian.PutUint32(p[offICCNFraming:], uint32(m.Framing))
	return b
}
