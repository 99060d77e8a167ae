package mppe

import "crypto/sha1"

// keyLen is in octets; 40 and 56 bits are 8 octets with some of them fixed.
func (s Strength) keyLen() int {
	if s == Bits128 {
		return 16
	}
	return 8
}

// reduce fixes the octets that make a key weak, RFC 3079 §3.1 and §3.2.
func (s Strength) reduce(key *[16]byte) {
	switch s {
	case Bits40:
		key[0], key[1], key[2] = 0xd1, 0x26, 0x9e
	case Bits56:
		key[0] = 0xd1
	case Bits128, Unknown:
	}
}

// chain is the sequence of session keys, RFC 3078 §7: the first comes from the
// start key, every further one from the start key and the one before. Only
// the first keyLen octets of its keys mean anything; in the shorter ones the
// other 8 repeat them, as rc4.init wants it.
type chain struct {
	start    [16]byte
	strength Strength
}

// newChain also returns the first session key.
func newChain(start *[16]byte, s Strength) (chain, [16]byte) {
	if s == Unknown || s > Bits128 {
		panic("mppe: a cipher of unknown strength") // CCP agreed on nothing; never send that
	}
	c := chain{start: *start, strength: s}
	key := c.sha(start)
	c.finish(&key)
	return c, key
}

// next changes a session key into its successor, RFC 3078 §7.3: the hash is
// encrypted with RC4 under itself.
func (c *chain) next(key *[16]byte) {
	interim := c.sha(key)
	c.double(&interim)
	var r rc4
	r.init(&interim)
	r.xor(key[:], interim[:])
	c.finish(key)
}

// sha is GetNewKeyFromSHA of RFC 3078 §7.3 (in RFC 3079 §3: GetNewKeyFromSHA
// with the start key twice). The rest of the 16 octets is of no use.
func (c *chain) sha(key *[16]byte) (out [16]byte) {
	n := c.strength.keyLen()
	buf := keyPads
	copy(buf[16-n:16], c.start[:n])
	copy(buf[56:], key[:n])
	if n == 8 { // the second pad follows the shorter key at once
		copy(buf[64:], keyPads[72:112])
	}
	sum := sha1.Sum(buf[16-n : 96+n])
	copy(out[:], sum[:])
	return out
}

// keyPads is the hash's input for a key of 16 octets: start key, SHApad1,
// session key, SHApad2.
var keyPads = func() (b [112]byte) {
	for i := 72; i < 112; i++ {
		b[i] = 0xf2
	}
	return b
}()

func (c *chain) finish(key *[16]byte) {
	c.strength.reduce(key)
	c.double(key)
}

func (c *chain) double(key *[16]byte) {
	if c.strength != Bits128 {
		copy(key[8:], key[:8])
	}
}
