package radius

import (
	"crypto/md5"
	"fmt"

	layeh "layeh.com/radius"
	"layeh.com/radius/vendors/microsoft"
)

// EncryptionPolicy is MS-MPPE-Encryption-Policy (RFC 2548 §2.4.4).
type EncryptionPolicy uint32

const (
	EncryptionUnknown  EncryptionPolicy = 0 // absent: the node's own configuration stands
	EncryptionAllowed  EncryptionPolicy = 1
	EncryptionRequired EncryptionPolicy = 2
)

func (e EncryptionPolicy) String() string {
	switch e {
	case EncryptionAllowed:
		return "allowed"
	case EncryptionRequired:
		return "required"
	case EncryptionUnknown:
		return "unknown"
	default:
		return fmt.Sprintf("policy %d", uint32(e))
	}
}

// EncryptionTypes is MS-MPPE-Encryption-Types (RFC 2548 §2.4.5), a set of bits. The
// RFC names 40 and 128; Microsoft's servers send 8 for 56.
type EncryptionTypes uint32

const (
	Encryption40  EncryptionTypes = 0x2
	Encryption128 EncryptionTypes = 0x4
	Encryption56  EncryptionTypes = 0x8
)

// AddMPPEPolicy adds policy and types.
func AddMPPEPolicy(p *Packet, policy EncryptionPolicy, types EncryptionTypes) error {
	if err := microsoft.MSMPPEEncryptionPolicy_Add(p, microsoft.MSMPPEEncryptionPolicy(policy)); err != nil {
		return err
	}
	return microsoft.MSMPPEEncryptionTypes_Add(p, microsoft.MSMPPEEncryptionTypes(types))
}

// GetMPPEPolicy reads both; what is absent or misshapen is zero.
func GetMPPEPolicy(p *Packet) (EncryptionPolicy, EncryptionTypes) {
	return EncryptionPolicy(microsoft.MSMPPEEncryptionPolicy_Get(p)), EncryptionTypes(microsoft.MSMPPEEncryptionTypes_Get(p))
}

// AddMPPEKeys hides both keys under the packet's Secret and the request's
// Authenticator, which a packet of NewReply carries. send is what the node seals
// with (RFC 2548 §2.4.2).
//
// Salts have their high bit set and differ within a packet, or both keys would be
// hidden under the same octets; layeh draws two at random and lets them meet.
func AddMPPEKeys(p *Packet, send, recv *[16]byte) error {
	var salt [2]byte
	draw(salt[:])
	salt[0] |= 0x80
	if err := addSalted(p, msMPPESendKey, send, salt); err != nil {
		return err
	}
	salt[1] ^= 1
	return addSalted(p, msMPPERecvKey, recv, salt)
}

func addSalted(p *Packet, typ byte, key *[16]byte, salt [2]byte) error {
	a, err := layeh.NewTunnelPassword(key[:], salt[:], p.Secret, p.Authenticator[:])
	if err != nil {
		return fmt.Errorf("hide MPPE key: %w", err)
	}
	return addVendor(p, vendorMicrosoft, typ, a)
}

// MPPEKeys opens both keys of a reply that ParseReply or Exchange returned.
func MPPEKeys(p *Packet) (send, recv [16]byte, ok bool) {
	s, okSend := openSalted(p, msMPPESendKey)
	r, okRecv := openSalted(p, msMPPERecvKey)
	if !okSend || !okRecv {
		return send, recv, false
	}
	return s, r, true
}

func openSalted(p *Packet, typ byte) (key [16]byte, ok bool) {
	a, ok := lookupVendor(p, vendorMicrosoft, typ)
	if !ok {
		return key, false
	}
	v, _, err := layeh.TunnelPassword(a, p.Secret, p.Authenticator[:])
	if err != nil || len(v) != len(key) {
		return key, false
	}
	return [16]byte(v), true
}

// RFC 2548 §2.4.1: an LM key of 8 octets, an NT key of 16, and 8 of padding.
const (
	chapKeysNT  = 8
	chapKeysEnd = 24
	chapKeysLen = 32
)

// AddMSCHAPKeys hides the keys that belong to MS-CHAPv1 in MS-CHAP-MPPE-Keys, as a
// User-Password is hidden (RFC 2548 §2.4.1, RFC 2865 §5.2): without a salt, so that
// they may go into a packet once. There is no LM key.
func AddMSCHAPKeys(p *Packet, nt *[16]byte) error {
	v := make([]byte, chapKeysLen)
	copy(v[chapKeysNT:], nt[:])
	passwordChain(p, v, v, v)
	return addVendor(p, vendorMicrosoft, msCHAPMPPEKeys, v)
}

// MSCHAPKeys opens both keys of a reply that ParseReply or Exchange returned; layeh
// would end them at their first zero octet, as it ends a password.
//
// What the NT key is, servers do not agree on: the RFC's words make it the NT hash,
// MPPE needs the hash of that (RFC 3079 §2.3), and FreeRADIUS sends the latter. A
// server that has no LM hash, or was sent no LM response, leaves the LM key zero; that
// it is zero also tells that the first block was opened rightly. FreeRADIUS 3 (3.2.1
// tried, 3.2.10 read) hides that block over RadSec under what nobody else knows: it
// encodes such a reply twice, the second time with the first one's Response
// Authenticator in place of the request's.
func MSCHAPKeys(p *Packet) (lm [8]byte, nt [16]byte, ok bool) {
	v, ok := lookupVendor(p, vendorMicrosoft, msCHAPMPPEKeys)
	if !ok || len(v) != chapKeysLen || len(p.Secret) == 0 {
		return lm, nt, false
	}
	var plain [chapKeysLen]byte
	passwordChain(p, plain[:], v, v)
	return [8]byte(plain[:chapKeysNT]), [16]byte(plain[chapKeysNT:chapKeysEnd]), true
}

// passwordChain hides whole blocks of 16 octets or opens them (RFC 2865 §5.2):
// each is added to a sum over the secret and the hidden block before it. hidden is
// where those stand: dst or src.
func passwordChain(p *Packet, dst, src, hidden []byte) {
	before := p.Authenticator[:]
	sum := md5.New()
	for i := 0; i < len(src); i += md5.Size {
		sum.Reset()
		sum.Write(p.Secret)
		sum.Write(before)
		pad := sum.Sum(make([]byte, 0, md5.Size))
		for j, o := range pad {
			dst[i+j] = src[i+j] ^ o
		}
		before = hidden[i : i+md5.Size]
	}
}
