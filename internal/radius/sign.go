package radius

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTooLong is returned for a packet that would not fit into MaxPacket octets, or
// an attribute that would not fit into 253.
var ErrTooLong = errors.New("radius: packet or attribute too long")

// over says which sixteen octets stand in the header while a signature is made.
//
// Handled in: requestRule, EncodeRequest, VerifyRequest.
type over uint8

const (
	overNothing over = iota // not a request
	overRandom              // Request Authenticator is random and signed as it is (RFC 2869 §5.14, RFC 5997 §3)
	overZero                // it is made from the packet, so the signature is made before it over zeros (RFC 5176 §2.3)
)

func requestRule(c Code) over {
	switch c {
	case CodeAccessRequest, CodeStatusServer:
		return overRandom
	case CodeAccountingRequest, CodeCoARequest, CodeDisconnectRequest:
		return overZero
	default:
		return overNothing
	}
}

// answers says whether reply is a code that request may be answered with.
func answers(request, reply Code) bool {
	switch request {
	case CodeAccessRequest:
		return reply == CodeAccessAccept || reply == CodeAccessReject || reply == CodeAccessChallenge
	case CodeStatusServer: // Access-Accept on an authentication port, the other on an accounting port (RFC 5997 §2.1)
		return reply == CodeAccessAccept || reply == CodeAccountingResponse
	case CodeAccountingRequest:
		return reply == CodeAccountingResponse
	case CodeDisconnectRequest:
		return reply == CodeDisconnectACK || reply == CodeDisconnectNAK
	case CodeCoARequest:
		return reply == CodeCoAACK || reply == CodeCoANAK
	default:
		return false
	}
}

// EncodeRequest signs and encodes a request. The Authenticator of Access-Request
// and Status-Server is p's own, for passwords are hidden under it; the other
// requests' is computed, and left in p for the reply to be checked with.
func EncodeRequest(p *Packet) ([]byte, error) {
	rule := requestRule(p.Code)
	if rule == overNothing {
		return nil, fmt.Errorf("encode %v as a request: %w", p.Code, FaultCode)
	}
	if len(p.Secret) == 0 {
		return nil, FaultNoSecret
	}
	b, err := encode(p, true)
	if err != nil {
		return nil, err
	}
	if rule == overZero {
		clear(b[offAuth : offAuth+authLen])
	}
	auth := [authLen]byte(b[offAuth:])
	sum := signature(b, HeaderLen+attrHeader, &auth, p.Secret)
	copy(b[HeaderLen+attrHeader:], sum[:])
	if rule == overZero {
		p.Authenticator = authenticator(b, &auth, p.Secret)
		copy(b[offAuth:], p.Authenticator[:])
	}
	return b, nil
}

// EncodeReply signs and encodes a reply made by NewReply. Replies to Access-Request
// and Status-Server are always signed. Others are signed where the request was: a
// peer that signs none may refuse one, for RFC 2866 §5.13 knows none in accounting.
//
// The signature of an Accounting-Response to Accounting-Request is made over zeros.
// No RFC says so or otherwise; FreeRADIUS 3 does it and drops ours if we do not
// (tried with radclient 3.2.1). Replies to CoA and Disconnect take the Request
// Authenticator (RFC 5176 §2.3), there too.
func EncodeReply(p, request *Packet) ([]byte, error) {
	if !answers(request.Code, p.Code) {
		return nil, fmt.Errorf("encode %v as the reply to %v: %w", p.Code, request.Code, FaultCode)
	}
	if len(p.Secret) == 0 {
		return nil, FaultNoSecret
	}
	signed := requestRule(request.Code) == overRandom
	if !signed {
		_, signed = request.Lookup(typeMessageAuthenticator)
	}
	b, err := encode(p, signed)
	if err != nil {
		return nil, err
	}
	b[offIdentifier] = request.Identifier
	if signed {
		auth := request.Authenticator
		if request.Code == CodeAccountingRequest {
			auth = [authLen]byte{}
		}
		sum := signature(b, HeaderLen+attrHeader, &auth, p.Secret)
		copy(b[HeaderLen+attrHeader:], sum[:])
	}
	sum := authenticator(b, &request.Authenticator, p.Secret)
	copy(b[offAuth:], sum[:])
	return b, nil
}

