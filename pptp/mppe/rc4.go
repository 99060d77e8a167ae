package mppe

import "encoding/binary"

// rc4 is the cipher, written out because crypto/rc4 divides once for each of
// the 256 steps of its key setup, allocates its state, and works octet by
// octet; stateless mode sets up two keys a packet. The octet table measured
// better than one of words, 8 octets to a store better than one.
type rc4 struct {
	s    [256]byte
	i, j uint8
}

var rc4Identity = func() (s [256]byte) {
	for i := range s {
		s[i] = byte(i)
	}
	return s
}()

// init sets up the table for a key of 16 octets. A key of 8 is passed twice
// over, which comes to the same: the setup repeats a key until 256 octets are
// used.
func (c *rc4) init(key *[16]byte) {
	c.s = rc4Identity
	s, j := &c.s, uint8(0)
	for i := 0; i < 256; i += 4 {
		k := binary.LittleEndian.Uint32(key[i&12:])
		j = rc4Mix(s, uint8(i), j, uint8(k))
		j = rc4Mix(s, uint8(i)+1, j, uint8(k>>8))
		j = rc4Mix(s, uint8(i)+2, j, uint8(k>>16))
		j = rc4Mix(s, uint8(i)+3, j, uint8(k>>24))
	}
	c.i, c.j = 0, 0
}

func rc4Mix(s *[256]byte, i, j, k uint8) uint8 {
	x := s[i]
	j += x + k
	s[i], s[j] = s[j], x
	return j
}

func rc4Step(s *[256]byte, i, j uint8) (uint8, uint64) {
	x := s[i]
	j += x
	y := s[j]
	s[i], s[j] = y, x
	return j, uint64(s[x+y])
}

// xor writes src XOR the key stream to dst, which is as long as src and is
// either src or apart from it.
func (c *rc4) xor(dst, src []byte) {
	s, i, j := &c.s, c.i, c.j
	dst = dst[:len(src)]
	n := 0
	for ; n+8 <= len(src); n += 8 {
		var k, w uint64
		j, w = rc4Step(s, i+1, j)
		j, k = rc4Step(s, i+2, j)
		w |= k << 8
		j, k = rc4Step(s, i+3, j)
		w |= k << 16
		j, k = rc4Step(s, i+4, j)
		w |= k << 24
		j, k = rc4Step(s, i+5, j)
		w |= k << 32
		j, k = rc4Step(s, i+6, j)
		w |= k << 40
		j, k = rc4Step(s, i+7, j)
		w |= k << 48
		j, k = rc4Step(s, i+8, j)
		w |= k << 56
		i += 8
		binary.LittleEndian.PutUint64(dst[n:], binary.LittleEndian.Uint64(src[n:])^w)
	}
	for ; n < len(src); n++ {
		var k uint64
		i++
		j, k = rc4Step(s, i, j)
		dst[n] = src[n] ^ byte(k)
	}
	c.i, c.j = i, j
}
