package mschap

import (
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxPassword is how many UTF-16 units a new password may have (RFC 2759 §8.9).
const MaxPassword = 256

// PWBLOCK of RFC 2759 §8.10: the password at the end of 512 octets, then how many
// octets it has.
const (
	offPasswordLength = 2 * MaxPassword
	PWBlockLen        = offPasswordLength + 4
)

// ErrPWBlock is a block that no password can be read from: it was encrypted under
// another hash, or is nonsense.
var ErrPWBlock = errors.New("no password in the block")

// EncryptPassword is NewPasswordEncryptedWithOldNtPasswordHash, RFC 2759 §8.9-§8.11.
// What the password does not fill of the block comes from rand.
func EncryptPassword(password string, oldHash *[16]byte, rand io.Reader) (block [PWBlockLen]byte, err error) {
	if !utf8.ValidString(password) {
		return block, errors.New("encrypt new password: not UTF-8")
	}
	wide := utf16.Encode([]rune(password))
	defer clear(wide)
	if len(wide) > MaxPassword {
		return block, fmt.Errorf("encrypt new password: more than %d characters", MaxPassword)
	}
	off := offPasswordLength - 2*len(wide)
	if _, err := io.ReadFull(rand, block[:off]); err != nil {
		return [PWBlockLen]byte{}, fmt.Errorf("encrypt new password: %w", err)
	}
	for i, u := range wide {
		binary.LittleEndian.PutUint16(block[off+2*i:], u)
	}
	binary.LittleEndian.PutUint32(block[offPasswordLength:], uint32(2*len(wide)))
	rc4Crypt(&block, oldHash)
	return block, nil
}

// DecryptPassword undoes EncryptPassword. That it succeeds does not prove that the
// old hash was the right one: EncryptHash does.
func DecryptPassword(block *[PWBlockLen]byte, oldHash *[16]byte) (string, error) {
	clearBlock := *block
	defer clear(clearBlock[:])
	rc4Crypt(&clearBlock, oldHash)
	n := binary.LittleEndian.Uint32(clearBlock[offPasswordLength:])
	if n > offPasswordLength || n%2 != 0 {
		return "", ErrPWBlock
	}
	wide := make([]uint16, n/2)
	defer clear(wide)
	for i := range wide {
		wide[i] = binary.LittleEndian.Uint16(clearBlock[offPasswordLength-int(n)+2*i:])
	}
	runes := utf16.Decode(wide)
	defer clear(runes)
	for i, u := range utf16.Encode(runes) {
		if u != wide[i] { // half of a pair: NTHash of what we return would be another one
			return "", ErrPWBlock
		}
	}
	return string(runes), nil
}

// rc4Crypt is Rc4Encrypt, RFC 2759 §8.11, which is its own inverse.
func rc4Crypt(block *[PWBlockLen]byte, key *[16]byte) {
	c, err := rc4.NewCipher(key[:])
	if err != nil {
		panic(err) // of keys of other lengths only
	}
	c.XORKeyStream(block[:], block[:])
}

// EncryptHash is OldNtPasswordHashEncryptedWithNewNtPasswordHash, RFC 2759 §8.12 and
// §8.13: by it the server knows that the peer has the old password and not only
// somebody's new one. The last two octets of the new hash are not used.
func EncryptHash(oldHash, newHash *[16]byte) (cypher [16]byte) {
	for i := range 2 {
		key := [7]byte(newHash[7*i:])
		var ks desSchedule
		ks.init(&key)
		l, r := desIP(binary.BigEndian.Uint32(oldHash[8*i:]), binary.BigEndian.Uint32(oldHash[8*i+4:]))
		l, r = desFP(ks.encrypt(l, r))
		binary.BigEndian.PutUint32(cypher[8*i:], l)
		binary.BigEndian.PutUint32(cypher[8*i+4:], r)
	}
	return cypher
}
