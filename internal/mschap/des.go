package mschap

import "math/bits"

// DES (FIPS 46-3), encryption of one block only, which is all RFC 2759 §8.6
// asks for. crypto/des builds a key schedule on the heap and permutes bit by
// bit; a login needs three fresh keys for one block each, so the schedule is
// the cost. Here the permutations of key and schedule are look-ups made at
// start-up from the standard's own tables below, and a schedule lives on the
// stack.
//
// The look-ups are not constant in time. Neither is the standard library's,
// and the attacker of MS-CHAP does not need a side channel.

// The standard's tables. Bits are numbered from 1, the most significant.
var (
	desPC1 = [56]uint8{
		57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18,
		10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
		63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22,
		14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
	}
	desPC2 = [48]uint8{
		14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10,
		23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
		41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48,
		44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
	}
	desP = [32]uint8{
		16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
		2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
	}
	desS = [8][4][16]uint8{
		{
			{14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7},
			{0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8},
			{4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0},
			{15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13},
		},
		{
			{15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10},
			{3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5},
			{0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15},
			{13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9},
		},
		{
			{10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8},
			{13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1},
			{13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7},
			{1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12},
		},
		{
			{7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15},
			{13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9},
			{10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4},
			{3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14},
		},
		{
			{2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9},
			{14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6},
			{4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14},
			{11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3},
		},
		{
			{12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11},
			{10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8},
			{9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6},
			{4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13},
		},
		{
			{4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1},
			{13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6},
			{1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2},
			{6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12},
		},
		{
			{13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7},
			{1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2},
			{7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8},
			{2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11},
		},
	}
	desShifts = [16]uint8{1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1}
)

// Look-ups made from them.
var (
	// desPC1Of[g][v]: C<<28|D of the seven key bits v of group g. MS-CHAP's
	// keys are 56 bits without parity, eight groups of seven.
	desPC1Of [8][128]uint64

	// desPC2Of[g][v]: two schedule words of the seven bits v of group g of
	// C<<28|D. The high word is for S-boxes 2 4 6 8, the low for 1 3 5 7, six
	// bits in each octet.
	desPC2Of [8][128]uint64

	// desSP[s][v]: S-box s, then P, rotated left by one. With both halves kept
	// rotated, E is a mask: every box finds its six neighbours side by side.
	desSP [8][64]uint32
)

func init() {
	for i, from := range desPC1 {
		// Key bit from=8g+1..8g+7 of the form with parity is bit 7g+1..7g+7
		// of ours.
		g, b := (from-1)/8, (from-1)%8
		for v := range 128 {
			if v>>(6-b)&1 != 0 {
				desPC1Of[g][v] |= 1 << (55 - i)
			}
		}
	}
	for i, from := range desPC2 {
		g, b := (from-1)/7, (from-1)%7
		box, bit := i/6, 5-i%6
		shift := 24 - 8*(box/2) + bit
		if box%2 == 1 { // boxes 2 4 6 8, counted from 1
			shift += 32
		}
		for v := range 128 {
			if v>>(6-b)&1 != 0 {
				desPC2Of[g][v] |= 1 << shift
			}
		}
	}
	for s := range desSP {
		for v := range 64 {
			out := uint32(desS[s][v>>4&2|v&1][v>>1&15]) << (28 - 4*s)
			var p uint32
			for i, from := range desP {
				p |= out >> (32 - from) & 1 << (31 - i)
			}
			desSP[s][v] = bits.RotateLeft32(p, 1)
		}
	}
}

// desSchedule holds sixteen rounds' words as desPC2Of makes them.
type desSchedule [16]uint64

func (ks *desSchedule) init(key *[7]byte) {
	k := uint64(key[0])<<48 | uint64(key[1])<<40 | uint64(key[2])<<32 |
		uint64(key[3])<<24 | uint64(key[4])<<16 | uint64(key[5])<<8 | uint64(key[6])
	var cd uint64
	for g := range desPC1Of {
		cd |= desPC1Of[g][k>>(49-7*g)&127]
	}
	const mask = 1<<28 - 1
	c, d := uint32(cd>>28)&mask, uint32(cd)&mask
	for i := range ks {
		s := desShifts[i] & 3
		c = (c<<s | c>>(28-s)) & mask
		d = (d<<s | d>>(28-s)) & mask
		ks[i] = desPC2Of[0][c>>21&127] | desPC2Of[1][c>>14&127] | desPC2Of[2][c>>7&127] | desPC2Of[3][c&127] |
			desPC2Of[4][d>>21&127] | desPC2Of[5][d>>14&127] | desPC2Of[6][d>>7&127] | desPC2Of[7][d&127]
	}
}

// encrypt runs the rounds on two halves as desIP left them.
func (ks *desSchedule) encrypt(l, r uint32) (uint32, uint32) {
	for i := 0; i < 16; i += 2 {
		l ^= desRound(r, ks[i])
		r ^= desRound(l, ks[i+1])
	}
	return r, l // the last round does not swap
}

func desRound(r uint32, k uint64) uint32 {
	even := r ^ uint32(k>>32)
	odd := bits.RotateLeft32(r, -4) ^ uint32(k)
	return desSP[1][even>>24&63] ^ desSP[3][even>>16&63] ^ desSP[5][even>>8&63] ^ desSP[7][even&63] ^
		desSP[0][odd>>24&63] ^ desSP[2][odd>>16&63] ^ desSP[4][odd>>8&63] ^ desSP[6][odd&63]
}

// desIP is the initial permutation as five exchanges of bit groups between
// the halves, which leaves both rotated left by one.
func desIP(l, r uint32) (uint32, uint32) {
	l, r = desSwap(l, r, 4, 0x0f0f0f0f)
	l, r = desSwap(l, r, 16, 0x0000ffff)
	r, l = desSwap(r, l, 2, 0x33333333)
	r, l = desSwap(r, l, 8, 0x00ff00ff)
	l, r = desSwap(l, r, 1, 0x55555555)
	return bits.RotateLeft32(l, 1), bits.RotateLeft32(r, 1)
}

// desFP undoes desIP.
func desFP(l, r uint32) (uint32, uint32) {
	l, r = bits.RotateLeft32(l, -1), bits.RotateLeft32(r, -1)
	l, r = desSwap(l, r, 1, 0x55555555)
	r, l = desSwap(r, l, 8, 0x00ff00ff)
	r, l = desSwap(r, l, 2, 0x33333333)
	l, r = desSwap(l, r, 16, 0x0000ffff)
	l, r = desSwap(l, r, 4, 0x0f0f0f0f)
	return l, r
}

// desSwap exchanges the masked bits of b with those of a that lie n higher.
func desSwap(a, b uint32, n uint8, mask uint32) (uint32, uint32) {
	t := (a>>(n&31) ^ b) & mask
	return a ^ t<<(n&31), b ^ t
}
