package mppe

import (
	"bytes"
	stdrc4 "crypto/rc4"
	"math/rand/v2"
	"testing"
)

// RFC 6229 §2, the first 16 octets of the key stream, keys of 128 and 64 bits.
func TestRC4KnownAnswers(t *testing.T) {
	for _, row := range []struct{ key, stream string }{
		{"0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"},
		{"01020304050607080102030405060708", "97ab8a1bf0afb96132f2f67258da15a8"}, // 64 bits, twice over
	} {
		var c rc4
		c.init((*[16]byte)(unhex(row.key)))
		got := make([]byte, 16)
		c.xor(got, got)
		if !bytes.Equal(got, unhex(row.stream)) {
			t.Errorf("key %s: %x, want %s", row.key, got, row.stream)
		}
	}
}

// Every length around the 8-octet step, split in two, in place and apart.
func TestRC4Splits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for total := range 70 {
		for split := range total + 1 {
			var key [16]byte
			src := make([]byte, total)
			for i := range key {
				key[i] = byte(rng.Uint32())
			}
			for i := range src {
				src[i] = byte(rng.Uint32())
			}
			want := make([]byte, total)
			std, _ := stdrc4.NewCipher(key[:])
			std.XORKeyStream(want, src)

			var c rc4
			c.init(&key)
			apart := make([]byte, total)
			c.xor(apart[:split], src[:split])
			c.xor(apart[split:], src[split:])
			c.init(&key)
			c.xor(src[:split], src[:split])
			c.xor(src[split:], src[split:])
			if !bytes.Equal(apart, want) || !bytes.Equal(src, want) {
				t.Fatalf("%d octets split at %d differ from crypto/rc4", total, split)
			}
		}
	}
}

func FuzzRC4(f *testing.F) {
	f.Add([]byte("a 16 octet key.."), []byte("test message"))
	f.Add([]byte{}, make([]byte, 1400))
	f.Fuzz(func(t *testing.T, k, data []byte) {
		var key [16]byte
		copy(key[:], k)
		want := make([]byte, len(data))
		std, _ := stdrc4.NewCipher(key[:])
		std.XORKeyStream(want, data)
		var c rc4
		c.init(&key)
		c.xor(data, data)
		if !bytes.Equal(data, want) {
			t.Fatal("differs from crypto/rc4")
		}
	})
}

func BenchmarkKeySetup(b *testing.B) {
	b.Run("crypto-rc4", func(b *testing.B) {
		for b.Loop() {
			_, _ = stdrc4.NewCipher(rfcStart[:])
		}
	})
	b.Run("own", func(b *testing.B) {
		var c rc4
		for b.Loop() {
			c.init(&rfcStart)
		}
	})
}

func BenchmarkKeyStream1400(b *testing.B) {
	buf := make([]byte, 1400)
	b.Run("crypto-rc4", func(b *testing.B) {
		c, _ := stdrc4.NewCipher(rfcStart[:])
		for b.Loop() {
			c.XORKeyStream(buf, buf)
		}
	})
	b.Run("own", func(b *testing.B) {
		var c rc4
		c.init(&rfcStart)
		for b.Loop() {
			c.xor(buf, buf)
		}
	})
}
