package control

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Fixed by RFC 2637 §2.
const (
	Version = 0x0100 // protocol version 1.0
	magic   = 0x1A2B3C4D

	headerSize    = 12
	offLength     = 0
	offKind       = 2
	offMagic      = 4
	offType       = 8
	kindControl   = 1
	kindManage    = 2
	maxMessage    = sizeIncomingCallRequest // the longest message there is
	nameSize      = 64                      // host name, vendor, phone number, subaddress
	offBody       = headerSize              // first octet after the common header
	lengthOctets  = 2                       // octets that say how long a message is
	statisticSize = 128
)

// Type is a control message type (RFC 2637 §2).
//
// Handled in: typeNames and typeSizes below, decode, Conn.started and
// Conn.notStarted.
type Type uint16

// The message types of RFC 2637.
const (
	TypeUnknown               Type = iota // no such message; ignored
	TypeStartRequest                      // SCCRQ
	TypeStartReply                        // SCCRP
	TypeStopRequest                       // StopCCRQ
	TypeStopReply                         // StopCCRP
	TypeEchoRequest                       //
	TypeEchoReply                         //
	TypeOutgoingCallRequest               // OCRQ
	TypeOutgoingCallReply                 // OCRP
	TypeIncomingCallRequest               // ICRQ
	TypeIncomingCallReply                 // ICRP
	TypeIncomingCallConnected             // ICCN
	TypeCallClearRequest                  // CCRQ
	TypeCallDisconnectNotify              // CDN
	TypeWANErrorNotify                    // WEN
	TypeSetLinkInfo                       // SLI
)

var typeNames = [...]string{
	TypeUnknown:               "unknown",
	TypeStartRequest:          "Start-Control-Connection-Request",
	TypeStartReply:            "Start-Control-Connection-Reply",
	TypeStopRequest:           "Stop-Control-Connection-Request",
	TypeStopReply:             "Stop-Control-Connection-Reply",
	TypeEchoRequest:           "Echo-Request",
	TypeEchoReply:             "Echo-Reply",
	TypeOutgoingCallRequest:   "Outgoing-Call-Request",
	TypeOutgoingCallReply:     "Outgoing-Call-Reply",
	TypeIncomingCallRequest:   "Incoming-Call-Request",
	TypeIncomingCallReply:     "Incoming-Call-Reply",
	TypeIncomingCallConnected: "Incoming-Call-Connected",
	TypeCallClearRequest:      "Call-Clear-Request",
	TypeCallDisconnectNotify:  "Call-Disconnect-Notify",
	TypeWANErrorNotify:        "WAN-Error-Notify",
	TypeSetLinkInfo:           "Set-Link-Info",
}

// String returns the RFC's name of the message.
func (t Type) String() string { return enumName(typeNames[:], int(t)) }

// typeSizes are the lengths of RFC 2637 §2, header included; each type has one.
var typeSizes = [...]uint8{
	TypeStartRequest:          sizeStart,
	TypeStartReply:            sizeStart,
	TypeStopRequest:           sizeStop,
	TypeStopReply:             sizeStop,
	TypeEchoRequest:           sizeEchoRequest,
	TypeEchoReply:             sizeEchoReply,
	TypeOutgoingCallRequest:   sizeOutgoingCallRequest,
	TypeOutgoingCallReply:     sizeOutgoingCallReply,
	TypeIncomingCallRequest:   sizeIncomingCallRequest,
	TypeIncomingCallReply:     sizeIncomingCallReply,
	TypeIncomingCallConnected: sizeIncomingCallConnected,
	TypeCallClearRequest:      sizeCallClearRequest,
	TypeCallDisconnectNotify:  sizeCallDisconnectNotify,
	TypeWANErrorNotify:        sizeWANErrorNotify,
	TypeSetLinkInfo:           sizeSetLinkInfo,
}

// known says whether RFC 2637 defines the type.
func (t Type) known() bool { return t > TypeUnknown && int(t) < len(typeSizes) }

// Message is one control message: one of the fifteen structs of this package,
// or Unknown.
type Message interface {
	Type() Type
	// Append appends the encoded message, reserved octets zero.
	Append(b []byte) []byte
}

// Errors of Parse and Conn.Input. ErrShort asks for more octets and ErrValue
// comes with a usable message; after any other the stream cannot be read on.
var (
	ErrShort  = errors.New("message not complete")
	ErrMagic  = errors.New("wrong magic cookie")
	ErrKind   = errors.New("wrong PPTP message type")
	ErrLength = errors.New("wrong length")
	ErrValue  = errors.New("field out of range")
)

