package webauthn

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	lib "github.com/go-webauthn/webauthn/webauthn"

	"postern/internal/store"
)

// handleSize is as the specification has it (§14.6.1).
const handleSize = 64

// algorithms are what keys sign with: nearly all with the first, some laptops with the
// last alone.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// BeginRegistration begins to give a user one more key. Scope is what the ceremony
// belongs to, a session of the portal: it is finished there and nowhere else.
func (v *Verifier) BeginRegistration(ctx context.Context, now time.Time, user, scope string) (*Ceremony, error) {
	r, err := v.load(ctx, user)
	if err != nil {
		return nil, err
	}
	if len(r.Keys) >= MaxKeys {
		return nil, ErrTooMany
	}
	if len(r.Handle) == 0 {
		r.Handle = make([]byte, handleSize)
		_, _ = rand.Read(r.Handle) // never fails
	}
	p := r.offered(user)
	options, session, err := v.rp.BeginRegistration(p,
		lib.WithCredentialParameters(algorithms),
		lib.WithExclusions(lib.Credentials(p.keys).CredentialDescriptors()))
	if err != nil {
		return nil, fmt.Errorf("begin registration: %w", err)
	}
	return v.begun(now, registration, user, scope, options.Response, session)
}

// FinishRegistration takes what the browser's create() returned and keeps the key.
func (v *Verifier) FinishRegistration(ctx context.Context, now time.Time, user, scope, sealed, label string, response []byte) (Key, error) {
	session, err := v.reopen(now, registration, user, scope, sealed)
	if err != nil {
		return Key{}, err
	}
	parsed, err := parseRegistration(response)
	if err != nil {
		return Key{}, err
	}
	read, err := v.spend(ctx, user, session)
	if err != nil {
		return Key{}, err
	}
	if err := v.judge(&parsed.Response.CollectedClientData, &parsed.Response.AttestationObject.AuthData); err != nil {
		return Key{}, err
	}
	c, err := v.rp.CreateCredential(&person{handle: session.UserID}, *session, parsed)
	if err != nil {
		return Key{}, ErrRefused
	}
	k := stored{
		Key: Key{ID: strings.ToLower(rand.Text()[:10]), Label: cleanLabel(label), Created: now.UTC().Truncate(time.Second)},
		Raw: c.ID, Count: c.Authenticator.SignCount,
	}
	for _, t := range c.Transport {
		if knownTransport(t) {
			k.Transports = append(k.Transports, string(t))
		}
	}
	if err := v.seal(user, &k, secret{Public: c.PublicKey, Backup: c.Flags.BackupEligible}); err != nil {
		return Key{}, err
	}
	if err := v.store.Do(ctx, store.Known(user)); err != nil {
		return Key{}, err
	}
	err = v.swap(ctx, user, read, func(r *record) error {
		switch {
		case len(r.Keys) >= MaxKeys:
			return ErrTooMany
		case r.find(k.Raw) != nil:
			return ErrDuplicate
		case len(r.Handle) == 0:
			r.Handle = session.UserID
		case !slices.Equal(r.Handle, session.UserID):
			// Two first registrations at once, or a reset in between: the key
			// knows another handle than its siblings.
			return ErrCeremony
		}
		r.Keys = append(r.Keys, k)
		return nil
	})
	if err != nil {
		return Key{}, err
	}
	return k.Key, nil
}

// knownTransport keeps out of the record what a browser made up: it would be handed
// to browsers again. §5.8.4
func knownTransport(t protocol.AuthenticatorTransport) bool {
	switch t {
	case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
		return true
	default:
		return false
	}
}
