package radius

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"
)

var testSecret = NewSecret("xyzzy5461") // the RFCs' own

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	// RFC 2865 §7.1: nemo telnets to a NAS.
	rfc2865Request = `01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a
		01 06 6e 65 6d 6f 02 12 0d be 70 8d 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee
		04 06 c0 a8 01 10 05 06 00 00 00 03`
	rfc2865Accept = `02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2
		06 06 00 00 00 01 0f 06 00 00 00 00 0e 06 c0 a8 01 03`
	// RFC 2865 §7.2: flopsy with CHAP.
	rfc2865CHAP = `01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2
		01 08 66 6c 6f 70 73 79 03 13 16 e9 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75
		04 06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00 02 07 06 00 00 00 01`
	rfc2865CHAPAccept = `02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0 3c 86 01 a4
		06 06 00 00 00 02 07 06 00 00 00 01 08 06 ff ff ff fe 0a 06 00 00 00 02
		0d 06 00 00 00 01 0c 06 00 00 05 dc`
	// RFC 5997 §6.1: Status-Server with Message-Authenticator as RFC 2869 §5.14 makes it.
	rfc5997Query = `0c da 00 26 8a 54 f4 68 6f b3 94 c5 28 66 e3 02 18 5d 06 23
		50 12 5a 66 5e 2e 1e 84 11 f3 e2 43 82 20 97 c8 4f a3`
	rfc5997Reply = `02 da 00 14 ef 0d 55 2a 4b f2 d6 93 ec 2b 6f e8 b5 41 1d 66`
)

func TestVectors(t *testing.T) {
	p, err := ParseRequest(unhex(t, rfc2865Request), testSecret, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := rfc2865.UserPassword_GetString(p); got != "arctangent" {
		t.Errorf("RFC 2865 §7.1 password %q", got)
	}
	for _, v := range []struct{ request, reply string }{
		{rfc2865Request, rfc2865Accept}, {rfc2865CHAP, rfc2865CHAPAccept}, {rfc5997Query, rfc5997Reply},
	} {
		request, reply := unhex(t, v.request), unhex(t, v.reply)
		if sum := authenticator(reply, (*[16]byte)(request[4:20]), testSecret.Bytes()); !bytes.Equal(sum[:], reply[4:20]) {
			t.Errorf("Response Authenticator %x, want %x", sum, reply[4:20])
		}
		if err := VerifyReply(reply, request, testSecret); !errors.Is(err, FaultUnsigned) {
			t.Errorf("a reply of before 2024 without Message-Authenticator: %v", err)
		}
	}
	query := unhex(t, rfc5997Query)
	if err := VerifyRequest(query, testSecret, false); err != nil {
		t.Errorf("RFC 5997 §6.1: %v", err)
	}
	p, _ = Parse(query, testSecret)
	if again, err := EncodeRequest(p); err != nil || !bytes.Equal(again, query) {
		t.Errorf("encoded %x, %v", again, err)
	}
}

// independent computes HMAC-MD5 with the standard library, over a copy whose
// Message-Authenticator, at the first place, is zero.
func independent(b []byte, auth [16]byte, secret Secret) []byte {
	c := bytes.Clone(b)
	copy(c[4:], auth[:])
	clear(c[22:38])
	h := hmac.New(md5.New, secret.Bytes())
	h.Write(c)
	return h.Sum(nil)
}

func TestSignEveryCode(t *testing.T) {
	pairs := []struct {
		request Code
		over    string
		replies []Code
	}{
		{CodeAccessRequest, "random", []Code{CodeAccessAccept, CodeAccessReject, CodeAccessChallenge}},
		{CodeStatusServer, "random", []Code{CodeAccessAccept, CodeAccountingResponse}},
		{CodeAccountingRequest, "zero", []Code{CodeAccountingResponse}},
		{CodeCoARequest, "zero", []Code{CodeCoAACK, CodeCoANAK}},
		{CodeDisconnectRequest, "zero", []Code{CodeDisconnectACK, CodeDisconnectNAK}},
	}
	for _, secret := range []Secret{testSecret, NewSecret(strings.Repeat("long ", 40))} {
		for _, c := range pairs {
			q := NewRequest(c.request, secret)
			q.Identifier = 77
			_ = rfc2865.UserName_AddString(q, "alice")
			_ = rfc2865.ProxyState_AddString(q, "one")
			_ = rfc2865.ProxyState_AddString(q, "two")
			random := q.Authenticator
			request, err := EncodeRequest(q)
			if err != nil {
				t.Fatal(err)
			}
			if request[20] != 80 || request[21] != 18 {
				t.Fatalf("%v: first attribute is %d", c.request, request[20])
			}
			auth := [16]byte{}
			if c.over == "random" {
				auth = random
				if !bytes.Equal(request[4:20], random[:]) {
					t.Errorf("%v: Request Authenticator was changed", c.request)
				}
			}
			if !bytes.Equal(independent(request, auth, secret), request[22:38]) {
				t.Errorf("%v: Message-Authenticator", c.request)
			}
			if q.Authenticator != [16]byte(request[4:20]) {
				t.Errorf("%v: the packet does not know its Authenticator", c.request)
			}
			if err := VerifyRequest(request, secret, true); err != nil {
				t.Errorf("%v: %v", c.request, err)
			}
			if err := VerifyRequest(append(bytes.Clone(request), "padding"...), secret, true); err != nil {
				t.Errorf("%v with padding: %v", c.request, err)
			}
			if err := VerifyRequest(request, NewSecret("wrong"), false); err == nil {
				t.Errorf("%v: wrong secret was taken", c.request)
			}
			flips(t, request, func(b []byte) error { return VerifyRequest(b, secret, true) })

			for _, code := range c.replies {
				asked, err := ParseRequest(request, secret, true)
				if err != nil {
					t.Fatal(err)
				}
				r := NewReply(asked, code)
				_ = rfc2865.ReplyMessage_AddString(r, "hello")
				reply, err := EncodeReply(r, asked)
				if err != nil {
					t.Fatal(err)
				}
				over := [16]byte(request[4:20])
				if c.request == CodeAccountingRequest { // as FreeRADIUS 3
					over = [16]byte{}
				}
				if reply[20] != 80 || !bytes.Equal(independent(reply, over, secret), reply[22:38]) {
					t.Errorf("%v: Message-Authenticator", code)
				}
				got, err := ParseReply(append(bytes.Clone(reply), 0, 0), request, secret)
				if err != nil {
					t.Fatalf("%v: %v", code, err)
				}
				if got.Authenticator != [16]byte(request[4:20]) || got.Identifier != 77 {
					t.Errorf("%v: parsed reply cannot open keys", code)
				}
				states, _ := rfc2865.ProxyState_GetStrings(got)
				if !slices.Equal(states, []string{"one", "two"}) {
					t.Errorf("%v: Proxy-State %q", code, states)
				}
				flips(t, reply, func(b []byte) error { return VerifyReply(b, request, secret) })
				r.Identifier, asked.Identifier = 78, 78
				elsewhere, err := EncodeReply(r, asked)
				if err != nil {
					t.Fatal(err)
				}
				if err := VerifyReply(elsewhere, request, secret); !errors.Is(err, FaultUnexpected) {
					t.Errorf("%v under another Identifier: %v", code, err)
				}
				other := bytes.Clone(request)
				other[19] ^= 1
				if VerifyReply(reply, other, secret) == nil {
					t.Errorf("%v: taken for another request", code)
				}
			}
		}
	}
}

// flips turns every octet of b in turn; none may pass.
func flips(t *testing.T, b []byte, verify func([]byte) error) {
	t.Helper()
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x41
		if verify(c) == nil {
			t.Errorf("octet %d changed and not noticed", i)
		}
	}
}

