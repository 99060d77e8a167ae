package mschap

import (
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf16"
)

// unhex reads hexadecimal with spaces; it panics, as its inputs are constants.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The exchange of RFC 2759 §9.2, which RFC 3079 §3.5 goes on with.
var (
	rfcAuthenticator = [16]byte(unhex("5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28"))
	rfcPeer          = [16]byte(unhex("21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E"))
	rfcChallenge     = [8]byte(unhex("D0 2E 43 86 BC E9 12 26"))
	rfcHash          = [16]byte(unhex("44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE"))
	rfcHashHash      = [16]byte(unhex("41 C0 0C 58 4B D2 D9 1C 40 17 A2 A1 2F A5 9F 3F"))
	rfcResponse      = [24]byte(unhex("82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF"))
)

const (
	rfcName     = "User"
	rfcPassword = "clientPass"
	rfcProof    = "S=407A5589115FD0D6209F510FE9C04566932CDA56"
)

func TestHashesRFC2759(t *testing.T) {
	hash := NTHash(rfcPassword)
	if hash != rfcHash {
		t.Errorf("NTHash = %X", hash)
	}
	if got := HashHash(&hash); got != rfcHashHash {
		t.Errorf("HashHash = %X", got)
	}
	if got := ChallengeHash(&rfcPeer, &rfcAuthenticator, rfcName); got != rfcChallenge {
		t.Errorf("ChallengeHash = %X", got)
	}
}

func TestNTHashWide(t *testing.T) {
	for _, password := range []string{"", "пароль", "a\U0001F511b", strings.Repeat("long", 64), "\xff", "\ufffd"} {
		var wide []byte
		for _, u := range utf16.Encode([]rune(password)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		if got, want := NTHash(password), md4sum(wide); got != want {
			t.Errorf("NTHash(%q) = %X, want %X", password, got, want)
		}
	}
	if got := NTHash(""); got != [16]byte(unhex("31D6CFE0D16AE931B73C59D7E0C089C0")) {
		t.Errorf("hash of no password = %X", got)
	}
}

func TestTrimDomain(t *testing.T) {
	for _, row := range []struct{ name, want string }{
		{"User", "User"},
		{`BIGCO\johndoe`, "johndoe"}, // the example of RFC 2759 §4
		{`CORP\alice+123456`, "alice+123456"},
		{`a\b\c`, "c"},
		{"alice@corp.example", "alice@corp.example"},
		{`CORP\`, ""},
		{"", ""},
	} {
		if got := TrimDomain(row.name); got != row.want {
			t.Errorf("TrimDomain(%q) = %q, want %q", row.name, got, row.want)
		}
	}
}
