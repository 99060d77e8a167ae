package chap

import (
	"crypto/rand"
	"crypto/subtle"
	"io"
	"strings"
	"time"

	"postern/internal/mschap"
)

// PeerConfig is a Peer's. Zero durations and numbers take the defaults.
type PeerConfig struct {
	Name             string    // as typed, with the domain
	Password         string    //
	NTHash           *[16]byte // instead of Password, when not nil
	Rand             io.Reader // nil: crypto/rand
	ChallengeTimeout time.Duration
	Retransmit       time.Duration // of the Response, growing to four times that
	MaxTries         int           // Responses sent before giving up
}

// Peer is the client's side of one exchange. It repeats its Response until
// there is an answer, which RFC 1994 leaves to the server's repeating the
// Challenge; but a lost Success is repeated for a repeated Response only.
//
// Malformed and misplaced packets are ignored in every state. A Success whose
// proof is wrong ends it, as RFC 2759 §5 asks; a Failure ends it but for
// Retry and Change. It is not safe for concurrent use.
type Peer struct {
	cfg       PeerConfig
	state     peerState
	name      string
	hash      [16]byte
	ident     byte
	challenge [16]byte // the one answered, or to be answered by Retry or Change
	mayRetry  bool     // the Failure had R=1
	mayChange bool     // the Failure had E=648
	changing  bool     // a Change-Password was sent
	proof     string   // S= as the server must send it
	response  [24]byte
	sent      []byte
	tries     int
	deadline  time.Time
}

type peerState uint8

const (
	peerIdle peerState = iota
	peerWaiting
	peerAnswered
	peerRefused // but Retry or Change may go on
	peerOver
)

// NewPeer returns one that waits for Start.
func NewPeer(cfg PeerConfig) *Peer {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.ChallengeTimeout <= 0 {
		cfg.ChallengeTimeout = defaultChallengeTimeout
	}
	if cfg.Retransmit <= 0 {
		cfg.Retransmit = defaultRetransmit
	}
	if cfg.MaxTries <= 0 {
		cfg.MaxTries = defaultMaxTries
	}
	p := &Peer{cfg: cfg, name: cfg.Name}
	if cfg.NTHash != nil {
		p.hash = *cfg.NTHash
	} else {
		p.hash = mschap.NTHash(cfg.Password)
	}
	return p
}

// Start begins to wait for the Challenge. One that came before Start is the
// caller's to keep or to let the server repeat.
func (p *Peer) Start(now time.Time) Step {
	if p.state != peerIdle {
		return Step{Err: ErrState}
	}
	p.state, p.deadline = peerWaiting, now.Add(p.cfg.ChallengeTimeout)
	return Step{}
}

// Deadline is when Timeout wants to be called; zero: not at all.
func (p *Peer) Deadline() time.Time { return p.deadline }

// Timeout repeats the Response or gives up.
func (p *Peer) Timeout(now time.Time) Step {
	if p.deadline.IsZero() || now.Before(p.deadline) {
		return Step{}
	}
	if p.state == peerWaiting {
		return p.over(Failed{Reason: NoChallenge})
	}
	if p.tries >= p.cfg.MaxTries {
		return p.over(Failed{Reason: NoVerdict})
	}
	return p.send(now)
}

func (p *Peer) over(e Event) Step {
	p.state, p.deadline = peerOver, time.Time{}
	return Step{Event: e}
}

// Input takes a CHAP packet from its Code on and does not keep it.
func (p *Peer) Input(now time.Time, data []byte) Step {
	in, err := parsePacket(data)
	if err != nil {
		return Step{Err: err}
	}
	switch in.Code {
	case CodeChallenge:
		return p.inChallenge(now, in)
	case CodeSuccess, CodeFailure:
		if p.state != peerAnswered {
			return Step{Err: ErrState}
		}
		if in.Ident != p.ident {
			return Step{Err: ErrIdent}
		}
		if in.Code == CodeSuccess {
			return p.inSuccess(string(in.Data))
		}
		return p.inFailure(string(in.Data))
	case CodeUnknown, CodeResponse, CodeChangePassword:
	}
	return Step{Err: ErrCode}
}

