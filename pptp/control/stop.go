package control

// StopCCRQ and StopCCRP (RFC 2637 §2.3, §2.4).
const (
	offStopReason = 12 // request
	offStopResult = 12 // reply
	offStopError  = 13 // reply
	sizeStop      = 16
)

// StopRequest is Stop-Control-Connection-Request. It also clears every call
// of the connection.
type StopRequest struct{ Reason StopReason }

// StopReply is Stop-Control-Connection-Reply.
type StopReply struct {
	Result StopResult
	Error  ErrorCode
}

// StopReason says why a control connection is to be closed (§2.3).
type StopReason uint8

// The reasons to stop.
const (
	StopReasonUnknown StopReason = iota // not in the RFC
	StopGeneral                         // "None": a general request
	StopProtocol                        // the peer's protocol version is not supported
	StopShutdown                        // the requester is being shut down
)

var stopReasonNames = [...]string{
	StopReasonUnknown: "unknown",
	StopGeneral:       "general",
	StopProtocol:      "protocol",
	StopShutdown:      "local shutdown",
}

// String returns the RFC's word for the reason.
func (r StopReason) String() string { return enumName(stopReasonNames[:], int(r)) }

// StopResult is the result code of a StopReply (§2.4).
type StopResult uint8

// The results of stopping.
const (
	StopResultUnknown StopResult = iota // not in the RFC
	StopOK                              // closed
	StopError                           // not closed, the error code says why
)

var stopResultNames = [...]string{
	StopResultUnknown: "unknown",
	StopOK:            "ok",
	StopError:         "general error",
}

// String returns the RFC's word for the result.
func (r StopResult) String() string { return enumName(stopResultNames[:], int(r)) }

// Type is TypeStopRequest.
func (m StopRequest) Type() Type { return TypeStopRequest }

// Type is TypeStopReply.
func (m StopReply) Type() Type { return TypeStopReply }

func parseStopRequest(b []byte) StopRequest {
	return StopRequest{Reason: StopReason(b[offStopReason])}
}

func parseStopReply(b []byte) StopReply {
	return StopReply{Result: StopResult(b[offStopResult]), Error: ErrorCode(b[offStopError])}
}

// Append appends the encoded message.
func (m StopRequest) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeStopRequest)
	p[offStopReason] = byte(m.Reason)
	return b
}

// Append appends the encoded message.
func (m StopReply) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeStopReply)
	p[offStopResult] = byte(m.Result)
	p[offStopError] = byte(m.Error)
	return b
}
