package mschap

import (
	"bytes"
	"crypto/des"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

// RFC 2759 has no example of a change. These come from Samba's own routines
// (samba.crypto.arcfour_crypt_blob, des_crypt_blob_16), the block filled with 0, 1, 2 …
const sambaNew = "Пароль-€-😀-9"

var (
	sambaNewHash = [16]byte(unhex("67FDAED46FA1B432697ACEBED5CBCD76"))
	sambaBlock   = [32]byte(unhex("ABB6B9A4C51DA56BB3AEB8175198C984ED7629F606619F1BBF2B969AB85D69A2")) // its SHA-256
	sambaOldHash = [16]byte(unhex("2292EFAAAD1676E483E4E0CAF3BC90C0"))
)

// counting reads 0, 1, 2 …
type counting struct{ next byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = c.next
		c.next++
	}
	return len(b), nil
}

func TestChangeSamba(t *testing.T) {
	oldHash, newHash := NTHash(rfcPassword), NTHash(sambaNew)
	if newHash != sambaNewHash {
		t.Errorf("new hash %X", newHash)
	}
	block, err := EncryptPassword(sambaNew, &oldHash, &counting{})
	if err != nil || sha256.Sum256(block[:]) != sambaBlock {
		t.Errorf("block %X, %v", block, err)
	}
	if got := EncryptHash(&oldHash, &newHash); got != sambaOldHash {
		t.Errorf("old hash under the new one: %X", got)
	}
	if got, err := DecryptPassword(&block, &oldHash); got != sambaNew || err != nil {
		t.Errorf("decrypted %q, %v", got, err)
	}
}

func TestEncryptPassword(t *testing.T) {
	hash := NTHash(rfcPassword)
	for _, password := range []string{"", "x", strings.Repeat("ü", MaxPassword), strings.Repeat("😀", MaxPassword/2), "\ufffd"} {
		block, err := EncryptPassword(password, &hash, rand.Reader)
		if err != nil {
			t.Errorf("%q: %v", password, err)
		}
		if got, err := DecryptPassword(&block, &hash); got != password || err != nil {
			t.Errorf("%q came back as %q, %v", password, got, err)
		}
		again, _ := EncryptPassword(password, &hash, rand.Reader)
		if again == block && len(password) < MaxPassword {
			t.Errorf("%q: two blocks alike: what fills them is not random", password)
		}
	}
	for _, password := range []string{strings.Repeat("x", MaxPassword+1), strings.Repeat("😀", MaxPassword/2) + "x", "\xff"} {
		if block, err := EncryptPassword(password, &hash, rand.Reader); err == nil || block != [PWBlockLen]byte{} {
			t.Errorf("%q was encrypted", password)
		}
	}
	if block, err := EncryptPassword("x", &hash, bytes.NewReader(make([]byte, 9))); err == nil || block != [PWBlockLen]byte{} {
		t.Error("a block without randomness")
	}
}

// A wrong old hash gives nonsense, which is nearly always seen.
func TestDecryptPasswordWrongHash(t *testing.T) {
	hash, wrong := NTHash(rfcPassword), NTHash("guess")
	block, err := EncryptPassword("new", &hash, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecryptPassword(&block, &wrong); !errors.Is(err, ErrPWBlock) {
		t.Errorf("%q, %v", got, err)
	}
	for _, plain := range []struct {
		about  string
		length [4]byte
		tail   [2]byte // the last unit
	}{
		{"odd length", [4]byte{3}, [2]byte{}},
		{"longer than the block", [4]byte{2, 2}, [2]byte{}},
		{"four giga octets", [4]byte{0xfe, 0xff, 0xff, 0xff}, [2]byte{}},
		{"half a pair", [4]byte{2}, [2]byte{0x00, 0xd8}},
	} {
		var b [PWBlockLen]byte
		copy(b[offPasswordLength-2:], plain.tail[:])
		copy(b[offPasswordLength:], plain.length[:])
		rc4Crypt(&b, &hash)
		if got, err := DecryptPassword(&b, &hash); !errors.Is(err, ErrPWBlock) {
			t.Errorf("%s: %q, %v", plain.about, got, err)
		}
	}
}

func TestEncryptHash(t *testing.T) {
	for range 100 {
		var old, fresh [16]byte
		rand.Read(old[:])
		rand.Read(fresh[:])
		var want [16]byte
		for i := range 2 {
			key := withParity([7]byte(fresh[7*i:]))
			c, err := des.NewCipher(key[:])
			if err != nil {
				t.Fatal(err)
			}
			c.Encrypt(want[8*i:], old[8*i:8*i+8])
		}
		if got := EncryptHash(&old, &fresh); got != want {
			t.Fatalf("%X under %X: %X, crypto/des %X", old, fresh, got, want)
		}
	}
}

func FuzzDecryptPassword(f *testing.F) {
	hash := NTHash(rfcPassword)
	for _, password := range []string{"", "new password", sambaNew} {
		block, err := EncryptPassword(password, &hash, &counting{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(block[:])
	}
	f.Add(make([]byte, PWBlockLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		var block [PWBlockLen]byte
		copy(block[:], b)
		password, err := DecryptPassword(&block, &hash)
		if err != nil {
			return
		}
		again, err := EncryptPassword(password, &hash, &counting{})
		if err != nil {
			t.Fatalf("%q: %v", password, err)
		}
		if back, err := DecryptPassword(&again, &hash); err != nil || back != password {
			t.Fatalf("%q came back as %q, %v", password, back, err)
		}
	})
}
