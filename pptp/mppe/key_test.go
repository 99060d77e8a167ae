package mppe

import (
	"bytes"
	"testing"
)

// RFC 3079 §3.5.1 to §3.5.3: session key and "test message" encrypted under
// it. The RFC prints 58 for the last octet of the 56-bit message; RC4 under
// the key it prints gives B8.
func TestSampleKeysRFC3079(t *testing.T) {
	for _, row := range []struct {
		strength    Strength
		key, cipher string
	}{
		{Bits40, "D1 26 9E C4 9F A6 2E 3E", "92 91 37 91 7E 58 03 D6 68 D7 58 98"},
		{Bits56, "D1 5C 00 C4 9F A6 2E 3E", "3F 10 68 33 FA 44 8D A8 42 BC 57 B8"},
		{Bits128, "40 5C B2 24 7A 79 56 E6 E2 11 00 7A E2 7B 22 D4", "81 84 83 17 DF 68 84 62 72 FB 5A BE"},
	} {
		_, key := newChain(&rfcStart, row.strength)
		if want := unhex(row.key); !bytes.Equal(key[:len(want)], want) {
			t.Errorf("%v: session key %X, want %s", row.strength, key, row.key)
		}
		var c rc4
		c.init(&key)
		got := []byte("test message")
		c.xor(got, got)
		if !bytes.Equal(got, unhex(row.cipher)) {
			t.Errorf("%v: message %X, want %s", row.strength, got, row.cipher)
		}
	}
}

func TestKeyChanges(t *testing.T) {
	for _, s := range []Strength{Bits40, Bits56, Bits128} {
		c, key := newChain(&rfcStart, s)
		ref := newReference(rfcStart, Params{s, true})
		for n := range 1000 {
			if !bytes.Equal(key[:s.keyLen()], ref.session) {
				t.Fatalf("%v: key %d is %X, reference %X", s, n, key, ref.session)
			}
			c.next(&key)
			ref.change()
		}
	}
}

func TestUnknownStrengthPanics(t *testing.T) {
	for _, s := range []Strength{Unknown, Bits128 + 1} {
		for name, make := range map[string]func(){
			"NewSealer": func() { NewSealer(&rfcStart, Params{Strength: s}) },
			"NewOpener": func() { NewOpener(&rfcStart, Params{Strength: s}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s took strength %d (%v)", name, s, s)
					}
				}()
				make()
			}()
		}
	}
}

func BenchmarkKeyChange(b *testing.B) {
	b.Run("reference", func(b *testing.B) {
		ref := newReference(rfcStart, Params{Bits128, true})
		for b.Loop() {
			ref.change()
		}
	})
	b.Run("own", func(b *testing.B) {
		c, key := newChain(&rfcStart, Bits128)
		for b.Loop() {
			c.next(&key)
		}
	})
}
