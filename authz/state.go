package authz

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"postern/internal/store"
	"postern/policy"
)

// The State of an Access-Challenge (RFC 2865 §5.24) is all that is known of the login
// it continues, so that any service can go on with it. It is sealed by the key ring:
//
//	until (8)  nonce (16)  dialogue (16)  user (16)  decision ID (24)
//
// Dialogue and user are digests: of what the answer must have in common with the login
// that was asked, and of the canonical name. The nonce is noted when the answer is
// decided, so that a State is answered once. That the password was right is what the
// State stands for: it is asked for again in no answer, and all the rest is.

const (
	// challengeLife is how long a user has for the code.
	challengeLife = 2 * time.Minute
	// maxState is what the attribute takes.
	maxState = 253
	// statePurpose binds the envelope.
	statePurpose = "challenge"

	digestLen   = 16
	nonceLen    = 16
	decisionLen = 24
	stateLen    = 8 + nonceLen + 2*digestLen + decisionLen
)

// What can be wrong with a State.
var (
	errStateForeign = errors.New("state: of another login")
	errStateOld     = errors.New("state: its time is over")
	errStateUsed    = errors.New("state: answered before")
	errStateMethod  = errors.New("state: not with a password")
)

// state is an opened State.
type state struct {
	until    time.Time
	nonce    [nonceLen]byte
	dialogue [digestLen]byte
	user     [digestLen]byte
	decision string // ID of the decision to challenge
}

func (s *state) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.until.UnixMilli()))
	b = append(b, s.nonce[:]...)
	b = append(b, s.dialogue[:]...)
	b = append(b, s.user[:]...)
	return append(b, s.decision...)
}

func parseState(b []byte) (*state, error) {
	if len(b) != stateLen {
		return nil, fmt.Errorf("state: %d octets", len(b))
	}
	s := &state{until: time.UnixMilli(int64(binary.BigEndian.Uint64(b)))}
	b = b[8:]
	b = b[copy(s.nonce[:], b):]
	b = b[copy(s.dialogue[:], b):]
	b = b[copy(s.user[:], b):]
	s.decision = string(b)
	return s, nil
}

// digestOf tells lists of texts apart.
func digestOf(parts ...string) (d [digestLen]byte) {
	h := sha256.New()
	for _, s := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	copy(d[:], h.Sum(nil))
	return d
}

// dialogue is what an answer to a challenge has in common with the login.
func (l *login) dialogue() [digestLen]byte {
	r := l.req
	return digestOf(r.User, r.NAS.Client, r.NAS.ID, r.NAS.Addr.String(), r.Source.String(), r.SessionID)
}

// challenge asks a PAP client's user for the code.
func (d *Decider) challenge(l *login) Reason {
	if l.req.Method != MethodPAP || l.req.Tunnel != "" || l.expired != ReasonUnknown || d.cfg.Ring == nil || !l.wantsCode() {
		return ReasonUnknown
	}
	s := state{until: l.now.Add(challengeLife), dialogue: l.dialogue(), user: digestOf(l.user), decision: l.rec.DecisionID}
	rand.Read(s.nonce[:])
	sealed, err := d.cfg.Ring.Seal(statePurpose, "", s.append(nil))
	if err == nil && len(sealed) > maxState {
		err = fmt.Errorf("state of %d octets: the key ring's names are too long", len(sealed))
	}
	if err != nil {
		l.rec.Err = err
		return ReasonUnknown
	}
	l.asks = []byte(sealed)
	return Challenged
}

// openState opens the State of an answer. It refuses nothing yet: who answers wrongly
// is asked about by the shield, as any.
func (d *Decider) openState(_ context.Context, l *login) (Reason, bool) {
	if l.req.State == nil {
		return Permitted, false
	}
	l.given, l.came = string(l.password), policy.Challenge
	if l.req.Method != MethodPAP {
		l.stateErr = errStateMethod
		return Permitted, false
	}
	var b []byte
	if b, l.stateErr = d.cfg.Ring.Open(statePurpose, "", string(l.req.State)); l.stateErr != nil {
		return Permitted, false
	}
	if l.state, l.stateErr = parseState(b); l.stateErr != nil {
		return Permitted, false
	}
	l.rec.Answers = l.state.decision
	l.noted = &store.Get{Key: l.stateKey()}
	return Permitted, false
}

func (l *login) stateKey() store.Key {
	return store.UserState(l.user, hex.EncodeToString(l.state.nonce[:]))
}

// checkState refuses an answer to no question of ours.
func (d *Decider) checkState(_ context.Context, l *login) (Reason, bool) {
	if l.req.State == nil {
		return Permitted, false
	}
	err := l.stateErr
	if err == nil {
		mine, user := l.dialogue(), digestOf(l.user)
		switch {
		case subtle.ConstantTimeCompare(mine[:], l.state.dialogue[:]) != 1:
			err = errStateForeign
		case !l.now.Before(l.state.until):
			err = errStateOld
		case l.noted.Found && (l.same() == "" || l.noted.Value != l.same()):
			err = errStateUsed
		case l.account != nil && user != l.state.user:
			err = errStateForeign
		}
	}
	if err != nil {
		l.rec.Err = err
		return StateInvalid, true
	}
	return Permitted, false
}

// answer is a guard: a State is answered once, whatever the answer. Only one that is
// accepted may come again.
func (l *login) answer(accepted bool) *store.Once {
	o := &store.Once{Key: l.stateKey(), TTL: 2 * challengeLife}
	if accepted {
		o.Value = l.same()
	}
	if o.Value == "" {
		o.Value = rand.Text()
	}
	return o
}
