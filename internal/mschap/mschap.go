// Package mschap computes MS-CHAP-V2 (RFC 2759 §8) and the keys MPPE starts
// from (RFC 3079 §3). It holds no state and does no I/O: bytes in, bytes out.
//
//	password ─NTHash→ 16 B ─HashHash→ 16 B ─MasterKey(NT-Response)→ 16 B ─StartKeys→ send, recv
//	                   └─NTResponse(ChallengeHash)→ 24 B
//
// A new password travels under the old one's hash, and the old hash under the new
// one's (§8.9-§8.13): EncryptPassword, EncryptHash.
//
// Left out: MS-CHAP-V1 and LAN Manager hashes (RFC 2433), which this project does
// not speak.
//
// All of it rests on DES and MD4. Whoever records one exchange can find the
// NT hash by one search of 2^56 DES keys; nothing here can mend that.
package mschap

import (
	"crypto/sha1"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/md4"
)

// NTHash is NtPasswordHash, RFC 2759 §8.3: MD4 over the password in UTF-16LE.
// Octets that are no UTF-8 count as U+FFFD.
func NTHash(password string) [16]byte {
	wide := make([]byte, 0, 64) // on the stack for passwords up to 32 units
	for _, r := range password {
		if r1, r2 := utf16.EncodeRune(r); r1 != '\uFFFD' {
			wide = append(wide, byte(r1), byte(r1>>8), byte(r2), byte(r2>>8))
			continue
		}
		wide = append(wide, byte(r), byte(r>>8))
	}
	sum := md4sum(wide)
	clear(wide)
	return sum
}

// HashHash is HashNtPasswordHash, RFC 2759 §8.4. A domain controller hands out
// this one only: it yields keys and proofs but verifies no second response.
func HashHash(ntHash *[16]byte) [16]byte { return md4sum(ntHash[:]) }

func md4sum(b []byte) (sum [16]byte) {
	h := md4.New()
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

// ChallengeHash is RFC 2759 §8.2. The name is the one the peer typed, with
// whatever it holds, but without the domain: see TrimDomain.
func ChallengeHash(peer, authenticator *[16]byte, name string) (hash [8]byte) {
	buf := make([]byte, 0, 32+256)
	buf = append(buf, peer[:]...)
	buf = append(buf, authenticator[:]...)
	buf = append(buf, name...)
	sum := sha1.Sum(buf)
	copy(hash[:], sum[:])
	return hash
}

// TrimDomain takes `DOMAIN\` off a name, which RFC 2759 §4 allows in front of
// it and §8.2 leaves out of the hash. Neither a domain nor an account may hold
// a backslash; when a name has several, clients hash what follows the last
// one (pppd does), so we have to do the same to get their hash.
func TrimDomain(name string) string {
	return name[strings.LastIndexByte(name, '\\')+1:]
}
