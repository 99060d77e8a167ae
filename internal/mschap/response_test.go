package mschap

import (
	"crypto/des"
	"testing"
)

func TestResponseRFC2759(t *testing.T) {
	if got := NTResponse(rfcChallenge, &rfcHash); got != rfcResponse {
		t.Errorf("NTResponse = %X", got)
	}
	if got := AuthenticatorResponse(&rfcHashHash, &rfcResponse, rfcChallenge); got != rfcProof {
		t.Errorf("AuthenticatorResponse = %s", got)
	}
}

func TestResponseAllocs(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { NTResponse(rfcChallenge, &rfcHash) }); n != 0 {
		t.Errorf("NTResponse allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { ChallengeHash(&rfcPeer, &rfcAuthenticator, rfcName) }); n != 0 {
		t.Errorf("ChallengeHash allocates %v times", n)
	}
}

// responseStdlib is NTResponse by crypto/des, the yardstick of the benchmark.
func responseStdlib(challengeHash [8]byte, ntHash *[16]byte) (response [24]byte) {
	var padded [21]byte
	copy(padded[:], ntHash[:])
	for i := range 3 {
		key := withParity([7]byte(padded[7*i : 7*i+7]))
		block, err := des.NewCipher(key[:])
		if err != nil {
			panic(err)
		}
		block.Encrypt(response[8*i:], challengeHash[:])
	}
	return response
}

// BenchmarkValidate is what a service does for one login once it has the
// hash: verify the response, prove itself, derive the keys.
func BenchmarkValidate(b *testing.B) {
	for _, v := range []struct {
		name    string
		respond func([8]byte, *[16]byte) [24]byte
	}{{"crypto-des", responseStdlib}, {"tables", NTResponse}} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ch := ChallengeHash(&rfcPeer, &rfcAuthenticator, rfcName)
				if v.respond(ch, &rfcHash) != rfcResponse {
					b.Fatal("wrong response")
				}
				hh := HashHash(&rfcHash)
				if AuthenticatorResponse(&hh, &rfcResponse, ch) != rfcProof {
					b.Fatal("wrong proof")
				}
				master := MasterKey(&hh, &rfcResponse)
				StartKeys(&master, true)
			}
		})
	}
}

func BenchmarkNTResponse(b *testing.B) {
	b.Run("crypto-des", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			responseStdlib(rfcChallenge, &rfcHash)
		}
	})
	b.Run("tables", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NTResponse(rfcChallenge, &rfcHash)
		}
	})
}