// VerifyRequest checks a request against the secret. With require a request
// without Message-Authenticator is refused; without, only where its RFC demands
// one: Status-Server (RFC 5997 §3) and EAP (RFC 3579 §3.2). Padding is no part of it.
func VerifyRequest(b []byte, secret Secret, require bool) error {
	s, err := Inspect(b)
	if err != nil {
		return err
	}
	return verifyRequest(b[:s.Length], &s, secret, require)
}

func verifyRequest(b []byte, s *Shape, secret Secret, require bool) error {
	rule := requestRule(s.Code)
	if rule == overNothing {
		return FaultCode
	}
	if secret.IsZero() {
		return FaultNoSecret
	}
	auth := [authLen]byte(b[offAuth:])
	if rule == overZero {
		auth = [authLen]byte{}
		if !same(authenticator(b, &auth, secret.Bytes()), b[offAuth:]) {
			return FaultAuthenticator
		}
	}
	if !s.Signed {
		if require || s.Code == CodeStatusServer || s.EAP {
			return FaultUnsigned
		}
		return nil
	}
	if !same(signature(b, s.signature, &auth, secret.Bytes()), b[s.signature:]) {
		return FaultSignature
	}
	return nil
}

// ParseRequest is VerifyRequest and Parse in one walk.
func ParseRequest(b []byte, secret Secret, require bool) (*Packet, error) {
	s, err := Inspect(b)
	if err != nil {
		return nil, err
	}
	if err := verifyRequest(b[:s.Length], &s, secret, require); err != nil {
		return nil, err
	}
	return unpack(b, &s, secret), nil
}

// VerifyReply checks a reply to the request as it was sent: Identifier, code,
// Response Authenticator and Message-Authenticator, which must be there.
func VerifyReply(b, request []byte, secret Secret) error {
	s, err := Inspect(b)
	if err != nil {
		return err
	}
	return verifyReply(b[:s.Length], &s, request, secret, true)
}

func verifyReply(b []byte, s *Shape, request []byte, secret Secret, require bool) error {
	if len(request) < HeaderLen {
		return FaultShort
	}
	if secret.IsZero() {
		return FaultNoSecret
	}
	asked := Code(request[offCode])
	if !answers(asked, s.Code) {
		return FaultCode
	}
	if b[offIdentifier] != request[offIdentifier] {
		return FaultUnexpected
	}
	if !s.Signed && require {
		return FaultUnsigned
	}
	auth := [authLen]byte(request[offAuth:])
	if s.Signed && !same(signature(b, s.signature, &auth, secret.Bytes()), b[s.signature:]) {
		// Accounting may be signed either way (see EncodeReply). Both need the secret, and
		// the Response Authenticator ties the reply to the request.
		var zeros [authLen]byte
		if asked != CodeAccountingRequest || !same(signature(b, s.signature, &zeros, secret.Bytes()), b[s.signature:]) {
			return FaultSignature
		}
	}
	if !same(authenticator(b, &auth, secret.Bytes()), b[offAuth:]) {
		return FaultAuthenticator
	}
	return nil
}

// ParseReply is VerifyReply and Parse in one walk. The packet's Authenticator is
// the request's, so that MPPEKeys opens what was hidden under it.
func ParseReply(b, request []byte, secret Secret) (*Packet, error) {
	return parseReply(b, request, secret, true)
}

// ParseUnsignedReply is ParseReply for a peer that cannot be taught to sign: the
// Response Authenticator is all that the reply is believed for (CVE-2024-3596).
func ParseUnsignedReply(b, request []byte, secret Secret) (*Packet, error) {
	return parseReply(b, request, secret, false)
}

