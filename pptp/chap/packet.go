package chap

import (
	"encoding/binary"
	"fmt"
)

// Code is a packet's first octet, RFC 1994 §4 and RFC 2759 §7. The zero value
// is refused.
//
// Handled in: String, Authenticator.Input and Peer.Input.
type Code uint8

const (
	CodeUnknown        Code = 0
	CodeChallenge      Code = 1
	CodeResponse       Code = 2
	CodeSuccess        Code = 3
	CodeFailure        Code = 4
	CodeChangePassword Code = 7
)

func (c Code) String() string {
	switch c {
	case CodeChallenge:
		return "Challenge"
	case CodeResponse:
		return "Response"
	case CodeSuccess:
		return "Success"
	case CodeFailure:
		return "Failure"
	case CodeChangePassword:
		return "Change-Password"
	case CodeUnknown:
	}
	return fmt.Sprintf("Code(%d)", uint8(c))
}

const (
	headerLen = 4

	// maxText bounds what is sent behind a header, so that the packet fits any
	// link. Texts come out of one RADIUS attribute and are far shorter.
	maxText = 1024
)

// packet is a CHAP packet; Data points into the parsed octets.
type packet struct {
	Code  Code
	Ident byte
	Data  []byte
}

// parsePacket takes what follows the PPP protocol number. Octets behind the
// length are padding (RFC 1994 §4).
func parsePacket(b []byte) (packet, error) {
	if len(b) < headerLen {
		return packet{}, ErrLength
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < headerLen || n > len(b) {
		return packet{}, ErrLength
	}
	return packet{Code(b[0]), b[1], b[headerLen:n:n]}, nil
}

func (p packet) Append(b []byte) []byte {
	b = append(b, byte(p.Code), p.Ident)
	b = binary.BigEndian.AppendUint16(b, uint16(headerLen+len(p.Data)))
	return append(b, p.Data...)
}

// textPacket is a Success or Failure.
func textPacket(c Code, ident byte, text string) []byte {
	return packet{c, ident, []byte(text[:min(len(text), maxText)])}.Append(nil)
}
