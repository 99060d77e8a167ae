package radius

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"layeh.com/radius/vendors/microsoft"
)

// RFC 2548 §2.3.2: the CHAP identifier, flags, and what RFC 2759 §4 has in its
// Response, which is as long as what §2.1.3 has of MS-CHAPv1; then §2.3.3 and
// §2.1.5: an identifier and a text.
const (
	chapResponseLen = 50
	chapChallenge   = 16
	chapChallengeV1 = 8
	successTextLen  = 42 // "S=" and 40 hexadecimal digits
)

// ErrValue is returned for a value that does not fit its attribute.
var ErrValue = errors.New("radius: value does not fit the attribute")

// MSCHAP2Response is the MS-CHAP2-Response attribute (RFC 2548 §2.3.2).
type MSCHAP2Response struct {
	Ident         byte
	Flags         byte // must be zero; kept as it came
	PeerChallenge [16]byte
	NTResponse    [24]byte
}

// AddMSCHAP2Response adds the challenge the node sent and what its peer answered.
func AddMSCHAP2Response(p *Packet, challenge *[16]byte, r *MSCHAP2Response) error {
	if err := microsoft.MSCHAPChallenge_Add(p, challenge[:]); err != nil {
		return err
	}
	v := make([]byte, 0, chapResponseLen)
	v = append(v, r.Ident, r.Flags)
	v = append(v, r.PeerChallenge[:]...)
	v = append(v, make([]byte, 8)...) // reserved, must be zero
	v = append(v, r.NTResponse[:]...)
	return microsoft.MSCHAP2Response_Add(p, v)
}

// GetMSCHAP2Response reads both attributes. The challenge must have the sixteen
// octets of MS-CHAPv2; a request with eight is MS-CHAPv1, which we take from nobody.
func GetMSCHAP2Response(p *Packet) (challenge [16]byte, r MSCHAP2Response, ok bool) {
	c, err := microsoft.MSCHAPChallenge_Lookup(p)
	if err != nil || len(c) != chapChallenge {
		return challenge, r, false
	}
	v, err := microsoft.MSCHAP2Response_Lookup(p)
	if err != nil || len(v) != chapResponseLen {
		return challenge, r, false
	}
	copy(challenge[:], c)
	r.Ident, r.Flags = v[0], v[1]
	copy(r.PeerChallenge[:], v[2:])
	copy(r.NTResponse[:], v[26:])
	return challenge, r, true
}

// MSCHAPResponse is the MS-CHAP-Response attribute (RFC 2548 §2.1.3), of MS-CHAPv1.
// Its NT response is made of a challenge of eight octets just as MS-CHAPv2's is made
// of a hash of eight octets (RFC 2433 §A.5, RFC 2759 §8.5).
type MSCHAPResponse struct {
	Ident      byte
	Flags      byte // MSCHAPUseNT, or the LM response is meant
	LMResponse [24]byte
	NTResponse [24]byte
}

// MSCHAPUseNT is the flag that says to verify the NT response.
const MSCHAPUseNT = 1

// AddMSCHAPResponse adds challenge and response in the form of MS-CHAPv1.
func AddMSCHAPResponse(p *Packet, challenge *[8]byte, r *MSCHAPResponse) error {
	if err := addVendor(p, vendorMicrosoft, msCHAPChallenge, challenge[:]); err != nil {
		return err
	}
	v := make([]byte, 0, chapResponseLen)
	v = append(v, r.Ident, r.Flags)
	v = append(v, r.LMResponse[:]...)
	v = append(v, r.NTResponse[:]...)
	return addVendor(p, vendorMicrosoft, msCHAPResponse, v)
}

// GetMSCHAPResponse reads both attributes; a challenge of another length than eight
// is not MS-CHAPv1's.
func GetMSCHAPResponse(p *Packet) (challenge [8]byte, r MSCHAPResponse, ok bool) {
	c, ok := lookupVendor(p, vendorMicrosoft, msCHAPChallenge)
	if !ok || len(c) != chapChallengeV1 {
		return challenge, r, false
	}
	v, ok := lookupVendor(p, vendorMicrosoft, msCHAPResponse)
	if !ok || len(v) != chapResponseLen {
		return challenge, r, false
	}
	copy(challenge[:], c)
	r.Ident, r.Flags = v[0], v[1]
	copy(r.LMResponse[:], v[2:])
	copy(r.NTResponse[:], v[26:])
	return challenge, r, true
}

// carriesMSCHAP says whether p shows what a password can be guessed from off line.
// It looks for the attributes and not for their meaning: a misshapen one leaks too.
func carriesMSCHAP(p *Packet) bool {
	for typ := range vendorAttributes(p, vendorMicrosoft) {
		switch typ {
		case msCHAPResponse, msCHAP2Response, msCHAPCPW1, msCHAPCPW2, msCHAPNTEncPW, msCHAP2CPW:
			return true
		}
	}
	return false
}

