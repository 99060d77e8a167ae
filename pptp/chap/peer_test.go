package chap

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"postern/internal/mschap"
)

func rfcPeerConfig() PeerConfig {
	return PeerConfig{Name: "User", Password: "clientPass", Rand: bytes.NewReader(rfcPeer)}
}

func sentResponse(ident int) string {
	return fmt.Sprintf(`send Response id=%d peer=%x nt=%x name="User"`, ident, rfcPeer, rfcNTResponse)
}

func answered(t *testing.T) *Peer {
	t.Helper()
	p := NewPeer(rfcPeerConfig())
	expect(t, p.Start(epoch), "nothing")
	expect(t, p.Input(epoch, rfcChallenge(5)), sentResponse(5))
	return p
}

var rfcSucceeded = fmt.Sprintf("succeeded hashhash=%x nt=%x message=", rfcHashHash, rfcNTResponse)

// RFC 2759 §9.2 as the client sees it.
func TestPeerRFC2759(t *testing.T) {
	for _, row := range []struct{ from, text, message string }{
		{"RFC 2759", rfcProof + " M=Welcome", `"Welcome"`},
		{"accel-ppp", rfcProof + " M=Authentication succeeded", `"Authentication succeeded"`},
		{"no message", rfcProof, `""`},
		{"a space behind", rfcProof + " ", `""`},
	} {
		p := answered(t)
		expect(t, p.Input(epoch, textPacket(CodeSuccess, 5, row.text)), rfcSucceeded+row.message)
		if !p.Deadline().IsZero() {
			t.Errorf("%s: a deadline when all is over", row.from)
		}
		expectErr(t, p.Input(epoch, textPacket(CodeSuccess, 5, row.text)), ErrState)
		expectErr(t, p.Input(epoch, rfcChallenge(6)), ErrState)
	}
}

func TestPeerByHash(t *testing.T) {
	cfg := rfcPeerConfig()
	hash := mschap.NTHash(cfg.Password)
	cfg.Password, cfg.NTHash = "", &hash
	p := NewPeer(cfg)
	p.Start(epoch)
	expect(t, p.Input(epoch, rfcChallenge(5)), sentResponse(5))
}

// The domain is sent but not hashed (RFC 2759 §8.2).
func TestPeerDomain(t *testing.T) {
	cfg := rfcPeerConfig()
	cfg.Name = `BIGCO\User`
	p := NewPeer(cfg)
	p.Start(epoch)
	expect(t, p.Input(epoch, rfcChallenge(5)), fmt.Sprintf(`send Response id=5 peer=%x nt=%x name="BIGCO\\User"`, rfcPeer, rfcNTResponse))
	expect(t, p.Input(epoch, textPacket(CodeSuccess, 5, rfcProof)), rfcSucceeded+`""`)
}

// A server that cannot prove to know the password is left, not believed.
func TestPeerImpostor(t *testing.T) {
	for _, row := range []struct{ from, text string }{
		{"nothing", ""},
		{"a message only", "M=Welcome"},
		{"another proof", "S=407A5589115FD0D6209F510FE9C04566932CDA57 M=Welcome"},
		{"a short proof", "S=407A5589115FD0D6209F510FE9C04566932CDA5"},
		{"Draytek: a stray octet before S=", "\x01" + rfcProof},
		{"a proof somewhere", "M=" + rfcProof},
		{"more digits", rfcProof + "00"},
		{"small letters; RFC 2759 §5 has capitals", "S=407a5589115fd0d6209f510fe9c04566932cda56"},
	} {
		p := answered(t)
		if s := describe(p.Input(epoch, textPacket(CodeSuccess, 5, row.text))); s != "failed: the server does not know the password" {
			t.Errorf("%s: %s", row.from, s)
		}
		expectErr(t, p.Input(epoch, textPacket(CodeSuccess, 5, rfcProof)), ErrState)
	}
}

func TestPeerRejected(t *testing.T) {
	p := answered(t)
	expect(t, p.Input(epoch, textPacket(CodeFailure, 5, rejection)), `failed: rejected; code 691 retry false text="`+rejection+`"`)
	expectErr(t, p.Retry(epoch, "User", "other"), ErrState)

	p = answered(t)
	expect(t, p.Input(epoch, textPacket(CodeFailure, 5, "no")), `failed: rejected; code 0 retry false text="no"`)
}

