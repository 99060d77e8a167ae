package mschap

import (
	"bytes"
	"crypto/des"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// withParity spreads 56 key bits over eight octets with odd parity, the form
// crypto/des and the standard's vectors have.
func withParity(key [7]byte) (out [8]byte) {
	k := uint64(key[0])<<48 | uint64(key[1])<<40 | uint64(key[2])<<32 |
		uint64(key[3])<<24 | uint64(key[4])<<16 | uint64(key[5])<<8 | uint64(key[6])
	for i := range out {
		b := byte(k>>(49-7*i)&127) << 1
		out[i] = b | byte(^bits.OnesCount8(b)&1)
	}
	return out
}

func withoutParity(key [8]byte) (out [7]byte) {
	var k uint64
	for _, b := range key {
		k = k<<7 | uint64(b>>1)
	}
	for i := range out {
		out[i] = byte(k >> (48 - 8*i))
	}
	return out
}

func encryptBlock(key [7]byte, block [8]byte) (out [8]byte) {
	var ks desSchedule
	ks.init(&key)
	l, r := desFP(ks.encrypt(desIP(binary.BigEndian.Uint32(block[:4]), binary.BigEndian.Uint32(block[4:]))))
	binary.BigEndian.PutUint32(out[:4], l)
	binary.BigEndian.PutUint32(out[4:], r)
	return out
}

// The example keys of RFC 2759 §9.3.
func TestParityRFC2759(t *testing.T) {
	for _, row := range []struct{ raw, des string }{
		{"FC 15 6A F7 ED CD 6C", "FD 0B 5B 5E 7F 6E 34 D9"},
		{"0E DD E3 33 7D 42 7F", "0E 6E 79 67 37 EA 08 FE"},
	} {
		if got := withParity([7]byte(unhex(row.raw))); !bytes.Equal(got[:], unhex(row.des)) {
			t.Errorf("withParity(%s) = %X, want %s", row.raw, got, row.des)
		}
	}
}

// Known answers of NIST SP 800-17: each appendix gives vectors that make every
// permutation and S-box entry show.
func TestDESKnownAnswers(t *testing.T) {
	for _, row := range []struct{ key, plain, cipher string }{
		{"0101010101010101", "8000000000000000", "95F8A5E5DD31D900"},
		{"0101010101010101", "4000000000000000", "DD7F121CA5015619"},
		{"0101010101010101", "0000000000000001", "166B40B44ABA4BD6"},
		{"8001010101010101", "0000000000000000", "95A8D72813DAA94D"},
		{"4001010101010101", "0000000000000000", "0EEC1487DD8C26D5"},
		{"1046913489980131", "0000000000000000", "88D55E54F54C97B4"},
		{"7CA110454A1A6E57", "01A1D6D039776742", "690F5B0D9A26939B"},
		{"0131D9619DC1376E", "5CD54CA83DEF57DA", "7A389D10354BD271"},
		{"133457799BBCDFF1", "0123456789ABCDEF", "85E813540F0AB405"},
	} {
		got := encryptBlock(withoutParity([8]byte(unhex(row.key))), [8]byte(unhex(row.plain)))
		if !bytes.Equal(got[:], unhex(row.cipher)) {
			t.Errorf("key %s plain %s: %X, want %s", row.key, row.plain, got, row.cipher)
		}
	}
}

func checkDES(t *testing.T, key [7]byte, block [8]byte) {
	t.Helper()
	long := withParity(key)
	c, err := des.NewCipher(long[:])
	if err != nil {
		t.Fatal(err)
	}
	var want [8]byte
	c.Encrypt(want[:], block[:])
	if got := encryptBlock(key, block); got != want {
		t.Fatalf("key %X block %X: %X, crypto/des %X", key, block, got, want)
	}
}

func TestDESSingleBits(t *testing.T) {
	for k := range 57 {
		for p := range 65 {
			var key [8]byte
			var block [8]byte
			if k < 56 {
				binary.BigEndian.PutUint64(key[:], 1<<k)
			}
			if p < 64 {
				binary.BigEndian.PutUint64(block[:], 1<<p)
			}
			checkDES(t, [7]byte(key[1:]), block)
		}
	}
}

func TestDESRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], rng.Uint64())
		binary.BigEndian.PutUint64(b[8:], rng.Uint64())
		checkDES(t, [7]byte(b[:7]), [8]byte(b[8:]))
	}
}

func FuzzDES(f *testing.F) {
	f.Add([]byte("seven78block"), []byte("12345678"))
	f.Add(make([]byte, 7), make([]byte, 8))
	f.Fuzz(func(t *testing.T, key, block []byte) {
		var k [7]byte
		var b [8]byte
		copy(k[:], key)
		copy(b[:], block)
		checkDES(t, k, b)
	})
}
