package chap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/mschap"
)

var epoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The exchange of RFC 2759 §9.2 under identifier 5.
var (
	rfcAuthenticator = unhex("5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28")
	rfcPeer          = unhex("21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E")
	rfcNTResponse    = unhex("82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF")
	rfcHashHash      = unhex("41 C0 0C 58 4B D2 D9 1C 40 17 A2 A1 2F A5 9F 3F")
)

const (
	rfcProof  = "S=407A5589115FD0D6209F510FE9C04566932CDA56"
	rejection = "E=691 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Access denied"
	retryText = "E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=Try again"
)

// rfcRand is the randomness that makes an Authenticator challenge so.
func rfcRand() *bytes.Reader { return bytes.NewReader(append([]byte{5}, rfcAuthenticator...)) }

func rfcResponse(ident byte, name string) []byte {
	r := response{[16]byte(rfcPeer), [24]byte(rfcNTResponse), name}
	return packet{CodeResponse, ident, r.Append(nil)}.Append(nil)
}

func rfcChallenge(ident byte) []byte {
	return packet{CodeChallenge, ident, challenge{[16]byte(rfcAuthenticator), "server"}.Append(nil)}.Append(nil)
}

// describe makes a Step comparable and its failures readable.
func describe(s Step) string {
	var parts []string
	if s.Send != nil {
		text, _, err := read(s.Send)
		if err != nil {
			text = err.Error()
		}
		parts = append(parts, "send "+text)
	}
	switch e := s.Event.(type) {
	case nil:
	case Response:
		parts = append(parts, fmt.Sprintf("response id=%d challenge=%x peer=%x nt=%x flags=%d name=%q", e.Ident, e.Challenge, e.PeerChallenge, e.NTResponse, e.Flags, e.Name))
	case Expired:
		parts = append(parts, fmt.Sprintf("expired, waits %v", e.Until.Sub(epoch)))
	case ChangePassword:
		parts = append(parts, fmt.Sprintf("change id=%d challenge=%x password=%x… hash=%x peer=%x nt=%x name=%q", e.Ident, e.Challenge, e.EncryptedPassword[:8], e.EncryptedHash, e.PeerChallenge, e.NTResponse, e.Name))
	case Succeeded:
		parts = append(parts, fmt.Sprintf("succeeded hashhash=%x nt=%x message=%q", e.HashHash, e.NTResponse, e.Message))
	case Failed:
		parts = append(parts, fmt.Sprintf("failed: %v", e.Reason))
		if e.Reason == Rejected {
			parts = append(parts, fmt.Sprintf("code %d retry %v text=%q", e.Error.Code, e.Error.Retry, e.Text))
		}
	}
	if s.Err != nil {
		parts = append(parts, s.Err.Error())
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

func expect(t *testing.T, got Step, want string) {
	t.Helper()
	if describe(got) != want {
		t.Fatalf("got  %s\nwant %s", describe(got), want)
	}
}

func expectErr(t *testing.T, got Step, want error) {
	t.Helper()
	if !errors.Is(got.Err, want) || got.Send != nil || got.Event != nil {
		t.Fatalf("got %s, want %v", describe(got), want)
	}
}

const sentChallenge = `send Challenge id=5 value=5b5d7c7d7b3f2f3e3c2c602132262628 name="postern"`

func responseEvent(ident int, challenge, name string) string {
	return fmt.Sprintf("response id=%d challenge=%s peer=%x nt=%x flags=0 name=%q", ident, challenge, rfcPeer, rfcNTResponse, name)
}

const (
	firstChallenge  = "5b5d7c7d7b3f2f3e3c2c602132262628"
	secondChallenge = "00112233445566778899aabbccddeeff"
)

func started(t *testing.T, cfg Config) *Authenticator {
	t.Helper()
	cfg.Rand = rfcRand()
	a := NewAuthenticator(cfg)
	expect(t, a.Start(epoch), sentChallenge)
	return a
}

// Windows 10: the name comes with the domain, and goes up so.
func TestAuthenticatorWindows(t *testing.T) {
	a := started(t, Config{})
	expect(t, a.Input(epoch, rfcResponse(5, `CORP\alice+123456`)), responseEvent(5, firstChallenge, `CORP\alice+123456`))
	if !a.Deadline().IsZero() {
		t.Error("a deadline while the service judges")
	}
	expect(t, a.Success(epoch, rfcProof+" M=Welcome"), `send Success id=5 text="`+rfcProof+` M=Welcome"`)
	if !a.Deadline().IsZero() {
		t.Error("a deadline when all is over")
	}
}

// A Response repeated while the service judges is not a second login, and one
// repeated afterwards gets the same answer (RFC 1994 §4.2), for ever.
func TestAuthenticatorRepeatedResponse(t *testing.T) {
	for _, verdict := range []struct {
		give func(*Authenticator) Step
		want string
	}{
		{func(a *Authenticator) Step { return a.Success(epoch, rfcProof) }, `send Success id=5 text="` + rfcProof + `"`},
		{func(a *Authenticator) Step { s := a.Failure(epoch, rejection); s.Event = nil; return s }, `send Failure id=5 text="` + rejection + `"`},
	} {
		a := started(t, Config{})
		a.Input(epoch, rfcResponse(5, "User"))
		expect(t, a.Input(epoch, rfcResponse(5, "User")), "nothing")
		expectErr(t, a.Input(epoch, rfcResponse(6, "User")), ErrIdent)
		expect(t, verdict.give(a), verdict.want)
		for range 20 {
			expect(t, a.Input(epoch.Add(time.Hour), rfcResponse(5, "User")), verdict.want)
		}
		expectErr(t, a.Input(epoch, rfcResponse(4, "User")), ErrIdent)
		expectErr(t, a.Success(epoch, rfcProof), ErrState)
		expectErr(t, a.Failure(epoch, rejection), ErrState)
		expectErr(t, a.Start(epoch), ErrState)
	}
}

// The text of the service reaches the peer octet for octet, readable or not.
func TestAuthenticatorRelaysText(t *testing.T) {
	for _, row := range []struct{ text, event string }{
		{rejection, `failed: rejected; code 691 retry false text="` + rejection + `"`},
		{"E=648 R=0 V=3", `failed: rejected; code 648 retry false text="E=648 R=0 V=3"`},
		{"E=646 R=0 C=00112233445566778899aabbccddeeff  M= twice  ", `failed: rejected; code 646 retry false text="E=646 R=0 C=00112233445566778899aabbccddeeff  M= twice  "`},
		{"go away", `failed: rejected; code 0 retry false text="go away"`},
		{"", `failed: rejected; code 0 retry false text=""`},
		{"E=691 R=1 V=3", `failed: rejected; code 0 retry false text="E=691 R=1 V=3"`}, // a retry without a challenge
	} {
		a := started(t, Config{})
		a.Input(epoch, rfcResponse(5, "User"))
		expect(t, a.Failure(epoch, row.text), fmt.Sprintf("send Failure id=5 text=%q; %s", row.text, row.event))
	}
}

// RFC 2759 §9.1.4: Failure with R=1, then a Response under the next identifier
// to the challenge of C=.
func TestAuthenticatorRetry(t *testing.T) {
	for _, client := range []struct {
		name  string
		ident byte
	}{
		{"RFC 2759", 6},
		{"Windows, whose identifiers run on across protocols", 11},
		{"one that does not count", 5},
	} {
		t.Run(client.name, func(t *testing.T) {
			a := started(t, Config{})
			now := epoch
			a.Input(now, rfcResponse(5, "Usre"))
			expect(t, a.Failure(now, retryText), `send Failure id=5 text="`+retryText+`"`)
			if got := a.Deadline(); got != now.Add(defaultRetryTimeout) {
				t.Errorf("deadline %v", got)
			}
			expect(t, a.Input(now, rfcResponse(5, "Usre")), `send Failure id=5 text="`+retryText+`"`) // it was lost
			now = now.Add(50 * time.Second)                                                           // the user types
			expect(t, a.Timeout(now), "nothing")
			expect(t, a.Input(now, rfcResponse(client.ident, "User")), responseEvent(int(client.ident), secondChallenge, "User"))
			expect(t, a.Input(now, rfcResponse(client.ident, "User")), "nothing")
			expect(t, a.Success(now, rfcProof), fmt.Sprintf(`send Success id=%d text="%s"`, client.ident, rfcProof))
			expect(t, a.Input(now, rfcResponse(client.ident, "User")), fmt.Sprintf(`send Success id=%d text="%s"`, client.ident, rfcProof))
		})
	}
}

func TestAuthenticatorRetryEnds(t *testing.T) {
	a := started(t, Config{MaxRetries: 2})
	for n := range 3 {
		a.Input(epoch, rfcResponse(byte(5+n), fmt.Sprint("try", n)))
		want := fmt.Sprintf(`send Failure id=%d text="%s"`, 5+n, retryText)
		if n == 2 {
			want += `; failed: rejected; code 691 retry true text="` + retryText + `"`
		}
		expect(t, a.Failure(epoch, retryText), want)
	}
	expectErr(t, a.Input(epoch, rfcResponse(8, "once more")), ErrIdent)

	a = started(t, Config{RetryTimeout: 20 * time.Second})
	a.Input(epoch, rfcResponse(5, "User"))
	a.Failure(epoch, retryText)
	expect(t, a.Timeout(epoch.Add(19*time.Second)), "nothing")
	expect(t, a.Timeout(epoch.Add(20*time.Second)), "failed: no second try")
	expect(t, a.Timeout(epoch.Add(99*time.Second)), "nothing")
	expectErr(t, a.Input(epoch, rfcResponse(6, "User")), ErrIdent)
}

// The Challenge is repeated after 1, 2, 4, 4 … seconds, always the same, and
// then given up.
func TestAuthenticatorRetransmits(t *testing.T) {
	a := started(t, Config{MaxTries: 5})
	now := epoch
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second} {
		at := now.Add(wait)
		if a.Deadline() != at {
			t.Fatalf("deadline %v, want %v", a.Deadline().Sub(epoch), at.Sub(epoch))
		}
		expect(t, a.Timeout(at.Add(-1)), "nothing")
		expect(t, a.Timeout(at), sentChallenge)
		now = at
	}
	expect(t, a.Timeout(now.Add(4*time.Second)), "failed: no response to the challenge")
	if !a.Deadline().IsZero() {
		t.Error("a deadline after giving up")
	}
	expect(t, a.Timeout(now.Add(time.Hour)), "nothing")
	expectErr(t, a.Input(now, rfcResponse(5, "User")), ErrIdent)
}

// A late Response to the first Challenge answers the repeated one, too.
func TestAuthenticatorDistantPeer(t *testing.T) {
	a := started(t, Config{})
	for range 3 {
		a.Timeout(a.Deadline())
	}
	expect(t, a.Input(epoch.Add(8*time.Second), rfcResponse(5, "User")), responseEvent(5, firstChallenge, "User"))
}

// What is not a Response to our Challenge changes nothing, in any state.
func TestAuthenticatorIgnores(t *testing.T) {
	a := NewAuthenticator(Config{Rand: rfcRand()})
	expectErr(t, a.Input(epoch, rfcResponse(5, "User")), ErrState)
	expectErr(t, a.Success(epoch, rfcProof), ErrState)
	expectErr(t, a.Failure(epoch, rejection), ErrState)
	expect(t, a.Start(epoch), sentChallenge)
	nonsense := func() {
		t.Helper()
		for _, g := range readGolden(t) {
			if g.err != nil {
				if s := a.Input(epoch, g.packet); s.Err == nil || s.Send != nil || s.Event != nil {
					t.Fatalf("%s: %s", g.where, describe(s))
				}
			}
		}
		expectErr(t, a.Input(epoch, rfcChallenge(5)), ErrCode)
		expectErr(t, a.Input(epoch, textPacket(CodeSuccess, 5, rfcProof)), ErrCode)
		expectErr(t, a.Input(epoch, rfcResponse(4, "User")), ErrIdent)
		expectErr(t, a.Input(epoch, rfcResponse(6, "User")), ErrIdent)
	}
	nonsense()
	expect(t, a.Input(epoch, rfcResponse(5, "User")), responseEvent(5, firstChallenge, "User"))
	nonsense()
	expect(t, a.Success(epoch, rfcProof), `send Success id=5 text="`+rfcProof+`"`)
	nonsense()
	expect(t, a.Input(epoch, rfcResponse(5, "User")), `send Success id=5 text="`+rfcProof+`"`)
}

func TestAuthenticatorNoRandomness(t *testing.T) {
	a := NewAuthenticator(Config{Rand: bytes.NewReader(rfcPeer)}) // one octet short
	expect(t, a.Start(epoch), "failed: no randomness")
	if !a.Deadline().IsZero() {
		t.Error("a deadline")
	}
}

func TestAuthenticatorName(t *testing.T) {
	a := NewAuthenticator(Config{Name: strings.Repeat("n", 300)})
	p, err := parsePacket(a.Start(epoch).Send)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := parseChallenge(p.Data); err != nil || c.Name != strings.Repeat("n", maxChallengeName) {
		t.Errorf("name of %d octets, %v", len(c.Name), err)
	}
}

// Two Authenticators do not challenge alike.
func TestAuthenticatorDraws(t *testing.T) {
	one, two := NewAuthenticator(Config{}).Start(epoch), NewAuthenticator(Config{}).Start(epoch)
	if bytes.Equal(one.Send[headerLen:], two.Send[headerLen:]) {
		t.Error("the same challenge twice")
	}
}

// The event is what RADIUS needs: a service that knows the hash agrees.
func TestResponseVerifies(t *testing.T) {
	a := started(t, Config{})
	e, ok := a.Input(epoch, rfcResponse(5, "User")).Event.(Response)
	if !ok {
		t.Fatal("no response")
	}
	hash := mschap.NTHash("clientPass")
	if mschap.NTResponse(mschap.ChallengeHash(&e.PeerChallenge, &e.Challenge, e.Name), &hash) != e.NTResponse {
		t.Error("the response does not verify")
	}
}