// pptpd grants a retry; the next Response counts the identifier up and answers
// the challenge of C=.
func TestPeerRetry(t *testing.T) {
	cfg := rfcPeerConfig()
	cfg.Rand = bytes.NewReader(append(bytes.Clone(rfcPeer), rfcPeer...))
	cfg.Password = "mistyped"
	p := NewPeer(cfg)
	p.Start(epoch)
	if s := p.Input(epoch, rfcChallenge(255)); s.Send == nil {
		t.Fatal(describe(s))
	}
	text := fmt.Sprintf("E=691 R=1 C=%x V=0 M=Access denied", rfcAuthenticator)
	expect(t, p.Input(epoch, textPacket(CodeFailure, 255, text)), `failed: rejected; code 691 retry true text="`+text+`"`)
	if !p.Deadline().IsZero() {
		t.Error("a deadline while the user types")
	}
	expect(t, p.Retry(epoch, "User", "clientPass"), sentResponse(0))
	expectErr(t, p.Input(epoch, textPacket(CodeFailure, 255, text)), ErrIdent) // repeated, late
	expect(t, p.Input(epoch, textPacket(CodeSuccess, 0, rfcProof)), rfcSucceeded+`""`)
}

// A repeated Challenge gets the same Response; a new one gets a new one.
func TestPeerRepeatedChallenge(t *testing.T) {
	p := answered(t)
	expect(t, p.Input(epoch, rfcChallenge(5)), sentResponse(5))
	p.cfg.Rand = bytes.NewReader(rfcPeer)
	expect(t, p.Input(epoch, rfcChallenge(6)), sentResponse(6))
	expectErr(t, p.Input(epoch, textPacket(CodeSuccess, 5, rfcProof)), ErrIdent)
	expect(t, p.Input(epoch, textPacket(CodeSuccess, 6, rfcProof)), rfcSucceeded+`""`)
}

func TestPeerTimers(t *testing.T) {
	p := NewPeer(rfcPeerConfig())
	expectErr(t, p.Input(epoch, rfcChallenge(5)), ErrState)
	p.Start(epoch)
	expectErr(t, p.Start(epoch), ErrState)
	expect(t, p.Timeout(epoch.Add(defaultChallengeTimeout-1)), "nothing")
	expect(t, p.Timeout(epoch.Add(defaultChallengeTimeout)), "failed: no challenge")

	p = answered(t)
	for range defaultMaxTries - 1 {
		expect(t, p.Timeout(p.Deadline().Add(-1)), "nothing")
		expect(t, p.Timeout(p.Deadline()), sentResponse(5))
	}
	last := p.Deadline()
	if got := last.Sub(epoch); got != 27*time.Second {
		t.Errorf("gives up after %v", got)
	}
	expect(t, p.Timeout(last), "failed: no answer to the response")
}

func TestPeerIgnores(t *testing.T) {
	p := NewPeer(rfcPeerConfig())
	p.Start(epoch)
	expectErr(t, p.Input(epoch, textPacket(CodeSuccess, 0, rfcProof)), ErrState)
	nonsense := func() {
		t.Helper()
		for _, g := range readGolden(t) {
			if g.err != nil {
				if s := p.Input(epoch, g.packet); s.Err == nil || s.Send != nil || s.Event != nil {
					t.Fatalf("%s: %s", g.where, describe(s))
				}
			}
		}
		expectErr(t, p.Input(epoch, rfcResponse(5, "User")), ErrCode)
	}
	nonsense()
	expect(t, p.Input(epoch, rfcChallenge(5)), sentResponse(5))
	nonsense()
	expectErr(t, p.Input(epoch, textPacket(CodeSuccess, 4, rfcProof)), ErrIdent)
	expectErr(t, p.Input(epoch, textPacket(CodeFailure, 6, rejection)), ErrIdent)
	expect(t, p.Input(epoch, textPacket(CodeSuccess, 5, rfcProof)), rfcSucceeded+`""`)
}

func TestPeerNoRandomness(t *testing.T) {
	cfg := rfcPeerConfig()
	cfg.Rand = bytes.NewReader(nil)
	p := NewPeer(cfg)
	p.Start(epoch)
	expect(t, p.Input(epoch, rfcChallenge(5)), "failed: no randomness")
}
