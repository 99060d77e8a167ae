package chap

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"postern/internal/mschap"
)

const (
	expiredText = "E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Password expired"
	refusedText = "E=709 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=New password refused"
)

// someChange is a Change-Password whose fields mean nothing.
func someChange(ident byte) []byte {
	c := change{EncryptedPassword: [mschap.PWBlockLen]byte{1, 2, 3, 4, 5, 6, 7, 8}, EncryptedHash: [16]byte{9}, PeerChallenge: [16]byte{10}, NTResponse: [24]byte{11}}
	return packet{CodeChangePassword, ident, c.Append(nil)}.Append(nil)
}

func changeEvent(ident int, name string) string {
	return fmt.Sprintf("change id=%d challenge=%s password=0102030405060708… hash=%x peer=%x nt=%x name=%q",
		ident, secondChallenge, [16]byte{9}, [16]byte{10}, [24]byte{11}, name)
}

var sentExpired = fmt.Sprintf(`send Failure id=5 text="%s"`, expiredText)

// expired is an Authenticator that has relayed E=648.
func expired(t *testing.T, cfg Config) *Authenticator {
	t.Helper()
	a := started(t, cfg)
	expect(t, a.Input(epoch, rfcResponse(5, `CORP\alice+123456`)), responseEvent(5, firstChallenge, `CORP\alice+123456`))
	expect(t, a.Failure(epoch, expiredText), sentExpired+"; expired, waits 1m40s")
	return a
}

func TestAuthenticatorChange(t *testing.T) {
	for _, client := range []struct {
		name  string
		ident byte
	}{
		{"RFC 2759", 6},
		{"Windows, whose identifiers run on across protocols", 11},
		{"one that does not count", 5},
	} {
		t.Run(client.name, func(t *testing.T) {
			a := expired(t, Config{})
			now := epoch.Add(90 * time.Second) // the user thinks of a password
			expect(t, a.Timeout(now), "nothing")
			expect(t, a.Input(now, rfcResponse(5, `CORP\alice+123456`)), sentExpired) // it was lost
			expect(t, a.Input(now, someChange(client.ident)), changeEvent(int(client.ident), `CORP\alice+123456`))
			if !a.Deadline().IsZero() {
				t.Error("a deadline while the service judges")
			}
			expect(t, a.Input(now, someChange(client.ident)), "nothing")
			expectErr(t, a.Input(now, rfcResponse(5, `CORP\alice+123456`)), ErrIdent) // late
			expectErr(t, a.Input(now, someChange(client.ident+1)), ErrIdent)
			sent := fmt.Sprintf(`send Success id=%d text="%s"`, client.ident, rfcProof)
			expect(t, a.Success(now, rfcProof), sent)
			expect(t, a.Input(now, someChange(client.ident)), sent)
			expectErr(t, a.Input(now, rfcResponse(5, `CORP\alice+123456`)), ErrIdent)
			expectErr(t, a.Input(now, someChange(client.ident+1)), ErrIdent)
		})
	}
}

// A refused change ends the exchange, whatever the text says.
func TestAuthenticatorChangeRefused(t *testing.T) {
	for _, text := range []string{refusedText, expiredText, retryText, "no"} {
		a := expired(t, Config{})
		a.Input(epoch, someChange(6))
		s := a.Failure(epoch, text)
		if f, ok := s.Event.(Failed); !ok || f.Reason != Rejected || f.Text != text || s.Send == nil {
			t.Errorf("%q: %s", text, describe(s))
		}
		again := a.Input(epoch, someChange(6))
		if !bytes.Equal(again.Send, s.Send) || again.Event != nil {
			t.Errorf("%q: repeated: %s", text, describe(again))
		}
		expectErr(t, a.Input(epoch, someChange(7)), ErrIdent)
		if !a.Deadline().IsZero() {
			t.Errorf("%q: a deadline", text)
		}
	}
}

// Nobody changes a password before the service has told him that he may.
func TestAuthenticatorChangeOnlyWhenExpired(t *testing.T) {
	a := NewAuthenticator(Config{Rand: rfcRand()})
	expectErr(t, a.Input(epoch, someChange(5)), ErrState)
	a = started(t, Config{})
	expectErr(t, a.Input(epoch, someChange(5)), ErrState)
	a.Input(epoch, rfcResponse(5, "User"))
	expectErr(t, a.Input(epoch, someChange(5)), ErrIdent)
	expectErr(t, a.Input(epoch, someChange(6)), ErrIdent)
	a.Failure(epoch, retryText)
	expectErr(t, a.Input(epoch, someChange(6)), ErrState)
	a.Input(epoch, rfcResponse(6, "User"))
	a.Success(epoch, rfcProof)
	expectErr(t, a.Input(epoch, someChange(6)), ErrIdent)

	for about, text := range map[string]string{
		"another code":   "E=647 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Account disabled",
		"no challenge":   "E=648 R=0 V=3",
		"another server": "E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=0 M=Password expired",
	} {
		a := started(t, Config{})
		a.Input(epoch, rfcResponse(5, "User"))
		if f, ok := a.Failure(epoch, text).Event.(Failed); !ok || f.Reason != Rejected {
			t.Errorf("%s: goes on", about)
		}
		expectErr(t, a.Input(epoch, someChange(6)), ErrIdent)
	}
}

