package webauthn

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	lib "github.com/go-webauthn/webauthn/webauthn"

	"postern/internal/store"
)

// kind of a ceremony is the purpose it is sealed for: what was begun as one kind is
// not finished as another.
type kind string

const (
	registration kind = "webauthn registration"
	assertion    kind = "webauthn assertion"
)

// maxCeremony bounds what is opened at all: what we seal is shorter.
const maxCeremony = 2 << 10

// Ceremony is one that was begun.
type Ceremony struct {
	Options json.RawMessage // for navigator.credentials.create or .get, binary values in base64url
	Sealed  string          // to be handed back with the answer
}

// state is what a ceremony's second step must know of its first.
type state struct {
	Session lib.SessionData `json:"session"`
	Until   int64           `json:"until"` // ms
}

func (v *Verifier) begun(now time.Time, k kind, user, scope string, options any, session *lib.SessionData) (*Ceremony, error) {
	// Which keys were offered is no part of it: five long key IDs would not fit into
	// a form, and the user's keys are read again anyway, when one may be gone.
	session.AllowedCredentialIDs = nil
	text, err := json.Marshal(state{*session, now.Add(ceremonyLife).UnixMilli()})
	if err != nil {
		return nil, fmt.Errorf("seal ceremony: %w", err)
	}
	sealed, err := v.ring.Seal(string(k), subject(user, scope), text)
	if err != nil {
		return nil, fmt.Errorf("seal ceremony: %w", err)
	}
	shown, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("encode ceremony: %w", err)
	}
	return &Ceremony{Options: shown, Sealed: sealed}, nil
}

func (v *Verifier) reopen(now time.Time, k kind, user, scope, sealed string) (*lib.SessionData, error) {
	if len(sealed) > maxCeremony {
		return nil, ErrCeremony
	}
	text, err := v.ring.Open(string(k), subject(user, scope), sealed)
	if err != nil {
		return nil, ErrCeremony
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, ErrCeremony
	}
	if now.UnixMilli() > s.Until {
		return nil, ErrExpired
	}
	return &s.Session, nil
}

// spend marks a ceremony used, in the same trip that reads the user's record. It is
// used from the first answer on, right or wrong: nobody tries twice on one challenge.
func (v *Verifier) spend(ctx context.Context, user string, session *lib.SessionData) (*store.Get, error) {
	// The value is drawn anew, so that only the store's own repetition after a lost
	// answer wins twice.
	once := &store.Once{Key: store.UserCeremony(user, session.Challenge), Value: rand.Text(), TTL: ceremonyLife + clockSlack}
	get := &store.Get{Key: store.UserKeys(user)}
	if err := v.store.Do(ctx, store.Seq{once, get}); err != nil {
		return nil, err
	}
	if !once.OK {
		return nil, ErrUsed
	}
	return get, nil
}

// subject binds what is sealed to its user, in the spelling the store's keys have,
// and to something of his: a key, or what a ceremony is for.
func subject(user, of string) string { return strings.ToLower(user) + "\x00" + of }
