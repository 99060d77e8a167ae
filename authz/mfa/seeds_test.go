package mfa

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"postern/internal/store/storetest"
)

const seedA, seedB = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"

func TestParseSeeds(t *testing.T) {
	const file = "# tokens of the old system\n" +
		"alice," + seedA + "\n" +
		"bob,gezd gnbv gy3t qojq gezd gnbv gy3t qojq,8,60,sha256,\"blue, small\"\n" +
		"otpauth://totp/ACME:carol@corp.example?secret=" + seedB + "&issuer=ACME&digits=8&period=60&algorithm=SHA512\n" +
		`dave Cleartext-Password := "x", TOTP-Secret := "` + seedB + "\"\r\n"
	seeds, mistakes, err := ParseSeeds(strings.NewReader(file))
	if err != nil || len(mistakes) != 0 || len(seeds) != 4 {
		t.Fatalf("%v %v %v", seeds, mistakes, err)
	}
	for i, want := range []Seed{
		{2, "alice", "", 6, 30 * time.Second, "SHA1", seedA},
		{3, "bob", "blue, small", 8, time.Minute, "SHA256", seedA},
		{4, "carol@corp.example", "", 8, time.Minute, "SHA512", seedB},
		{5, "dave", "", 6, 30 * time.Second, "SHA1", seedB},
	} {
		if seeds[i] != want {
			t.Errorf("%v, want %v", seeds[i], want)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", seeds, seeds[0], &seeds[1]); strings.Contains(text, seedA) {
		t.Error("it prints secrets")
	}
	// Columns by name, as privacyIDEA's reports and spreadsheets have them.
	seeds, mistakes, err = ParseSeeds(strings.NewReader("serial,Secret_Hex,user,realm,period\nTOTP1,3132333435363738393031323334353637383930,alice,corp,60\n"))
	if err != nil || len(mistakes) != 0 || len(seeds) != 1 || seeds[0].User != "alice" || seeds[0].secret != seedA || seeds[0].Period != time.Minute {
		t.Errorf("%v %v %v", seeds, mistakes, err)
	}
}

func TestParseSeedsMistakes(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"alice", "a secret of 0 octets"},
		{"," + seedA, "no user"},
		{"alice,SECRET!!" + seedA, "not base32"},
		{"alice," + seedA + "A", "not base32"},
		{"alice,GEZDGNBV", "a secret of 5 octets"},
		{"alice," + seedA + ",9", "9 digits"},
		{"alice," + seedA + ",six", `digits: "six"`},
		{"alice," + seedA + ",6,5", "a period of 5s"},
		{"alice," + seedA + ",6,30,MD5", `algorithm "MD5"`},
		{"alice," + seedA + ",6,30,SHA1,phone,more", "7 columns"},
		{`alice,"` + seedA, "no token in a form"},
		{"otpauth://hotp/x:alice?secret=" + seedA, `kind "hotp"`},
		{"otpauth:\x7f" + seedA, "not an otpauth URL"},
		{"alice," + seedA + ",6,30,SHA1," + strings.Repeat("x", 65), "a label of more than"},
	} {
		seeds, mistakes, err := ParseSeeds(strings.NewReader("bob," + seedB + "\n" + row.line + "\n"))
		if err != nil || len(seeds) != 1 || len(mistakes) != 1 {
			t.Errorf("%q: %v %v %v", row.line, seeds, mistakes, err)
			continue
		}
		if text := mistakes[0].Error(); !strings.HasPrefix(text, "line 2: ") || !strings.Contains(text, row.want) || strings.Contains(text, "GEZDGNBV") {
			t.Errorf("%q: %s", row.line, text)
		}
	}
	if _, _, err := ParseSeeds(strings.NewReader("\xff")); err == nil {
		t.Error("not UTF-8")
	}
	if _, _, err := ParseSeeds(strings.NewReader(strings.Repeat("#", maxSeedFile+1))); err == nil {
		t.Error("endless")
	}
}

func TestImport(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	seeds, _, err := ParseSeeds(strings.NewReader("alice," + seedA + ",8,60,SHA256,old phone\n"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := v.Import(ctx, noon, "alice", seeds[0])
	if err != nil || k.Digits != 8 || k.Period != 60 || k.Label != "old phone" {
		t.Fatalf("%+v %v", k, err)
	}
	if _, err := v.Import(ctx, noon, "alice", seeds[0]); !errors.Is(err, ErrKnown) {
		t.Errorf("a second time: %v", err)
	}
	code, err := totp.GenerateCodeCustom(seedA, noon, totp.ValidateOpts{Period: 60, Digits: otp.DigitsEight, Algorithm: otp.AlgorithmSHA256})
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, v, noon, "alice", code); r.Outcome != OK || r.Token != k.ID {
		t.Errorf("%+v", r)
	}
}

func FuzzParseSeeds(f *testing.F) {
	for _, s := range []string{
		"alice," + seedA + "\n", "user,secret\nbob," + seedB, "otpauth://totp/ACME:carol?secret=" + seedB + "&digits=8&period=60&algorithm=SHA512",
		`dave Cleartext-Password := "x", TOTP-Secret := "` + seedB + `"`, "\"a\nb\",x", "a,b,c,d,e,f,g", "\ufeff#x\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seeds, mistakes, err := ParseSeeds(strings.NewReader(text))
		if err != nil && (seeds != nil || mistakes != nil) {
			t.Error("an error and seeds")
		}
		for _, s := range seeds {
			if err := s.check(); err != nil {
				t.Errorf("%v: %v", s, err)
			}
		}
	})
}