// lengthError is an ErrLength whose message type could already be read, so
// that a request can be answered with Bad-Format.
type lengthError struct {
	t Type
	n int
}

func (e *lengthError) Error() string { return fmt.Sprintf("parse %s: %v %d", e.t, ErrLength, e.n) }
func (e *lengthError) Unwrap() error { return ErrLength }

// Parse reads the message that b begins with and returns it and its length.
// It judges each header field as soon as its octets are there, so that a peer
// that does not speak PPTP (a scanner's "GET /") is found out on its second
// octet and never makes anybody wait for, or store, a long message.
//
// ErrValue comes with the message, whose field in question is empty, and its
// length. Only Unknown.Body is a view of b; all else is copied.
func Parse(b []byte) (Message, int, error) {
	if len(b) < offLength+lengthOctets {
		return nil, 0, ErrShort
	}
	n := int(binary.BigEndian.Uint16(b[offLength:]))
	if n < headerSize || n > maxMessage {
		return nil, 0, &lengthError{TypeUnknown, n}
	}
	if len(b) < offMagic {
		return nil, 0, ErrShort
	}
	kind := binary.BigEndian.Uint16(b[offKind:])
	if kind != kindControl && kind != kindManage {
		return nil, 0, fmt.Errorf("%w %d", ErrKind, kind)
	}
	if len(b) < offType {
		return nil, 0, ErrShort
	}
	if binary.BigEndian.Uint32(b[offMagic:]) != magic {
		return nil, 0, ErrMagic
	}
	if len(b) < offType+2 {
		return nil, 0, ErrShort
	}
	t := Type(binary.BigEndian.Uint16(b[offType:]))
	if kind == kindControl && t.known() && n != int(typeSizes[t]) {
		return nil, 0, &lengthError{t, n}
	}
	if len(b) < n {
		return nil, 0, ErrShort
	}
	if kind != kindControl || !t.known() {
		return parseUnknown(b[:n:n]), n, nil
	}
	m, err := decode(t, b[:n])
	if err != nil {
		err = fmt.Errorf("parse %s: %w", t, err)
	}
	return m, n, err
}

// decode reads the body of a known type; b has exactly the type's length.
func decode(t Type, b []byte) (Message, error) {
	switch t {
	case TypeStartRequest:
		return parseStartRequest(b), nil
	case TypeStartReply:
		return parseStartReply(b), nil
	case TypeStopRequest:
		return parseStopRequest(b), nil
	case TypeStopReply:
		return parseStopReply(b), nil
	case TypeEchoRequest:
		return parseEchoRequest(b), nil
	case TypeEchoReply:
		return parseEchoReply(b), nil
	case TypeOutgoingCallRequest:
		return parseOutgoingCallRequest(b)
	case TypeOutgoingCallReply:
		return parseOutgoingCallReply(b), nil
	case TypeIncomingCallRequest:
		return parseIncomingCallRequest(b)
	case TypeIncomingCallReply:
		return parseIncomingCallReply(b), nil
	case TypeIncomingCallConnected:
		return parseIncomingCallConnected(b), nil
	case TypeCallClearRequest:
		return parseCallClearRequest(b), nil
	case TypeCallDisconnectNotify:
		return parseCallDisconnectNotify(b), nil
	case TypeWANErrorNotify:
		return parseWANErrorNotify(b), nil
	case TypeSetLinkInfo:
		return parseSetLinkInfo(b), nil
	case TypeUnknown:
	}
	return parseUnknown(b), nil
}

// appendHeader appends a zeroed message of type t with its header filled in
// and returns the whole buffer and the view of the new message.
func appendHeader(b []byte, t Type) (all, m []byte) {
	at := len(b)
	b = append(b, make([]byte, typeSizes[t])...)
	m = b[at:]
	putHeader(m, kindControl, t)
	return b, m
}

func putHeader(m []byte, kind uint16, t Type) {
	binary.BigEndian.PutUint16(m[offLength:], uint16(len(m)))
	binary.BigEndian.PutUint16(m[offKind:], kind)
	binary.BigEndian.PutUint32(m[offMagic:], magic)
	binary.BigEndian.PutUint16(m[offType:], uint16(t))
}