func (p *Peer) inChallenge(now time.Time, in packet) Step {
	c, err := parseChallenge(in.Data)
	if err != nil {
		return Step{Err: err}
	}
	switch {
	case p.state == peerAnswered && in.Ident == p.ident && c.Value == p.challenge:
		return Step{Send: p.sent} // repeated; so is the answer, or the proof would change
	case p.state != peerWaiting && p.state != peerAnswered || p.changing:
		return Step{Err: ErrState}
	}
	return p.answer(now, in.Ident, c.Value)
}

func (p *Peer) answer(now time.Time, ident byte, challenge [16]byte) Step {
	r := response{Name: p.name}
	if !p.respond(challenge, &r.PeerChallenge, &r.NTResponse) {
		return p.over(Failed{Reason: NoRandomness})
	}
	return p.begin(now, packet{CodeResponse, ident, r.Append(nil)})
}

// respond draws a peer challenge and answers both by p.hash; false: no randomness.
func (p *Peer) respond(challenge [16]byte, peer *[16]byte, nt *[24]byte) bool {
	if _, err := io.ReadFull(p.cfg.Rand, peer[:]); err != nil {
		return false
	}
	digest := mschap.ChallengeHash(peer, &challenge, mschap.TrimDomain(p.name))
	*nt = mschap.NTResponse(digest, &p.hash)
	hashHash := mschap.HashHash(&p.hash)
	p.proof = mschap.AuthenticatorResponse(&hashHash, nt, digest)
	p.challenge, p.response = challenge, *nt
	return true
}

// begin sends an answer for the first time.
func (p *Peer) begin(now time.Time, answer packet) Step {
	p.ident, p.sent = answer.Ident, answer.Append(nil)
	p.state, p.tries = peerAnswered, 0
	return p.send(now)
}

func (p *Peer) send(now time.Time) Step {
	p.tries++
	p.deadline = now.Add(backoff(p.cfg.Retransmit, p.tries))
	return Step{Send: p.sent}
}

// inSuccess checks `S=<40 digits>`, alone or with ` M=<text>` behind (RFC 2759
// §5). Draytek routers put a stray octet before S=; pppd refuses that, and we
// do: a proof is not looked for in a text.
func (p *Peer) inSuccess(text string) Step {
	n := len(p.proof)
	if len(text) < n || subtle.ConstantTimeCompare([]byte(text[:n]), []byte(p.proof)) == 0 {
		return p.over(Failed{Reason: Impostor})
	}
	message := text[n:]
	if message != "" && message[0] != ' ' {
		return p.over(Failed{Reason: Impostor})
	}
	message = strings.TrimPrefix(strings.TrimLeft(message, " "), "M=")
	return p.over(Succeeded{HashHash: mschap.HashHash(&p.hash), NTResponse: p.response, Message: message})
}

func (p *Peer) inFailure(text string) Step {
	verdict, err := mschap.ParseError(text)
	step := p.over(Failed{Rejected, verdict, text})
	p.mayRetry = err == nil && verdict.Retry && !p.changing
	p.mayChange = err == nil && mayChange(&verdict) && !p.changing
	if p.mayRetry || p.mayChange {
		p.state, p.challenge = peerRefused, verdict.Challenge
	}
	return step
}

// Retry answers a Failure with R=1 by another name or password, under the next
// identifier and to the challenge C= (RFC 2759 §9.1.4). The user has as long
// as the server grants.
func (p *Peer) Retry(now time.Time, name, password string) Step {
	if p.state != peerRefused || !p.mayRetry {
		return Step{Err: ErrState}
	}
	p.name, p.hash = name, mschap.NTHash(password)
	return p.answer(now, p.ident+1, p.challenge)
}

// Change answers a Failure with E=648 by a new password, under the next identifier
// and to the challenge C= (RFC 2759 §7). The new password is then the one that a
// Success must prove. A password that cannot be sent changes nothing.
func (p *Peer) Change(now time.Time, password string) Step {
	if p.state != peerRefused || !p.mayChange {
		return Step{Err: ErrState}
	}
	var c change
	var err error
	if c.EncryptedPassword, err = mschap.EncryptPassword(password, &p.hash, p.cfg.Rand); err != nil {
		return Step{Err: err}
	}
	hash := mschap.NTHash(password)
	c.EncryptedHash = mschap.EncryptHash(&p.hash, &hash)
	p.hash, p.changing = hash, true
	if !p.respond(p.challenge, &c.PeerChallenge, &c.NTResponse) {
		return p.over(Failed{Reason: NoRandomness})
	}
	return p.begin(now, packet{CodeChangePassword, p.ident + 1, c.Append(nil)})
}
