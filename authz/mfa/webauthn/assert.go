package webauthn

import (
	"context"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
)

// BeginAssertion begins to ask for one of a user's keys; ErrNoKey when he has none.
// Scope is what the ceremony belongs to, a step-up of one session or a sign-in: it
// is finished there and nowhere else.
func (v *Verifier) BeginAssertion(ctx context.Context, now time.Time, user, scope string) (*Ceremony, error) {
	r, err := v.load(ctx, user)
	if err != nil {
		return nil, err
	}
	if len(r.Keys) == 0 {
		return nil, ErrNoKey
	}
	options, session, err := v.rp.BeginLogin(r.offered(user))
	if err != nil {
		return nil, fmt.Errorf("begin assertion: %w", err)
	}
	return v.begun(now, assertion, user, scope, options.Response, session)
}

// FinishAssertion takes what the browser's get() returned. Without an error the user
// has shown the key it returns; failures are the caller's to count.
func (v *Verifier) FinishAssertion(ctx context.Context, now time.Time, user, scope, sealed string, response []byte) (Key, error) {
	session, err := v.reopen(now, assertion, user, scope, sealed)
	if err != nil {
		return Key{}, err
	}
	parsed, err := parseAssertion(response)
	if err != nil {
		return Key{}, err
	}
	read, err := v.spend(ctx, user, session)
	if err != nil {
		return Key{}, err
	}
	r, err := parseRecord(read.Value)
	if err != nil {
		return Key{}, err
	}
	k := r.find(parsed.RawID)
	if k == nil {
		return Key{}, ErrRefused // removed in the meantime, or another user's
	}
	if err := v.judge(&parsed.Response.CollectedClientData, &parsed.Response.AuthenticatorData); err != nil {
		return Key{}, err
	}
	p, err := v.holder(user, r, k)
	if err != nil {
		return Key{}, err
	}
	if _, err := v.rp.ValidateLogin(p, *session, parsed); err != nil {
		return Key{}, ErrRefused
	}
	count := parsed.Response.AuthenticatorData.Counter
	var used Key
	err = v.swap(ctx, user, read, func(r *record) error {
		k := r.find(parsed.RawID)
		if k == nil {
			return ErrRefused
		}
		// §6.1.1: a key without a counter says 0 always; otherwise the greater one
		// is the later one.
		if count <= k.Count && (count != 0 || k.Count != 0) {
			return ErrClone
		}
		k.Count, k.Used = count, now.UTC().Truncate(time.Second)
		used = k.Key
		return nil
	})
	if err != nil {
		return Key{}, err
	}
	return used, nil
}

// judge looks at what has an error of its own, before the library looks at all of
// it. The library compares origins generously; browsers serialise them one way.
func (v *Verifier) judge(client *protocol.CollectedClientData, data *protocol.AuthenticatorData) error {
	if client.Origin != v.origin || client.CrossOrigin || client.TopOrigin != "" {
		return ErrOrigin
	}
	if !data.Flags.HasUserVerified() {
		return ErrUnverified
	}
	return nil
}
