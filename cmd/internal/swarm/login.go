package swarm

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2868"

	"postern/internal/mschap"
	"postern/internal/radius"
)

// login is one Access-Request with MS-CHAPv2 (RFC 2759, RFC 2548 §2.3), as a node
// makes it, and what is needed to check the answer.
type login struct {
	nas, session string
	name         string // as typed
	source       netip.Addr
	hash         *[16]byte

	ident     byte
	challenge [8]byte // RFC 2759 §8.2
	response  [24]byte
}

// request draws challenges, answers them and makes the packet.
func (l *login) request() (*radius.Packet, error) {
	var challenge [16]byte
	r := radius.MSCHAP2Response{}
	_, _ = rand.Read(challenge[:])
	_, _ = rand.Read(r.PeerChallenge[:])
	l.ident = challenge[0] ^ r.PeerChallenge[0]
	l.challenge = mschap.ChallengeHash(&r.PeerChallenge, &challenge, mschap.TrimDomain(l.name))
	l.response = mschap.NTResponse(l.challenge, l.hash)
	r.Ident, r.NTResponse = l.ident, l.response
	p := radius.NewRequest(radius.CodeAccessRequest, radius.Secret{})
	return p, errors.Join(
		l.describe(p),
		rfc2865.UserName_SetString(p, l.name),
		radius.AddMSCHAP2Response(p, &challenge, &r))
}

// describe adds what every request about the session says.
func (l *login) describe(p *radius.Packet) error {
	source := l.source.String()
	return errors.Join(
		rfc2865.NASIdentifier_SetString(p, l.nas),
		rfc2865.NASPortType_Set(p, rfc2865.NASPortType_Value_Virtual),
		rfc2865.ServiceType_Set(p, rfc2865.ServiceType_Value_FramedUser),
		rfc2865.FramedProtocol_Set(p, rfc2865.FramedProtocol_Value_PPP),
		rfc2865.CallingStationID_SetString(p, source),
		rfc2868.TunnelType_Set(p, 0, rfc2868.TunnelType_Value_PPTP),
		rfc2868.TunnelMediumType_Set(p, 0, rfc2868.TunnelMediumType_Value_IPv4),
		rfc2868.TunnelClientEndpoint_SetString(p, 0, source),
		rfc2866.AcctSessionID_SetString(p, l.session))
}

// granted is what an Accept gives.
type granted struct {
	user    string
	addr    netip.Addr
	class   [][]byte
	interim uint32 // seconds
}

// accepted checks an Accept: the proof, the keys and the address.
func (l *login) accepted(p *radius.Packet) (granted, Wrong) {
	g := granted{user: rfc2865.UserName_GetString(p)}
	if g.user == "" {
		g.user = l.name
	}
	hashHash := mschap.HashHash(l.hash)
	ident, proof, ok := radius.GetMSCHAP2Success(p)
	want := mschap.AuthenticatorResponse(&hashHash, &l.response, l.challenge)
	// M= may follow (RFC 2759 §5).
	if !ok || ident != l.ident || len(proof) < len(want) || subtle.ConstantTimeCompare([]byte(proof[:len(want)]), []byte(want)) != 1 {
		return g, WrongProof
	}
	master := mschap.MasterKey(&hashHash, &l.response)
	wantSend, wantRecv := mschap.StartKeys(&master, true)
	send, recv, ok := radius.MPPEKeys(p)
	switch policy, _ := radius.GetMPPEPolicy(p); {
	case ok && (send != wantSend || recv != wantRecv):
		return g, WrongKeys
	case !ok && policy != 0: // who allows encryption has to give keys
		return g, WrongKeys
	}
	addr, ok := netip.AddrFromSlice(rfc2865.FramedIPAddress_Get(p))
	// RFC 2865 §5.8: two values leave the choice to the NAS or the client.
	if ok && (addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback()) {
		return g, WrongAddress
	}
	g.addr = addr
	g.class, _ = rfc2865.Class_Gets(p)
	return g, WrongUnknown
}

// refusal is the reason of a Reject, as far as a client is told.
func refusal(p *radius.Packet) string {
	if p.Code == radius.CodeAccessChallenge {
		return "challenge, which MS-CHAPv2 cannot answer"
	}
	_, text, ok := radius.GetMSCHAPError(p)
	if !ok {
		return "without MS-CHAP-Error"
	}
	e, err := mschap.ParseError(text)
	if err != nil {
		return "unreadable MS-CHAP-Error"
	}
	return verdict(e)
}

// verdict is an MS-CHAP-Error without its challenge.
func verdict(e mschap.Error) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, plain(e.Message)))
}

// plain is a server's text, fit for a terminal and not longer than a line.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, s)
	if r := []rune(s); len(r) > 80 {
		s = string(r[:79]) + "…"
	}
	return s
}
