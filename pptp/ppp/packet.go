package ppp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Code is a control packet's first octet.
//
// Handled in: codeNames; fsm.input; LCP.code, CCP.code.
type Code uint8

const (
	CodeUnknown          Code = 0
	CodeConfigureRequest Code = 1 // 1-7: RFC 1661 §5, every control protocol
	CodeConfigureAck     Code = 2
	CodeConfigureNak     Code = 3
	CodeConfigureReject  Code = 4
	CodeTerminateRequest Code = 5
	CodeTerminateAck     Code = 6
	CodeCodeReject       Code = 7
	CodeProtocolReject   Code = 8 // 8-11: RFC 1661 §5.7-5.9, LCP only
	CodeEchoRequest      Code = 9
	CodeEchoReply        Code = 10
	CodeDiscardRequest   Code = 11
	CodeIdentification   Code = 12 // RFC 1570 §2.1, LCP only
	CodeTimeRemaining    Code = 13 // RFC 1570 §2.2, LCP only
	CodeResetRequest     Code = 14 // RFC 1962 §3, CCP only
	CodeResetAck         Code = 15
)

var codeNames = [...]string{
	CodeUnknown: "unknown", CodeConfigureRequest: "Configure-Request", CodeConfigureAck: "Configure-Ack",
	CodeConfigureNak: "Configure-Nak", CodeConfigureReject: "Configure-Reject",
	CodeTerminateRequest: "Terminate-Request", CodeTerminateAck: "Terminate-Ack", CodeCodeReject: "Code-Reject",
	CodeProtocolReject: "Protocol-Reject", CodeEchoRequest: "Echo-Request", CodeEchoReply: "Echo-Reply",
	CodeDiscardRequest: "Discard-Request", CodeIdentification: "Identification",
	CodeTimeRemaining: "Time-Remaining", CodeResetRequest: "Reset-Request", CodeResetAck: "Reset-Ack",
}

// String names the code for logs.
func (c Code) String() string {
	if int(c) < len(codeNames) && c != CodeUnknown {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Packet is a control packet to send: Data starts at the code and is the
// receiver's to keep.
type Packet struct {
	Proto Proto
	Data  []byte
}

// packet is a control packet taken apart; data is a view of the input.
type packet struct {
	code Code
	id   uint8
	data []byte
}

const (
	packetHeader = 4 // code, identifier, length

	// What we quote in a Code-Reject or Protocol-Reject. It fits the smallest MRU
	// we accept (RFC 1661 §5.6: "truncated to comply with the peer's MRU"), and
	// nobody can make us send long packets.
	maxQuoted = minMRU - packetHeader - 2
)

var (
	ErrShortPacket  = errors.New("ppp: control packet shorter than its header")
	ErrPacketLength = errors.New("ppp: control packet's length field is wrong")
)

// parsePacket reads a control packet. Octets after Length are padding (RFC 1661 §5).
func parsePacket(b []byte) (packet, error) {
	if len(b) < packetHeader {
		return packet{}, ErrShortPacket
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < packetHeader || n > len(b) {
		return packet{}, ErrPacketLength
	}
	return packet{code: Code(b[0]), id: b[1], data: b[packetHeader:n:n]}, nil
}

// Append writes the packet, length included.
func (p packet) Append(dst []byte) []byte {
	dst = append(dst, byte(p.code), p.id)
	dst = binary.BigEndian.AppendUint16(dst, uint16(packetHeader+len(p.data)))
	return append(dst, p.data...)
}

// quote cuts b to what we quote in a reject.
func quote(b []byte) []byte { return b[:min(len(b), maxQuoted)] }
