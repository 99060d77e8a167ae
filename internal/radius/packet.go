package radius

import (
	"crypto/rand"
	"encoding/binary"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// The packet types are layeh's own, so that its dictionaries work on them.
type (
	Packet     = layeh.Packet
	Attributes = layeh.Attributes
	Attribute  = layeh.Attribute
	Type       = layeh.Type
	Code       = layeh.Code
)

const (
	CodeAccessRequest      = layeh.CodeAccessRequest
	CodeAccessAccept       = layeh.CodeAccessAccept
	CodeAccessReject       = layeh.CodeAccessReject
	CodeAccessChallenge    = layeh.CodeAccessChallenge
	CodeAccountingRequest  = layeh.CodeAccountingRequest
	CodeAccountingResponse = layeh.CodeAccountingResponse
	CodeStatusServer       = layeh.CodeStatusServer
	CodeDisconnectRequest  = layeh.CodeDisconnectRequest
	CodeDisconnectACK      = layeh.CodeDisconnectACK
	CodeDisconnectNAK      = layeh.CodeDisconnectNAK
	CodeCoARequest         = layeh.CodeCoARequest
	CodeCoAACK             = layeh.CodeCoAACK
	CodeCoANAK             = layeh.CodeCoANAK
)

// RFC 2865 §3.
const (
	MaxPacket = 4096
	HeaderLen = 20

	offCode       = 0
	offIdentifier = 1
	offLength     = 2
	offAuth       = 4
	authLen       = 16

	attrHeader   = 2
	maxAttrValue = 253
)

const (
	typeMessageAuthenticator = rfc2869.MessageAuthenticator_Type
	typeEAPMessage           = rfc2869.EAPMessage_Type
	typeProxyState           = rfc2865.ProxyState_Type
)

// MaxAttributes bounds what one packet makes us keep: 4096 octets would hold 2038
// empty attributes. FreeRADIUS draws its line at 200; no packet of a login comes near.
const MaxAttributes = 256

// Shape is what a packet looks like before anything in it is believed.
type Shape struct {
	Code       Code
	Identifier byte
	Length     int // the Length field; octets of a datagram beyond it are padding (RFC 2865 §3)
	Attributes int
	Signed     bool // one well-formed Message-Authenticator
	EAP        bool // has an EAP-Message
	ProxyState bool // has a Proxy-State

	signature int // offset of the Message-Authenticator's value
}

// Inspect reads the header and walks the attributes of b.
func Inspect(b []byte) (Shape, error) {
	if len(b) < HeaderLen {
		return Shape{}, FaultShort
	}
	s := Shape{Code: Code(b[offCode]), Identifier: b[offIdentifier]}
	s.Length = int(binary.BigEndian.Uint16(b[offLength:]))
	if s.Length < HeaderLen || s.Length > MaxPacket || s.Length > len(b) {
		return s, FaultLength
	}
	for i := HeaderLen; i < s.Length; s.Attributes++ {
		rest := b[i:s.Length]
		if len(rest) < attrHeader || int(rest[1]) < attrHeader || int(rest[1]) > len(rest) || s.Attributes == MaxAttributes {
			return s, FaultAttribute
		}
		switch Type(rest[0]) {
		case typeMessageAuthenticator:
			if s.Signed || int(rest[1]) != attrHeader+authLen {
				return s, FaultSignature
			}
			s.Signed, s.signature = true, i+attrHeader
		case typeEAPMessage:
			s.EAP = true
		case typeProxyState:
			s.ProxyState = true
		}
		i += int(rest[1])
	}
	return s, nil
}

// Parse reads b without checking any signature. The packet keeps nothing of b.
func Parse(b []byte, secret Secret) (*Packet, error) {
	s, err := Inspect(b)
	if err != nil {
		return nil, err
	}
	return unpack(b, &s, secret), nil
}

// unpack builds the packet from four allocations, where layeh.Parse takes two for
// each attribute.
func unpack(b []byte, s *Shape, secret Secret) *Packet {
	p := &Packet{Code: s.Code, Identifier: s.Identifier, Secret: secret.Bytes()}
	copy(p.Authenticator[:], b[offAuth:])
	body := append([]byte(nil), b[HeaderLen:s.Length]...)
	pairs := make([]layeh.AVP, s.Attributes)
	p.Attributes = make(Attributes, s.Attributes)
	for i := range pairs {
		n := int(body[1])
		pairs[i] = layeh.AVP{Type: Type(body[0]), Attribute: body[attrHeader:n:n]}
		p.Attributes[i] = &pairs[i]
		body = body[n:]
	}
	return p
}

// NewRequest returns an empty request with a random Request Authenticator, under
// which rfc2865.UserPassword_Add may hide a password. Client gives it an
// Identifier of its own.
func NewRequest(code Code, secret Secret) *Packet {
	p := &Packet{Code: code, Secret: secret.Bytes()}
	draw(p.Authenticator[:])
	return p
}

// NewReply returns an empty reply to a parsed request. It takes over Proxy-State,
// all of them in their order (RFC 2865 §5.33), and keeps the request's
// Authenticator, under which AddMPPEKeys hides keys.
func NewReply(request *Packet, code Code) *Packet {
	p := request.Response(code)
	for _, a := range request.Attributes {
		if a.Type == typeProxyState {
			p.Add(typeProxyState, a.Attribute)
		}
	}
	return p
}

// draw fills b with random octets; crypto/rand ends the process rather than fail.
func draw(b []byte) { _, _ = rand.Read(b) }
