package radius

import (
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