// AddMSCHAP2Success adds "S=" and the authenticator response (RFC 2548 §2.3.3).
func AddMSCHAP2Success(p *Packet, ident byte, text string) error {
	if len(text) != successTextLen {
		return fmt.Errorf("add MS-CHAP2-Success of %d octets: %w", len(text), ErrValue)
	}
	return microsoft.MSCHAP2Success_Add(p, append([]byte{ident}, text...))
}

// GetMSCHAP2Success returns the identifier and "S=" with its digits.
func GetMSCHAP2Success(p *Packet) (ident byte, text string, ok bool) {
	v, err := microsoft.MSCHAP2Success_Lookup(p)
	if err != nil || len(v) != 1+successTextLen || !bytes.HasPrefix(v[1:], []byte("S=")) {
		return 0, "", false
	}
	return v[0], string(v[1:]), true
}

// AddMSCHAPError adds RFC 2759 §6's text, "E=691 R=0 C=... V=3 M=...", behind the
// identifier (RFC 2548 §2.1.5).
func AddMSCHAPError(p *Packet, ident byte, text string) error {
	if len(text) == 0 || len(text) > maxVendorValue-1 {
		return fmt.Errorf("add MS-CHAP-Error of %d octets: %w", len(text), ErrValue)
	}
	return microsoft.MSCHAPError_Add(p, append([]byte{ident}, text...))
}

// GetMSCHAPError returns the identifier and the text.
func GetMSCHAPError(p *Packet) (ident byte, text string, ok bool) {
	v, err := microsoft.MSCHAPError_Lookup(p)
	if err != nil || len(v) < 2 {
		return 0, "", false
	}
	return v[0], string(v[1:]), true
}

// NameServers is what RFC 2548 §2.5.1-2.5.4 hands to the peer: at most two each.
type NameServers struct{ DNS, NBNS []netip.Addr }

// AddNameServers adds them; more than two of a kind, or one that is not IPv4, is an
// error.
func AddNameServers(p *Packet, s NameServers) error {
	if len(s.DNS) > 2 || len(s.NBNS) > 2 {
		return fmt.Errorf("add %d DNS and %d NBNS servers: %w", len(s.DNS), len(s.NBNS), ErrValue)
	}
	for i, a := range s.DNS {
		if err := [...]func(*Packet, net.IP) error{microsoft.MSPrimaryDNSServer_Add, microsoft.MSSecondaryDNSServer_Add}[i](p, a.AsSlice()); err != nil {
			return fmt.Errorf("add DNS server %v: %w", a, err)
		}
	}
	for i, a := range s.NBNS {
		if err := [...]func(*Packet, net.IP) error{microsoft.MSPrimaryNBNSServer_Add, microsoft.MSSecondaryNBNSServer_Add}[i](p, a.AsSlice()); err != nil {
			return fmt.Errorf("add NBNS server %v: %w", a, err)
		}
	}
	return nil
}

// GetNameServers reads them, leaving out what is absent, misshapen or 0.0.0.0.
func GetNameServers(p *Packet) NameServers {
	read := func(lookups ...func(*Packet) (net.IP, error)) (all []netip.Addr) {
		for _, lookup := range lookups {
			ip, err := lookup(p)
			if err != nil {
				continue
			}
			if a, ok := netip.AddrFromSlice(ip); ok && !a.IsUnspecified() {
				all = append(all, a)
			}
		}
		return all
	}
	return NameServers{
		DNS:  read(microsoft.MSPrimaryDNSServer_Lookup, microsoft.MSSecondaryDNSServer_Lookup),
		NBNS: read(microsoft.MSPrimaryNBNSServer_Lookup, microsoft.MSSecondaryNBNSServer_Lookup),
	}
}

// AddRASClient adds what the peer said of itself in LCP Identification: its computer
// name and its system. Empty ones are left out, long ones cut: they are claims, and
// must not cost a login.
func AddRASClient(p *Packet, name, version string) error {
	if name != "" {
		if err := microsoft.MSRASClientName_AddString(p, cut(name)); err != nil {
			return err
		}
	}
	if version != "" {
		return microsoft.MSRASClientVersion_AddString(p, cut(version))
	}
	return nil
}

// GetRASClient returns both claims. Windows ends the name with a zero octet.
func GetRASClient(p *Packet) (name, version string) {
	trim := func(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }
	return trim(microsoft.MSRASClientName_Get(p)), trim(microsoft.MSRASClientVersion_Get(p))
}

func cut(s string) string { return s[:min(len(s), maxVendorValue)] }
