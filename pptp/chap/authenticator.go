package chap

import (
	"bytes"
	"crypto/rand"
	"io"
	"time"

	"postern/internal/mschap"
)

// Authenticator is the server's side of one exchange:
//
//	           Start            Response           Success, Failure R=0
//	idle ───────────► challenged ───────► judging ─────────────────────► over
//	                   │ no more tries   ▲ ▲   │ │ Failure R=1            ▲
//	                   │        Response │ │   │ ▼                        │
//	                   │                 └─│───│─refused ── RetryTimeout ─┤
//	                   │   Change-Password │   ▼ Failure E=648            │
//	                   │                   └── expired ── ChangeTimeout ──┤
//	                   └──────────────────────────────────────────────────┘
//
// One password is changed in an exchange, and that after a Response only.
//
// Malformed and misplaced packets are ignored in every state; what ends it is
// a verdict or a time-out. It is not safe for concurrent use.
type Authenticator struct {
	cfg       Config
	state     authState
	ident     byte     // of the Challenge, then of the Response or Change-Password
	challenge [16]byte // the next Response or Change-Password answers it
	sent      []byte   // Challenge, Success or Failure, as it may have to be repeated
	answered  []byte   // the Response that Success or Failure answered, or a Change-Password's first octets
	name      string   // of the Response
	tries     int      // Challenges sent
	retries   int      // Failures with R=1 sent
	deadline  time.Time
}

type authState uint8

const (
	authIdle authState = iota
	authChallenged
	authJudging
	authRefused // with R=1
	authExpired // with E=648
	authOver
)

// NewAuthenticator returns one that waits for Start.
func NewAuthenticator(cfg Config) *Authenticator {
	if cfg.Name == "" {
		cfg.Name = defaultName
	}
	cfg.Name = cfg.Name[:min(len(cfg.Name), maxChallengeName)]
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Retransmit <= 0 {
		cfg.Retransmit = defaultRetransmit
	}
	if cfg.MaxTries <= 0 {
		cfg.MaxTries = defaultMaxTries
	}
	if cfg.RetryTimeout <= 0 {
		cfg.RetryTimeout = defaultRetryTimeout
	}
	if cfg.MaxRetries <= 0 {
		cfg.MaxRetries = defaultMaxRetries
	}
	if cfg.ChangeTimeout <= 0 {
		cfg.ChangeTimeout = DefaultChangeTimeout
	}
	return &Authenticator{cfg: cfg}
}

// Start sends the Challenge.
func (a *Authenticator) Start(now time.Time) Step {
	if a.state != authIdle {
		return Step{Err: ErrState}
	}
	var draw [17]byte
	if _, err := io.ReadFull(a.cfg.Rand, draw[:]); err != nil {
		return a.over(NoRandomness)
	}
	a.ident, a.challenge = draw[0], [16]byte(draw[1:])
	data := challenge{a.challenge, a.cfg.Name}.Append(nil)
	a.sent = packet{CodeChallenge, a.ident, data}.Append(nil)
	a.state = authChallenged
	return a.sendChallenge(now)
}

func (a *Authenticator) sendChallenge(now time.Time) Step {
	a.tries++
	a.deadline = now.Add(backoff(a.cfg.Retransmit, a.tries))
	return Step{Send: a.sent}
}

// Deadline is when Timeout wants to be called; zero: not at all. While the
// service judges there is none: whoever asks it has a time-out already.
func (a *Authenticator) Deadline() time.Time { return a.deadline }

// Timeout repeats the Challenge or gives up. The repetition is the same
// packet, against RFC 1994 §4.1 and with pppd: with a new one every time, a
// peer further away than the interval could never be right.
func (a *Authenticator) Timeout(now time.Time) Step {
	if a.deadline.IsZero() || now.Before(a.deadline) {
		return Step{}
	}
	switch a.state {
	case authRefused:
		return a.over(NoRetry)
	case authExpired:
		return a.over(NoChange)
	case authIdle, authChallenged, authJudging, authOver:
	}
	if a.tries >= a.cfg.MaxTries {
		return a.over(NoResponse)
	}
	return a.sendChallenge(now)
}

func (a *Authenticator) over(r Reason) Step {
	a.state, a.deadline = authOver, time.Time{}
	return Step{Event: Failed{Reason: r}}
}

// Input takes a CHAP packet from its Code on and does not keep it. A Response or
// Change-Password that has been answered is answered the same again, for as long as
// the Authenticator lives: RFC 1994 §4.2 wants that, because Success may get lost.
func (a *Authenticator) Input(now time.Time, data []byte) Step {
	p, err := parsePacket(data)
	if err != nil {
		return Step{Err: err}
	}
	switch p.Code {
	case CodeResponse:
		return a.inResponse(p)
	case CodeChangePassword:
		return a.inChange(p)
	case CodeUnknown, CodeChallenge, CodeSuccess, CodeFailure:
	}
	return Step{Err: ErrCode}
}