func TestReplyIsSignedWhereTheRequestWas(t *testing.T) {
	b := unhex(t, "04 05 00 1a 00000000000000000000000000000000 2806 00000001")
	sum := authenticator(b, new([16]byte), testSecret.Bytes())
	copy(b[4:], sum[:])
	if err := VerifyRequest(b, testSecret, true); !errors.Is(err, FaultUnsigned) {
		t.Errorf("required and absent: %v", err)
	}
	p, err := ParseRequest(b, testSecret, false)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := EncodeReply(NewReply(p, CodeAccountingResponse), p)
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := Inspect(reply); s.Signed {
		t.Error("an unsigned Accounting-Request got a signed answer")
	}
	// ... but nothing keeps Access-Request's answers from being signed.
	p, err = ParseRequest(unhex(t, rfc2865Request), testSecret, false)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err = EncodeReply(NewReply(p, CodeAccessReject), p); err != nil {
		t.Fatal(err)
	}
	if err := VerifyReply(reply, unhex(t, rfc2865Request), testSecret); err != nil {
		t.Error(err)
	}
}

// What a signature is made over is a choice in accounting only.
func TestReplySignedTheOtherWay(t *testing.T) {
	for _, c := range []struct {
		request, reply Code
		over           func(auth [16]byte) [16]byte
		want           error
	}{
		{CodeAccountingRequest, CodeAccountingResponse, func(auth [16]byte) [16]byte { return auth }, nil},
		{CodeAccountingRequest, CodeAccountingResponse, func([16]byte) [16]byte { return [16]byte{1} }, FaultSignature},
		{CodeAccessRequest, CodeAccessAccept, func([16]byte) [16]byte { return [16]byte{} }, FaultSignature},
		{CodeStatusServer, CodeAccountingResponse, func([16]byte) [16]byte { return [16]byte{} }, FaultSignature},
		{CodeCoARequest, CodeCoAACK, func([16]byte) [16]byte { return [16]byte{} }, FaultSignature},
		{CodeDisconnectRequest, CodeDisconnectACK, func([16]byte) [16]byte { return [16]byte{} }, FaultSignature},
	} {
		request, err := EncodeRequest(NewRequest(c.request, testSecret))
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParseRequest(request, testSecret, true)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := EncodeReply(NewReply(q, c.reply), q)
		if err != nil {
			t.Fatal(err)
		}
		copy(reply[22:], independent(reply, c.over(q.Authenticator), testSecret))
		sum := authenticator(reply, &q.Authenticator, testSecret.Bytes())
		copy(reply[4:], sum[:])
		if err := VerifyReply(reply, request, testSecret); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.reply, err, c.want)
		}
	}
}