// R=1 beside E=648 allows no second Response: it would be another login.
func TestAuthenticatorExpiredWaits(t *testing.T) {
	a := started(t, Config{ChangeTimeout: 20 * time.Second})
	a.Input(epoch, rfcResponse(5, "User"))
	expect(t, a.Failure(epoch, strings.Replace(expiredText, "R=0", "R=1", 1)),
		strings.Replace(sentExpired, "R=0", "R=1", 1)+"; expired, waits 20s")
	expectErr(t, a.Input(epoch, rfcResponse(6, "User")), ErrState)
	expectErr(t, a.Input(epoch, rfcResponse(5, "Usre")), ErrState)
	expect(t, a.Timeout(epoch.Add(19*time.Second)), "nothing")
	expect(t, a.Timeout(epoch.Add(20*time.Second)), "failed: no new password")
	expectErr(t, a.Input(epoch, someChange(6)), ErrIdent)
	expect(t, a.Timeout(epoch.Add(time.Hour)), "nothing")
}

// The Peer's Change-Password is one the RFC's routines can read, and the proof it
// wants back is one of the new password.
func TestPeerChange(t *testing.T) {
	p := answered(t)
	p.cfg.Rand = rand.Reader
	s := p.Input(epoch, textPacket(CodeFailure, 5, expiredText))
	expect(t, s, `failed: rejected; code 648 retry false text="`+expiredText+`"`)
	if !p.Deadline().IsZero() {
		t.Error("a deadline while the user thinks")
	}
	s = p.Change(epoch, "neu-€")
	in, err := parsePacket(s.Send)
	if err != nil || in.Code != CodeChangePassword || in.Ident != 6 || len(s.Send) != 586 {
		t.Fatal(describe(s), err)
	}
	c, err := parseChange(in.Data)
	if err != nil {
		t.Fatal(err)
	}
	oldHash, newHash := mschap.NTHash("clientPass"), mschap.NTHash("neu-€")
	if got, err := mschap.DecryptPassword(&c.EncryptedPassword, &oldHash); got != "neu-€" || err != nil {
		t.Errorf("new password %q, %v", got, err)
	}
	if c.EncryptedHash != mschap.EncryptHash(&oldHash, &newHash) {
		t.Error("old hash")
	}
	challenge := [16]byte(unhex(secondChallenge))
	digest := mschap.ChallengeHash(&c.PeerChallenge, &challenge, "User")
	if c.NTResponse != mschap.NTResponse(digest, &newHash) || c.PeerChallenge == [16]byte(rfcPeer) {
		t.Error("response")
	}
	if again := p.Timeout(p.Deadline()); !bytes.Equal(again.Send, s.Send) {
		t.Errorf("repeated: %s", describe(again))
	}
	expectErr(t, p.Input(epoch, textPacket(CodeFailure, 5, expiredText)), ErrIdent) // late
	expectErr(t, p.Input(epoch, rfcChallenge(5)), ErrState)                         // late
	expectErr(t, p.Change(epoch, "another"), ErrState)
	hashHash := mschap.HashHash(&newHash)
	proof := mschap.AuthenticatorResponse(&hashHash, &c.NTResponse, digest)
	expect(t, p.Input(epoch, textPacket(CodeSuccess, 6, proof+" M=Welcome")), fmt.Sprintf("succeeded hashhash=%x nt=%x message=%q", hashHash, c.NTResponse, "Welcome"))
}

// A proof of the old password is an impostor's.
func TestPeerChangeImpostor(t *testing.T) {
	p := answered(t)
	p.cfg.Rand = rand.Reader
	p.Input(epoch, textPacket(CodeFailure, 5, expiredText))
	p.Change(epoch, "new")
	expect(t, p.Input(epoch, textPacket(CodeSuccess, 6, rfcProof)), "failed: the server does not know the password")
}

