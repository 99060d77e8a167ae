package proxy

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/mschap"
	"postern/internal/radius"
)

// What an Access-Accept can lack. Each says what its administrator should look at.
var (
	errNoSuccess = errors.New("an Access-Accept without a usable MS-CHAP2-Success: it was decided without MS-CHAPv2 (a policy that accepts without authentication?)")
	errNoKeys    = errors.New("an Access-Accept without MS-MPPE-Send-Key and MS-MPPE-Recv-Key of 128 bits (FreeRADIUS: use_mppe of mschap; NPS: encryption of the network policy)")
	errNoV1Keys  = errors.New("an Access-Accept without an NT key in MS-CHAP-MPPE-Keys, which a login in the form of MS-CHAPv1 is made of (FreeRADIUS: use_mppe of mschap)")
	errSpoiltV1  = errors.New("an Access-Accept with an MS-CHAP-MPPE-Keys that does not open (FreeRADIUS 3 over RadSec cannot send it: let it know of codes and set as_mschapv1: never; or a proxy in between spoils it)")
)

// VerifyMSCHAPv2 implements directory.Directory.
func (d *Directory) VerifyMSCHAPv2(ctx context.Context, n directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	if d.asMSCHAPv1(n, r) {
		return d.verifyAsMSCHAPv1(ctx, n, a, r)
	}
	q, err := d.framed(r.Typed) // what the peer has hashed
	if err != nil {
		return directory.Proof{}, err
	}
	if err := radius.AddMSCHAP2Response(q, &r.Challenge, &radius.MSCHAP2Response{
		Ident: r.Ident, PeerChallenge: r.PeerChallenge, NTResponse: r.Response,
	}); err != nil {
		return directory.Proof{}, err
	}
	accept, err := d.ask(ctx, q, a)
	if err != nil {
		return directory.Proof{}, err
	}
	keys, err := readKeys(accept, r.Ident)
	if err != nil {
		return directory.Proof{}, unusable(err)
	}
	return directory.Proof{Keys: keys, Groups: d.groups(accept)}, nil
}

// framed is a request for a PPP peer; NPS selects its policies by such marks.
func (d *Directory) framed(name string) (*radius.Packet, error) {
	q, err := d.request(name)
	if err != nil {
		return nil, err
	}
	return q, errors.Join(
		rfc2865.ServiceType_Add(q, rfc2865.ServiceType_Value_FramedUser),
		rfc2865.FramedProtocol_Add(q, rfc2865.FramedProtocol_Value_PPP),
	)
}

// readKeys takes from an Access-Accept what the peer needs. Whether S= is right only
// the peer can tell; the keys are the server's own point of view and stay so.
func readKeys(accept *radius.Packet, ident byte) (*directory.Keys, error) {
	of, success, ok := radius.GetMSCHAP2Success(accept)
	if !ok || of != ident {
		return nil, errNoSuccess
	}
	success = strings.ToUpper(success) // RFC 2759 §5 wants it so
	if _, err := hex.DecodeString(strings.TrimPrefix(success, "S=")); err != nil {
		return nil, errNoSuccess
	}
	send, recv, ok := radius.MPPEKeys(accept)
	if !ok || send == recv { // what is derived differs (RFC 3079 §3.3); what is made up, zeros for one, may not
		return nil, errNoKeys
	}
	return &directory.Keys{Success: success, Send: send, Recv: recv}, nil
}

// verifyAsMSCHAPv1 has the response verified without the name; see the package
// comment.
func (d *Directory) verifyAsMSCHAPv1(ctx context.Context, n directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	q, err := d.framed(bare(n))
	if err != nil {
		return directory.Proof{}, err
	}
	if err := radius.AddMSCHAPResponse(q, &r.ChallengeHash, &radius.MSCHAPResponse{
		Ident: r.Ident, Flags: radius.MSCHAPUseNT, NTResponse: r.Response,
	}); err != nil {
		return directory.Proof{}, err
	}
	accept, err := d.ask(ctx, q, a)
	if err != nil {
		return directory.Proof{}, err
	}
	lm, nt, ok := radius.MSCHAPKeys(accept)
	if !ok || nt == [16]byte{} {
		return directory.Proof{}, unusable(errNoV1Keys)
	}
	if lm != [8]byte{} { // there is no LM key where there was no LM response
		return directory.Proof{}, unusable(errSpoiltV1)
	}
	if mschap.NTResponse(r.ChallengeHash, &nt) == r.Response { // the NT hash, to the letter of RFC 2548 §2.4.1
		nt = mschap.HashHash(&nt)
	}
	return directory.Proof{HashHash: nt, Groups: d.groups(accept)}, nil
}