func TestWhereASignatureIsDemanded(t *testing.T) {
	plain := NewRequest(CodeAccessRequest, testSecret)
	_ = rfc2865.UserName_AddString(plain, "alice")
	eap := NewRequest(CodeAccessRequest, testSecret)
	eap.Add(79, Attribute{2, 1, 0, 6, 1, 'a'})
	status := NewRequest(CodeStatusServer, testSecret)
	for _, c := range []struct {
		name    string
		p       *Packet
		require bool
		want    error
	}{
		{"PAP of an old NAS", plain, false, nil},
		{"PAP where signing is required", plain, true, FaultUnsigned},
		{"EAP (RFC 3579 §3.2)", eap, false, FaultUnsigned},
		{"Status-Server (RFC 5997 §3)", status, false, FaultUnsigned},
	} {
		b, err := encode(c.p, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyRequest(b, testSecret, c.require); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	big := NewRequest(CodeAccessRequest, testSecret)
	for range 17 {
		big.Add(rfc2865.ReplyMessage_Type, make(Attribute, 253))
	}
	wide := NewRequest(CodeAccessRequest, testSecret)
	wide.Add(rfc2865.ReplyMessage_Type, make(Attribute, 254))
	odd := NewRequest(CodeAccessRequest, testSecret)
	odd.Add(256, nil)
	for name, c := range map[string]struct {
		p    *Packet
		want error
	}{
		"4200 octets":         {big, ErrTooLong},
		"a value of 254":      {wide, ErrTooLong},
		"attribute type 256":  {odd, FaultAttribute},
		"no secret":           {NewRequest(CodeAccessRequest, Secret{}), FaultNoSecret},
		"a reply's code":      {NewRequest(CodeAccessAccept, testSecret), FaultCode},
		"a code nobody knows": {NewRequest(200, testSecret), FaultCode},
	} {
		if _, err := EncodeRequest(c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	q := NewRequest(CodeAccessRequest, testSecret)
	if _, err := EncodeReply(NewReply(q, CodeAccountingResponse), q); !errors.Is(err, FaultCode) {
		t.Errorf("Accounting-Response to Access-Request: %v", err)
	}
}

// A stale signature, as a proxy would hand on, is replaced and not repeated.
func TestEncodeReplacesASignature(t *testing.T) {
	q := NewRequest(CodeAccessRequest, testSecret)
	q.Add(typeMessageAuthenticator, bytes.Repeat([]byte{9}, 16))
	b, err := EncodeRequest(q)
	if err != nil || len(b) != 38 {
		t.Fatalf("%x, %v", b, err)
	}
	if err := VerifyRequest(b, testSecret, true); err != nil {
		t.Error(err)
	}
}

func TestVerifyAllocatesNothing(t *testing.T) {
	q := NewRequest(CodeAccessRequest, testSecret)
	_ = rfc2865.UserName_AddString(q, "alice")
	request, _ := EncodeRequest(q)
	reply, _ := EncodeReply(NewReply(q, CodeAccessAccept), q)
	if n := testing.AllocsPerRun(100, func() {
		if VerifyRequest(request, testSecret, true) != nil || VerifyReply(reply, request, testSecret) != nil {
			t.Fatal("not verified")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerifyRequest(b *testing.B) {
	q := NewRequest(CodeAccessRequest, testSecret)
	for range 12 {
		_ = rfc2865.UserName_AddString(q, "alice@corp.example")
	}
	request, _ := EncodeRequest(q)
	for b.Loop() {
		if VerifyRequest(request, testSecret, true) != nil {
			b.Fatal("not verified")
		}
	}
}