func TestPeerChangeRefused(t *testing.T) {
	p := answered(t)
	p.cfg.Rand = rand.Reader
	p.Input(epoch, textPacket(CodeFailure, 5, expiredText))
	if s := p.Change(epoch, strings.Repeat("x", mschap.MaxPassword+1)); s.Err == nil || s.Send != nil {
		t.Errorf("a password too long: %s", describe(s))
	}
	if s := p.Change(epoch, "weak"); s.Send == nil {
		t.Fatal(describe(s))
	}
	text := strings.Replace(refusedText, "R=0", "R=1", 1)
	expect(t, p.Input(epoch, textPacket(CodeFailure, 6, text)), `failed: rejected; code 709 retry true text="`+text+`"`)
	expectErr(t, p.Change(epoch, "stronger"), ErrState)
	expectErr(t, p.Retry(epoch, "User", "weak"), ErrState)

	for _, text := range []string{rejection, retryText, "E=648 R=0 V=3", "E=648", strings.Replace(expiredText, "V=3", "V=2", 1)} {
		p := answered(t)
		p.Input(epoch, textPacket(CodeFailure, 5, text))
		expectErr(t, p.Change(epoch, "new"), ErrState)
	}
	p = answered(t)
	expectErr(t, p.Change(epoch, "new"), ErrState)
	p.Input(epoch, textPacket(CodeFailure, 5, expiredText))
	expectErr(t, p.Retry(epoch, "User", "x"), ErrState)
	p.cfg.Rand = bytes.NewReader(make([]byte, 2*mschap.MaxPassword-2)) // not enough for the challenge
	expect(t, p.Change(epoch, "x"), "failed: no randomness")
}

// changeService has one password, expired, and judges as RFC 2759 says.
type changeService struct {
	hash  [16]byte
	asked int
}

func (c *changeService) response(r Response) (bool, string) {
	digest := mschap.ChallengeHash(&r.PeerChallenge, &r.Challenge, r.Name)
	if mschap.NTResponse(digest, &c.hash) != r.NTResponse {
		return false, rejection
	}
	return false, expiredText
}

func (c *changeService) change(r ChangePassword) (bool, string) {
	c.asked++
	password, err := mschap.DecryptPassword(&r.EncryptedPassword, &c.hash)
	hash := mschap.NTHash(password)
	if err != nil || mschap.EncryptHash(&c.hash, &hash) != r.EncryptedHash || len(password) < 4 {
		return false, refusedText
	}
	c.hash = hash
	digest := mschap.ChallengeHash(&r.PeerChallenge, &r.Challenge, r.Name)
	if mschap.NTResponse(digest, &hash) != r.NTResponse {
		return false, rejection
	}
	hashHash := mschap.HashHash(&hash)
	return true, mschap.AuthenticatorResponse(&hashHash, &r.NTResponse, digest)
}

// 500 changes over a link that loses a fifth and repeats a tenth each way: each ends,
// both sides agree, and a change is judged once.
func TestExchangeChange(t *testing.T) {
	ended := map[string]int{}
	for seed := range uint64(500) {
		service := &changeService{hash: mschap.NTHash("secret")}
		fresh := "new secret"
		if seed%5 == 4 {
			fresh = "new"
		}
		x := &exchange{
			rng: mathrand.New(mathrand.NewPCG(seed, 18)), loss: 0.2, dup: 0.1, now: epoch,
			auth:  NewAuthenticator(Config{}),
			peer:  NewPeer(PeerConfig{Name: "alice", Password: "secret"}),
			judge: service.response, judgeChange: service.change,
		}
		x.onPeer = func(Event) Step { return x.peer.Change(x.now, fresh) }
		x.run(t)
		if service.asked > 1 {
			t.Fatalf("seed %d: judged %d times", seed, service.asked)
		}
		switch e := x.peerEvents[len(x.peerEvents)-1].(type) {
		case Succeeded:
			if service.hash != mschap.NTHash(fresh) {
				t.Fatalf("seed %d: succeeded, but nothing was changed", seed)
			}
			ended["succeeded"]++
		case Failed:
			if e.Reason == Impostor {
				t.Fatalf("seed %d: %v", seed, x.peerEvents)
			}
			ended[fmt.Sprint(e.Reason, e.Error.Code)]++
		}
	}
	if ended["succeeded"] < 390 || ended["rejected 709"] < 95 {
		t.Errorf("500 changes ended %v", ended)
	}
}

func TestParseChangeLength(t *testing.T) {
	if changeLen != 582 {
		t.Fatalf("Change-Password has %d octets, RFC 2759 §7 has 582 behind the header", changeLen)
	}
	for n := range changeLen + 2 {
		if _, err := parseChange(make([]byte, n)); (err == nil) != (n == changeLen) || err != nil && !errors.Is(err, ErrValue) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}
