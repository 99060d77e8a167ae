package control

import "encoding/binary"

// CCRQ (RFC 2637 §2.12) and CDN (§2.13).
const (
	offCCRQCallID        = 12
	sizeCallClearRequest = 16

	offCDNCallID             = 12
	offCDNResult             = 14
	offCDNError              = 15
	offCDNCause              = 16
	offCDNStatistics         = 20
	sizeCallDisconnectNotify = offCDNStatistics + statisticSize // 148
)

// CallClearRequest is the PNS's wish to end a call.
type CallClearRequest struct {
	CallID uint16 // the sender's: the PAC's may not be known to it yet
}

// CallDisconnectNotify tells that a call has ended.
type CallDisconnectNotify struct {
	CallID     uint16 // the sender's
	Result     DisconnectResult
	Error      ErrorCode
	Cause      uint16 // Q.931 cause
	Statistics string // vendor's own text
}

// DisconnectResult is the result code of a CallDisconnectNotify (§2.13).
type DisconnectResult uint8

// Why a call ended.
const (
	DisconnectUnknown       DisconnectResult = iota // not in the RFC
	DisconnectLostCarrier                           // the link broke
	DisconnectGeneralError                          // the error code says why
	DisconnectAdminShutdown                         // by the administrator
	DisconnectRequest                               // a Call-Clear-Request came
)

var disconnectNames = [...]string{
	DisconnectUnknown:       "unknown",
	DisconnectLostCarrier:   "lost carrier",
	DisconnectGeneralError:  "general error",
	DisconnectAdminShutdown: "admin shutdown",
	DisconnectRequest:       "request",
}

// String returns the RFC's words for the result.
func (r DisconnectResult) String() string { return enumName(disconnectNames[:], int(r)) }

// Type is TypeCallClearRequest.
func (m CallClearRequest) Type() Type { return TypeCallClearRequest }

// Type is TypeCallDisconnectNotify.
func (m CallDisconnectNotify) Type() Type { return TypeCallDisconnectNotify }

func parseCallClearRequest(b []byte) CallClearRequest {
	return CallClearRequest{CallID: binary.BigEndian.Uint16(b[offCCRQCallID:])}
}

func parseCallDisconnectNotify(b []byte) CallDisconnectNotify {
	return CallDisconnectNotify{
		CallID:     binary.BigEndian.Uint16(b[offCDNCallID:]),
		Result:     DisconnectResult(b[offCDNResult]),
		Error:      ErrorCode(b[offCDNError]),
		Cause:      binary.BigEndian.Uint16(b[offCDNCause:]),
		Statistics: fieldText(b[offCDNStatistics:sizeCallDisconnectNotify]),
	}
}

// Append appends the encoded message.
func (m CallClearRequest) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeCallClearRequest)
	binary.BigEndian.PutUint16(p[offCCRQCallID:], m.CallID)
	return b
}

// Append appends the encoded message.
func (m CallDisconnectNotify) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeCallDisconnectNotify)
	binary.BigEndian.PutUint16(p[offCDNCallID:], m.CallID)
	p[offCDNResult] = byte(m.Result)
	p[offCDNError] = byte(m.Error)
	binary.BigEndian.PutUint16(p[offCDNCause:], m.Cause)
	putText(p[offCDNStatistics:sizeCallDisconnectNotify], m.Statistics)
	return b
}