func parseReply(b, request []byte, secret Secret, require bool) (*Packet, error) {
	s, err := Inspect(b)
	if err != nil {
		return nil, err
	}
	if err := verifyReply(b[:s.Length], &s, request, secret, require); err != nil {
		return nil, err
	}
	p := unpack(b, &s, secret)
	copy(p.Authenticator[:], request[offAuth:])
	return p, nil
}

// encode lays the packet out; with sign it keeps room for Message-Authenticator in
// the first place, where no octet a stranger chose comes before it (CVE-2024-3596).
// One that p carries is left out: it belonged to another packet.
func encode(p *Packet, sign bool) ([]byte, error) {
	size := HeaderLen
	if sign {
		size += attrHeader + authLen
	}
	for _, a := range p.Attributes {
		if a.Type == typeMessageAuthenticator {
			continue
		}
		if a.Type < 1 || a.Type > 255 {
			return nil, fmt.Errorf("encode attribute %d: %w", a.Type, FaultAttribute)
		}
		if len(a.Attribute) > maxAttrValue {
			return nil, fmt.Errorf("encode attribute %d of %d octets: %w", a.Type, len(a.Attribute), ErrTooLong)
		}
		size += attrHeader + len(a.Attribute)
	}
	if size > MaxPacket {
		return nil, fmt.Errorf("encode %v of %d octets: %w", p.Code, size, ErrTooLong)
	}
	b := make([]byte, HeaderLen, size)
	b[offCode], b[offIdentifier] = byte(p.Code), p.Identifier
	binary.BigEndian.PutUint16(b[offLength:], uint16(size))
	copy(b[offAuth:], p.Authenticator[:])
	if sign {
		b = append(b, byte(typeMessageAuthenticator), attrHeader+authLen)
		b = append(b, make([]byte, authLen)...)
	}
	for _, a := range p.Attributes {
		if a.Type != typeMessageAuthenticator {
			b = append(append(b, byte(a.Type), byte(attrHeader+len(a.Attribute))), a.Attribute...)
		}
	}
	return b, nil
}

const md5Block = 64

// signature is HMAC-MD5 (RFC 2104) over b with auth in its header and zeros for the
// sixteen octets at off. It works in one array on the stack: crypto/hmac allocates
// six times for each packet.
func signature(b []byte, off int, auth *[authLen]byte, secret []byte) [authLen]byte {
	var key [md5Block]byte
	if len(secret) > md5Block {
		sum := md5.Sum(secret)
		copy(key[:], sum[:])
	} else {
		copy(key[:], secret)
	}
	var room [md5Block + MaxPacket]byte
	for i := range key {
		room[i] = key[i] ^ 0x36
	}
	n := md5Block + copy(room[md5Block:], b)
	copy(room[md5Block+offAuth:], auth[:])
	clear(room[md5Block+off : md5Block+off+authLen])
	inner := md5.Sum(room[:n])
	for i := range key {
		room[i] = key[i] ^ 0x5c
	}
	copy(room[md5Block:], inner[:])
	return md5.Sum(room[:md5Block+len(inner)])
}

// authenticator is MD5(Code+Identifier+Length+auth+Attributes+Secret): the Response
// Authenticator of RFC 2865 §3 and, with auth zero, the Request Authenticator of
// RFC 2866 §3.
func authenticator(b []byte, auth *[authLen]byte, secret []byte) [authLen]byte {
	var room [MaxPacket + maxShortSecret]byte
	n := copy(room[:], b)
	copy(room[offAuth:], auth[:])
	return md5.Sum(append(room[:n], secret...))
}

// Longer secrets than this work too, at the price of an allocation.
const maxShortSecret = 128

func same(sum [authLen]byte, b []byte) bool {
	return subtle.ConstantTimeCompare(sum[:], b[:authLen]) == 1
}
