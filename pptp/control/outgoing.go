package control

import "encoding/binary"

// OCRQ (RFC 2637 §2.7) and OCRP (§2.8).
const (
	offOCRQCallID           = 12
	offOCRQSerial           = 14
	offOCRQMinBPS           = 16
	offOCRQMaxBPS           = 20
	offOCRQBearer           = 24
	offOCRQFraming          = 28
	offOCRQWindow           = 32
	offOCRQDelay            = 34
	offOCRQPhoneLen         = 36
	offOCRQPhone            = 40
	offOCRQSubaddress       = offOCRQPhone + nameSize
	sizeOutgoingCallRequest = offOCRQSubaddress + nameSize // 168

	offOCRPCallID         = 12
	offOCRPPeerCallID     = 14
	offOCRPResult         = 16
	offOCRPError          = 17
	offOCRPCause          = 18
	offOCRPSpeed          = 20
	offOCRPWindow         = 24
	offOCRPDelay          = 26
	offOCRPChannel        = 28
	sizeOutgoingCallReply = 32
)

// OutgoingCallRequest is how a PPTP client opens its call: it asks the PAC to
// place one, and the PAC is its own modem.
type OutgoingCallRequest struct {
	CallID     uint16 // chosen by the sender; GRE packets to the sender carry it
	Serial     uint16
	MinBPS     uint32
	MaxBPS     uint32
	Bearer     Bearer
	Framing    Framing
	Window     uint16 // packets the sender buffers
	Delay      uint16 // packet processing delay, tenths of a second
	Phone      string
	Subaddress string
}

// OutgoingCallReply answers an OutgoingCallRequest.
type OutgoingCallReply struct {
	CallID     uint16 // chosen by the sender; 0 in a refusal
	PeerCallID uint16 // CallID of the request
	Result     CallResult
	Error      ErrorCode
	Cause      uint16 // Q.931 cause, 0 here
	Speed      uint32 // bits per second
	Window     uint16
	Delay      uint16
	Channel    uint32 // physical channel ID, for logs
}

// CallResult is the result code of an OutgoingCallReply (§2.8).
type CallResult uint8

// The results of an outgoing call.
const (
	CallResultUnknown CallResult = iota // not in the RFC: taken as a refusal
	CallConnected                       // established
	CallGeneralError                    // the error code says why
	CallNoCarrier                       //
	CallBusy                            //
	CallNoDialTone                      //
	CallTimeOut                         // not established in the time allotted
	CallDoNotAccept                     // administratively prohibited
)

var callResultNames = [...]string{
	CallResultUnknown: "unknown",
	CallConnected:     "connected",
	CallGeneralError:  "general error",
	CallNoCarrier:     "no carrier",
	CallBusy:          "busy",
	CallNoDialTone:    "no dial tone",
	CallTimeOut:       "time-out",
	CallDoNotAccept:   "do not accept",
}

// String returns the RFC's words for the result.
func (r CallResult) String() string { return enumName(callResultNames[:], int(r)) }

// Type is TypeOutgoingCallRequest.
func (m OutgoingCallRequest) Type() Type { return TypeOutgoingCallRequest }

// Type is TypeOutgoingCallReply.
func (m OutgoingCallReply) Type() Type { return TypeOutgoingCallReply }

// parseOutgoingCallRequest gives ErrValue, and everything but Phone, when the
// phone number is said to be longer than its field.
func parseOutgoingCallRequest(b []byte) (OutgoingCallRequest, error) {
	m := OutgoingCallRequest{
		CallID:     binary.BigEndian.Uint16(b[offOCRQCallID:]),
		Serial:     binary.BigEndian.Uint16(b[offOCRQSerial:]),
		MinBPS:     binary.BigEndian.Uint32(b[offOCRQMinBPS:]),
		MaxBPS:     binary.BigEndian.Uint32(b[offOCRQMaxBPS:]),
		Bearer:     Bearer(binary.BigEndian.Uint32(b[offOCRQBearer:])),
		Framing:    Framing(binary.BigEndian.Uint32(b[offOCRQFraming:])),
		Window:     binary.BigEndian.Uint16(b[offOCRQWindow:]),
		Delay:      binary.BigEndian.Uint16(b[offOCRQDelay:]),
		Subaddress: fieldText(b[offOCRQSubaddress:sizeOutgoingCallRequest]),
	}
	n := int(binary.BigEndian.Uint16(b[offOCRQPhoneLen:]))
	if n > nameSize {
		return m, ErrValue
	}
	m.Phone = string(b[offOCRQPhone : offOCRQPhone+n])
	return m, nil
}

func parseOutgoingCallReply(b []byte) OutgoingCallReply {
	return OutgoingCallReply{
		CallID:     binary.BigEndian.Uint16(b[offOCRPCallID:]),
		PeerCallID: binary.BigEndian.Uint16(b[offOCRPPeerCallID:]),
		Result:     CallResult(b[offOCRPResult]),
		Error:      ErrorCode(b[offOCRPError]),
		Cause:      binary.BigEndian.Uint16(b[offOCRPCause:]),
		Speed:      binary.BigEndian.Uint32(b[offOCRPSpeed:]),
		Window:     binary.BigEndian.Uint16(b[offOCRPWindow:]),
		Delay:      binary.BigEndian.Uint16(b[offOCRPDelay:]),
		Channel:    binary.BigEndian.Uint32(b[offOCRPChannel:]),
	}
}

// Append appends the encoded message.
func (m OutgoingCallRequest) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeOutgoingCallRequest)
	binary.BigEndian.PutUint16(p[offOCRQCallID:], m.CallID)
	binary.BigEndian.PutUint16(p[offOCRQSerial:], m.Serial)
	binary.BigEndian.PutUint32(p[offOCRQMinBPS:], m.MinBPS)
	binary.BigEndian.PutUint32(p[offOCRQMaxBPS:], m.MaxBPS)
	binary.BigEndian.PutUint32(p[offOCRQBearer:], uint32(m.Bearer))
	binary.BigEndian.PutUint32(p[offOCRQFraming:], uint32(m.Framing))
	binary.BigEndian.PutUint16(p[offOCRQWindow:], m.Window)
	binary.BigEndian.PutUint16(p[offOCRQDelay:], m.Delay)
	binary.BigEndian.PutUint16(p[offOCRQPhoneLen:], uint16(min(len(m.Phone), nameSize)))
	putText(p[offOCRQPhone:offOCRQSubaddress], m.Phone)
	putText(p[offOCRQSubaddress:sizeOutgoingCallRequest], m.Subaddress)
	return b
}

// Append appends the encoded message.
func (m OutgoingCallReply) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeOutgoingCallReply)
	binary.BigEndian.PutUint16(p[offOCRPCallID:], m.CallID)
	binary.BigEndian.PutUint16(p[offOCRPPeerCallID:], m.PeerCallID)
	p[offOCRPResult] = byte(m.Result)
	p[offOCRPError] = byte(m.Error)
	binary.BigEndian.PutUint16(p[offOCRPCause:], m.Cause)
	binary.BigEndian.PutUint32(p[offOCRPSpeed:], m.Speed)
	binary.BigEndian.PutUint16(p[offOCRPWindow:], m.Window)
	binary.BigEndian.PutUint16(p[offOCRPDelay:], m.Delay)
	binary.BigEndian.PutUint32(p[offOCRPChannel:], m.Channel)
	return b
}