func (a *Authenticator) inResponse(p packet) Step {
	r, err := parseResponse(p.Data)
	if err != nil {
		return Step{Err: err}
	}
	switch a.state {
	case authChallenged:
		if p.Ident != a.ident {
			return Step{Err: ErrIdent}
		}
		return a.judge(p, r)
	case authJudging, authOver:
		return a.repeated(p)
	case authRefused:
		if bytes.Equal(p.Append(nil), a.answered) {
			return Step{Send: a.sent}
		}
		// RFC 2759 §9.1.4 counts the identifier up by one. Windows' identifiers
		// run on across protocols, and others do not count at all, so any will
		// do: what the Response has to fit is the challenge.
		return a.judge(p, r)
	case authExpired:
		if bytes.Equal(p.Append(nil), a.answered) {
			return Step{Send: a.sent}
		}
	case authIdle:
	}
	return Step{Err: ErrState}
}

// inChange takes a Change-Password, whose identifier may be any for the same reason
// as a second Response's.
func (a *Authenticator) inChange(p packet) Step {
	c, err := parseChange(p.Data)
	if err != nil {
		return Step{Err: err}
	}
	switch a.state {
	case authExpired:
		a.judging(packet{p.Code, p.Ident, nil}) // nothing of it needs to be kept
		return Step{Event: ChangePassword{
			Ident:             p.Ident,
			Challenge:         a.challenge,
			EncryptedPassword: c.EncryptedPassword,
			EncryptedHash:     c.EncryptedHash,
			PeerChallenge:     c.PeerChallenge,
			NTResponse:        c.NTResponse,
			Name:              a.name,
		}}
	case authJudging, authOver:
		return a.repeated(p)
	case authIdle, authChallenged, authRefused:
	}
	return Step{Err: ErrState}
}

// repeated is for what has been handed up already: the verdict is on its way, or is
// sent again.
func (a *Authenticator) repeated(p packet) Step {
	if a.answered == nil || p.Ident != a.ident || p.Code != Code(a.answered[0]) {
		return Step{Err: ErrIdent}
	}
	if a.state == authJudging {
		return Step{}
	}
	return Step{Send: a.sent}
}

func (a *Authenticator) judging(p packet) {
	a.state, a.deadline = authJudging, time.Time{}
	a.ident, a.answered = p.Ident, p.Append(nil)
}

func (a *Authenticator) judge(p packet, r response) Step {
	a.judging(p)
	a.name = r.Name
	return Step{Event: Response{
		Ident:         p.Ident,
		Challenge:     a.challenge,
		PeerChallenge: r.PeerChallenge,
		NTResponse:    r.NTResponse,
		Name:          r.Name,
	}}
}

// Success relays `S=… M=…` for the Response or Change-Password handed up.
func (a *Authenticator) Success(_ time.Time, text string) Step {
	if a.state != authJudging {
		return Step{Err: ErrState}
	}
	a.state = authOver
	a.sent = textPacket(CodeSuccess, a.ident, text)
	return Step{Send: a.sent}
}

// Failure relays `E=… R=… C=… V=… M=…`, octet for octet. With R=1 the exchange
// goes on and the next Response has to answer C= (RFC 2759 §6). With E=648 for a
// Response it goes on, too, whatever R= says: a Change-Password may answer C=.
// Otherwise, or when the peer has had its tries, it has Failed.
func (a *Authenticator) Failure(now time.Time, text string) Step {
	if a.state != authJudging {
		return Step{Err: ErrState}
	}
	a.sent = textPacket(CodeFailure, a.ident, text)
	// A text we cannot read may still mean something to the peer.
	verdict, err := mschap.ParseError(text)
	changed := Code(a.answered[0]) == CodeChangePassword
	switch {
	case err != nil || changed:
	case mayChange(&verdict):
		a.state, a.challenge = authExpired, verdict.Challenge
		a.deadline = now.Add(a.cfg.ChangeTimeout)
		return Step{Send: a.sent, Event: Expired{a.deadline}}
	case verdict.Retry && a.retries < a.cfg.MaxRetries:
		a.retries++
		a.state, a.challenge = authRefused, verdict.Challenge
		a.deadline = now.Add(a.cfg.RetryTimeout)
		return Step{Send: a.sent}
	}
	a.state = authOver
	return Step{Send: a.sent, Event: Failed{Rejected, verdict, text}}
}
