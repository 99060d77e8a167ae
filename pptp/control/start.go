package control

import "encoding/binary"

// SCCRQ and SCCRP (RFC 2637 §2.1, §2.2) share one layout; the request has two
// reserved octets where the reply has result and error code.
const (
	offStartVersion  = 12
	offStartResult   = 14 // reply only
	offStartError    = 15 // reply only
	offStartFraming  = 16
	offStartBearer   = 20
	offStartChannels = 24
	offStartFirmware = 26
	offStartHost     = 28
	offStartVendor   = offStartHost + nameSize
	sizeStart        = offStartVendor + nameSize // 156
)

// Framing is a set of framing capabilities or the framing of a call (§2.1).
type Framing uint32

// The framing types. PPTP over IP uses neither HDLC variant, so both are
// claimed by everybody and mean nothing.
const (
	FramingAsync Framing = 1
	FramingSync  Framing = 2
	FramingAny           = FramingAsync | FramingSync
)

// Bearer is a set of bearer capabilities or the bearer of a call (§2.1).
type Bearer uint32

// The bearer types.
const (
	BearerAnalog  Bearer = 1
	BearerDigital Bearer = 2
	BearerAny            = BearerAnalog | BearerDigital
)

// Identity is what an end says of itself when a control connection starts. All
// of it is a claim.
type Identity struct {
	Framing     Framing
	Bearer      Bearer
	MaxChannels uint16 // calls the PAC can take; a PNS says 0 (pptp-linux says 65535)
	Firmware    uint16
	HostName    string
	Vendor      string
}

// StartRequest is Start-Control-Connection-Request.
type StartRequest struct {
	Version uint16
	Identity
}

// StartReply is Start-Control-Connection-Reply.
type StartReply struct {
	Version uint16
	Result  StartResult
	Error   ErrorCode
	Identity
}

// StartResult is the result code of a StartReply (§2.2).
type StartResult uint8

// The results of starting a control connection.
const (
	StartResultUnknown StartResult = iota // not in the RFC: taken as a refusal
	StartOK                               // established
	StartGeneralError                     // the error code says why
	StartExists                           // a control connection exists already
	StartNotAuthorized                    // requester may not establish one
	StartBadVersion                       // requester's protocol version is not supported
)

var startResultNames = [...]string{
	StartResultUnknown: "unknown",
	StartOK:            "successful channel establishment",
	StartGeneralError:  "general error",
	StartExists:        "command channel already exists",
	StartNotAuthorized: "requester not authorized",
	StartBadVersion:    "protocol version not supported",
}

// String returns the RFC's words for the result.
func (r StartResult) String() string { return enumName(startResultNames[:], int(r)) }

// Type is TypeStartRequest.
func (m StartRequest) Type() Type { return TypeStartRequest }

// Type is TypeStartReply.
func (m StartReply) Type() Type { return TypeStartReply }

func parseStartRequest(b []byte) StartRequest {
	return StartRequest{
		Version:  binary.BigEndian.Uint16(b[offStartVersion:]),
		Identity: parseIdentity(b),
	}
}

func parseStartReply(b []byte) StartReply {
	return StartReply{
		Version:  binary.BigEndian.Uint16(b[offStartVersion:]),
		Result:   StartResult(b[offStartResult]),
		Error:    ErrorCode(b[offStartError]),
		Identity: parseIdentity(b),
	}
}

func parseIdentity(b []byte) Identity {
	return Identity{
		Framing:     Framing(binary.BigEndian.Uint32(b[offStartFraming:])),
		Bearer:      Bearer(binary.BigEndian.Uint32(b[offStartBearer:])),
		MaxChannels: binary.BigEndian.Uint16(b[offStartChannels:]),
		Firmware:    binary.BigEndian.Uint16(b[offStartFirmware:]),
		HostName:    fieldText(b[offStartHost:offStartVendor]),
		Vendor:      fieldText(b[offStartVendor:sizeStart]),
	}
}

// Append appends the encoded message.
func (m StartRequest) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeStartRequest)
	binary.BigEndian.PutUint16(p[offStartVersion:], m.Version)
	m.Identity.put(p)
	return b
}

// Append appends the encoded message.
func (m StartReply) Append(b []byte) []byte {
	b, p := appendHeader(b, TypeStartReply)
	binary.BigEndian.PutUint16(p[offStartVersion:], m.Version)
	p[offStartResult] = byte(m.Result)
	p[offStartError] = byte(m.Error)
	m.Identity.put(p)
	return b
}

func (i *Identity) put(p []byte) {
	binary.BigEndian.PutUint32(p[offStartFraming:], uint32(i.Framing))
	binary.BigEndian.PutUint32(p[offStartBearer:], uint32(i.Bearer))
	binary.BigEndian.PutUint16(p[offStartChannels:], i.MaxChannels)
	binary.BigEndian.PutUint16(p[offStartFirmware:], i.Firmware)
	putText(p[offStartHost:offStartVendor], i.HostName)
	putText(p[offStartVendor:sizeStart], i.Vendor)
}
