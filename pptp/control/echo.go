package control

import "encoding/binary"

// Echo-Request and Echo-Reply (RFC 2637 §2.5, §2.6).
const (
	offEchoID       = 12
	offEchoResult   = 16 // reply
	offEchoError    = 17 // reply
	sizeEchoRequest = 16
	sizeEchoReply   = 20
)

// EchoRequest asks the peer for a sign of life.
type EchoRequest struct{ Identifier uint32 }

// EchoReply answers an EchoRequest and repeats its identifier.
type EchoReply struct {
	Identifier uint32
	Result     EchoResult
	Error      ErrorCode
}

// EchoResult is the result code of an EchoReply (§2.6).
type EchoResult uint8

// The results of an echo.
const (
	EchoResultUnknown EchoResult = iota // not in the RFC; no sign of life
	EchoOK                              // the echo is valid
	EchoError                           // not accepted, the error code says why
)

var echoResultNames = [...]string{
	EchoResultUnknown: "unknown",
	EchoOK:            "ok",
	EchoError:         "general error",
}

// String returns the RFC's word for the result.
func (r EchoResult) String() string { return enumName(echoResultNames[:], int(r)) }

// Type is TypeEchoRequest.
func (m EchoRequest) Type() Type { return TypeEchoRequest }

// Type is TypeEchoReply.
func (m EchoReply) Type() Type { return TypeEchoReply }

func parseEchoRequest(b []byte) EchoRequest {
	return EchoRequest{Identifier: binary.BigEndian.Uint32(b[offEchoID:])}
}

func parseEchoReply(b []byte) EchoReply {
	return EchoReply{
		Identifier: binary.BigEndian.Uint32(b[offEchoID:]),
		Result:     EchoResult(b[offEchoResult]),
		Error:      ErrorCode(b[offEchoError]),
	}
}

// Append appends the encoded message.
func (m EchoRequest) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeEchoRequest)
	binary.BigEndian.PutUint32(p[offEchoID:], m.Identifier)
	return b
}

// Append appends the encoded message.
func (m EchoReply) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeEchoReply)
	binary.BigEndian.PutUint32(p[offEchoID:], m.Identifier)
	p[offEchoResult] = byte(m.Result)
	p[offEchoError] = byte(m.Error)
	return b
}
