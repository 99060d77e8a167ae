package radius

import (
	"encoding/binary"

	"layeh.com/radius/vendors/microsoft"

	"postern/internal/mschap"
)

// MSCHAP2CPW is the change of a password: MS-CHAP2-CPW (RFC 2548 §2.3.4) and the
// MS-CHAP-NT-Enc-PW beside it (§2.2), together what RFC 2759 §7 has in one packet.
type MSCHAP2CPW struct {
	Ident             byte
	EncryptedPassword [mschap.PWBlockLen]byte
	EncryptedHash     [16]byte
	PeerChallenge     [16]byte
	NTResponse        [24]byte
	Flags             uint16 // must be zero; kept as it came
}

// RFC 2548 §2.3.4: code, identifier, hash, peer challenge with eight reserved octets
// behind it, response, flags. §2.2: code, identifier, sequence number, fragment.
const (
	cpwCode   = 7
	cpwLen    = 68
	encPWCode = 6
	encPWHead = 4
)

// AddMSCHAP2CPW adds the challenge, which is the one of the MS-CHAP-Error before, and
// the change.
func AddMSCHAP2CPW(p *Packet, challenge *[16]byte, c *MSCHAP2CPW) error {
	if err := microsoft.MSCHAPChallenge_Add(p, challenge[:]); err != nil {
		return err
	}
	v := make([]byte, 0, cpwLen)
	v = append(v, cpwCode, c.Ident)
	v = append(v, c.EncryptedHash[:]...)
	v = append(v, c.PeerChallenge[:]...)
	v = append(v, make([]byte, 8)...)
	v = append(v, c.NTResponse[:]...)
	v = binary.BigEndian.AppendUint16(v, c.Flags)
	if err := microsoft.MSCHAP2CPW_Add(p, v); err != nil {
		return err
	}
	rest := c.EncryptedPassword[:]
	for seq := uint16(1); len(rest) > 0; seq++ {
		n := min(len(rest), maxVendorValue-encPWHead)
		v := append(make([]byte, 0, maxVendorValue), encPWCode, c.Ident)
		v = append(binary.BigEndian.AppendUint16(v, seq), rest[:n]...)
		if err := microsoft.MSCHAPNTEncPW_Add(p, v); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// GetMSCHAP2CPW reads all of them. The fragments may come in any order, but none may
// be missing, come twice or belong to another change.
func GetMSCHAP2CPW(p *Packet) (challenge [16]byte, c MSCHAP2CPW, ok bool) {
	var changes int
	fragments := make(map[uint16]Attribute)
	for typ, v := range vendorAttributes(p, vendorMicrosoft) {
		switch typ {
		case msCHAP2CPW:
			if changes++; changes > 1 || len(v) != cpwLen || v[0] != cpwCode {
				return challenge, MSCHAP2CPW{}, false
			}
			c.Ident = v[1]
			copy(c.EncryptedHash[:], v[2:])
			copy(c.PeerChallenge[:], v[18:])
			copy(c.NTResponse[:], v[42:])
			c.Flags = binary.BigEndian.Uint16(v[66:])
		case msCHAPNTEncPW:
			if len(v) <= encPWHead || v[0] != encPWCode {
				return challenge, MSCHAP2CPW{}, false
			}
			seq := binary.BigEndian.Uint16(v[2:])
			if _, twice := fragments[seq]; twice {
				return challenge, MSCHAP2CPW{}, false
			}
			fragments[seq] = v
		}
	}
	v, err := microsoft.MSCHAPChallenge_Lookup(p)
	if err != nil || len(v) != chapChallenge || changes != 1 {
		return challenge, MSCHAP2CPW{}, false
	}
	rest := c.EncryptedPassword[:]
	for seq := uint16(1); int(seq) <= len(fragments); seq++ {
		f, there := fragments[seq]
		if !there || f[1] != c.Ident || len(f)-encPWHead > len(rest) {
			return challenge, MSCHAP2CPW{}, false
		}
		rest = rest[copy(rest, f[encPWHead:]):]
	}
	if len(rest) > 0 {
		return challenge, MSCHAP2CPW{}, false
	}
	copy(challenge[:], v)
	return challenge, c, true
}
