package mschap

import (
	"crypto/sha1"
	"encoding/binary"
)

// NTResponse is ChallengeResponse, RFC 2759 §8.5: the 8-octet hash encrypted
// under three DES keys cut from the NT hash, which is padded with zeros to 21
// octets. The third key has two octets of secret in it.
func NTResponse(challengeHash [8]byte, ntHash *[16]byte) (response [24]byte) {
	l, r := desIP(binary.BigEndian.Uint32(challengeHash[:4]), binary.BigEndian.Uint32(challengeHash[4:]))
	keys := [3][7]byte{[7]byte(ntHash[0:7]), [7]byte(ntHash[7:14]), {ntHash[14], ntHash[15]}}
	for i := range keys {
		var ks desSchedule
		ks.init(&keys[i])
		a, b := desFP(ks.encrypt(l, r))
		binary.BigEndian.PutUint32(response[8*i:], a)
		binary.BigEndian.PutUint32(response[8*i+4:], b)
	}
	return response
}

// The magic strings of RFC 2759 §8.7.
const (
	signServer = "Magic server to client signing constant"
	padMore    = "Pad to make it do more than one iteration"
)

// AuthenticatorResponse is GenerateAuthenticatorResponse, RFC 2759 §8.7: the
// server's proof that it, too, knows the hash. It takes what a domain
// controller gives, the hash of the NT hash.
func AuthenticatorResponse(hashHash *[16]byte, ntResponse *[24]byte, challengeHash [8]byte) string {
	buf := make([]byte, 0, 128)
	buf = append(buf, hashHash[:]...)
	buf = append(buf, ntResponse[:]...)
	buf = append(buf, signServer...)
	digest := sha1.Sum(buf)
	buf = append(buf[:0], digest[:]...)
	buf = append(buf, challengeHash[:]...)
	buf = append(buf, padMore...)
	digest = sha1.Sum(buf)

	const upper = "0123456789ABCDEF"
	var text [2 + 40]byte
	text[0], text[1] = 'S', '='
	for i, b := range digest {
		text[2+2*i], text[3+2*i] = upper[b>>4], upper[b&15]
	}
	return string(text[:])
}
