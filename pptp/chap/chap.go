// Package chap is PPP's CHAP (RFC 1994) with MS-CHAP-V2 (RFC 2759), algorithm
// 0x81, and nothing else: a Challenge of CHAP-MD5 or MS-CHAP-V1 has another
// length and is refused. An Authenticator is the server's side and passes
// through, knowing no password: it hands the Response up and relays the
// verdict. A Peer is the client's side.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Code      |  Identifier   |            Length             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	Challenge: 16 | challenge (16) | name
//	Response:  49 | peer challenge (16) | reserved (8) | NT-Response (24) | flags (1) | name
//	Success:   S=<40 hex digits> M=<text>
//	Failure:   E=<code> R=<0|1> C=<32 hex digits> V=3 M=<text>
//	Change-Password: encrypted password (516) | encrypted hash (16) |
//	           peer challenge (16) | reserved (8) | NT-Response (24) | flags (2)
//
// A Failure with E=648 lets the peer change its expired password in the same
// exchange (RFC 2759 §7): its Change-Password answers the challenge of C= with the
// new password, and gets a Success or Failure like a Response.
//
// Left out: challenges after the first success.
//
// Both machines do no I/O and have no clock. What arrives and does not fit is
// ignored, as RFC 1994 §4 wants, and named in Step.Err for a counter.
package chap

import (
	"errors"
	"io"
	"time"

	"postern/internal/mschap"
)

// Step is what a machine wants done. At most one packet is sent at a time.
type Step struct {
	Send  []byte // a packet from its Code on; the caller may keep it but not change it
	Event Event  // nil: nothing happened
	Err   error  // why the input was ignored
}

// Event is one of Response, Expired, ChangePassword, Succeeded and Failed.
type Event interface{ event() }

// Response is a login to be judged: the Authenticator waits for Success or
// Failure. All of it but Challenge is the peer's claim.
type Response struct {
	Ident         byte
	Challenge     [16]byte // ours, or the C= of the Failure before
	PeerChallenge [16]byte
	NTResponse    [24]byte
	Flags         byte // always 0, RFC 2759 §4
	Name          string
}

// Expired tells that the Failure just relayed lets the peer change its password, and
// that the Authenticator waits for it. Nothing is asked of the owner.
type Expired struct{ Until time.Time }

// ChangePassword is a login to be judged like a Response: with its new password, once
// that has been set. The Name is that of the Response before.
type ChangePassword struct {
	Ident             byte
	Challenge         [16]byte // the C= of the Failure before
	EncryptedPassword [mschap.PWBlockLen]byte
	EncryptedHash     [16]byte
	PeerChallenge     [16]byte
	NTResponse        [24]byte
	Name              string
}

// Succeeded tells a Peer's owner that the server has proved to know the
// password; mschap.MasterKey takes its fields.
type Succeeded struct {
	HashHash   [16]byte
	NTResponse [24]byte
	Message    string // what follows M=
}

// Failed ends the exchange, unless Error.Retry lets a Peer try again, or its code lets
// it change its password.
type Failed struct {
	Reason Reason
	Error  mschap.Error // with Rejected, as far as Text could be read
	Text   string       // with Rejected: the Failure packet's text
}

func (Response) event()       {}
func (Expired) event()        {}
func (ChangePassword) event() {}
func (Succeeded) event()      {}
func (Failed) event()         {}

// Reason says why an exchange failed. The zero value is never reported.
//
// Handled in: String.
type Reason uint8

const (
	ReasonUnknown Reason = iota
	Rejected             // a Failure was sent or received
	NoResponse           // the peer never answered the Challenge
	NoRetry              // the peer was allowed another try and made none
	NoChange             // the peer was allowed to change its password and did not
	NoChallenge          // the server never sent a Challenge
	NoVerdict            // the server never answered the Response
	Impostor             // the server's proof S= is wrong or missing
	NoRandomness         // Config.Rand failed
)

func (r Reason) String() string {
	switch r {
	case Rejected:
		return "rejected"
	case NoResponse:
		return "no response to the challenge"
	case NoRetry:
		return "no second try"
	case NoChange:
		return "no new password"
	case NoChallenge:
		return "no challenge"
	case NoVerdict:
		return "no answer to the response"
	case Impostor:
		return "the server does not know the password"
	case NoRandomness:
		return "no randomness"
	case ReasonUnknown:
	}
	return "unknown"
}

// Why an input was ignored; the machine is as it was.
var (
	ErrLength = errors.New("chap: length field and packet do not agree")
	ErrCode   = errors.New("chap: code not known or not for this side")
	ErrValue  = errors.New("chap: not a value of MS-CHAP-V2")
	ErrFlags  = errors.New("chap: reserved octets or flags are set")
	ErrName   = errors.New("chap: name empty or too long")
	ErrIdent  = errors.New("chap: identifier of no packet we wait for")
	ErrState  = errors.New("chap: not at this time")
)

// Chosen by us.
const (
	defaultName = "postern"

	// A peer answers a Challenge by computing, not by asking a user, so the
	// first repetition comes soon; then 2, 4, 4 … seconds. Eight are 27 s: a peer
	// that has not answered by then will not.
	defaultRetransmit = time.Second
	defaultMaxTries   = 8
	maxBackoff        = 4 // times Retransmit

	// RFC 2759 §9.1.4 "disable short timeout": here a user types a password.
	defaultRetryTimeout = time.Minute
	defaultMaxRetries   = 3

	// DefaultChangeTimeout is for a user who has to think of a new password. It is
	// shorter than the two minutes for which a service remembers that the dialogue's
	// second factor was given.
	DefaultChangeTimeout = 100 * time.Second

	// defaultChallengeTimeout is a Peer's patience with the server.
	defaultChallengeTimeout = 30 * time.Second
)

// Config is an Authenticator's. Zero durations and numbers take the defaults.
type Config struct {
	Name         string        // sent in the Challenge
	Rand         io.Reader     // nil: crypto/rand
	Retransmit   time.Duration // of the Challenge, growing to four times that
	MaxTries     int           // Challenges sent before giving up
	RetryTimeout time.Duration // for the Response after a Failure with R=1
	MaxRetries   int           // such Failures before giving up

	ChangeTimeout time.Duration // for the Change-Password after a Failure with E=648
}

// backoff returns how long to wait after the try'th packet, from 1.
func backoff(base time.Duration, try int) time.Duration {
	return base * time.Duration(min(1<<min(try-1, 8), maxBackoff))
}
