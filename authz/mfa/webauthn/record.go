package webauthn

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	lib "github.com/go-webauthn/webauthn/webauthn"

	"github.com/go-webauthn/webauthn/protocol"

	"postern/internal/store"
)

// purpose binds a key's sealed half.
const purpose = "webauthn key"

const (
	maxLabel      = 40   // runes
	maxKeyID      = 1023 // §6.5.1: longer credential IDs are not allowed
	maxPublicKey  = 1024 // octets; RSA of 4096 bits has some 530
	maxTransports = 8
)

// Key is what may be shown of a user's key.
type Key struct {
	ID      string    `json:"id"` // ours, short; not the credential's
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
}

// record is a user's part of the store.
type record struct {
	// Handle is what keys know the user by (§14.6.1): drawn, so that a key that is
	// found tells no name. It stays when the last key goes, for the next one.
	Handle []byte   `json:"handle"`
	Keys   []stored `json:"keys"`
	// Turn is drawn for each change: the store takes a value that is there already
	// for our own, repeated, and two copies of a key that sign at the same time
	// with the same counter would both have won.
	Turn string `json:"turn"`
}

type stored struct {
	Key
	Raw        []byte   `json:"raw"` // the credential ID
	Count      uint32   `json:"count"`
	Transports []string `json:"transports,omitempty"`
	Sealed     string   `json:"sealed"` // secret
}

// secret is the part nobody may change. It is no secret.
type secret struct {
	Public []byte `json:"public"` // COSE
	Backup bool   `json:"backup"` // the key may be copied by its maker's cloud: fixed at birth (§6.1.3)
}

func parseRecord(value string) (*record, error) {
	r := &record{}
	if value == "" {
		return r, nil
	}
	if err := json.Unmarshal([]byte(value), r); err != nil {
		return nil, errRecordFormat
	}
	for _, k := range r.Keys {
		if k.ID == "" || len(k.Raw) == 0 || len(r.Handle) == 0 {
			return nil, errRecordFormat
		}
	}
	return r, nil
}

func (r *record) find(raw []byte) *stored {
	for i := range r.Keys {
		if slices.Equal(r.Keys[i].Raw, raw) {
			return &r.Keys[i]
		}
	}
	return nil
}

// person is a user as the library sees one.
type person struct {
	handle []byte
	name   string
	keys   []lib.Credential
}

func (p *person) WebAuthnID() []byte                    { return p.handle }
func (p *person) WebAuthnName() string                  { return p.name }
func (p *person) WebAuthnDisplayName() string           { return p.name }
func (p *person) WebAuthnCredentials() []lib.Credential { return p.keys }

// offered is a user with key IDs only, enough for a browser to find a key.
func (r *record) offered(user string) *person {
	p := &person{handle: r.Handle, name: user}
	for _, k := range r.Keys {
		c := lib.Credential{ID: k.Raw}
		for _, t := range k.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		p.keys = append(p.keys, c)
	}
	return p
}

// holder is a user with one key to verify with.
func (v *Verifier) holder(user string, r *record, k *stored) (*person, error) {
	text, err := v.ring.Open(purpose, subject(user, k.ID+" "+base64.RawURLEncoding.EncodeToString(k.Raw)), k.Sealed)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.ID, err)
	}
	var s secret
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, errRecordFormat
	}
	return &person{handle: r.Handle, name: user, keys: []lib.Credential{{
		ID: k.Raw, PublicKey: s.Public, Flags: lib.CredentialFlags{BackupEligible: s.Backup},
	}}}, nil
}

func (v *Verifier) seal(user string, k *stored, s secret) error {
	text, err := json.Marshal(s)
	if err == nil {
		k.Sealed, err = v.ring.Seal(purpose, subject(user, k.ID+" "+base64.RawURLEncoding.EncodeToString(k.Raw)), text)
	}
	if err != nil {
		return fmt.Errorf("seal key: %w", err)
	}
	return nil
}

// Keys lists a user's keys, oldest first.
func (v *Verifier) Keys(ctx context.Context, user string) ([]Key, error) {
	r, err := v.load(ctx, user)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, len(r.Keys))
	for i, k := range r.Keys {
		keys[i] = k.Key
	}
	return keys, nil
}

// Remove takes one key from a user.
func (v *Verifier) Remove(ctx context.Context, user, id string) error {
	return v.edit(ctx, user, func(r *record) error {
		i := slices.IndexFunc(r.Keys, func(k stored) bool { return k.ID == id })
		if i < 0 {
			return ErrNoKey
		}
		r.Keys = slices.Delete(r.Keys, i, i+1)
		return nil
	})
}

// Reset forgets a user: all keys, and what keys know him by.
func (v *Verifier) Reset(ctx context.Context, user string) error {
	return v.store.Do(ctx, store.Seq{&store.Delete{Key: store.UserKeys(user)}})
}

// errUnchanged ends an edit that has nothing to write.
var errUnchanged = errors.New("unchanged")

// Reseal puts a user's keys under the ring's current key and reports whether any was
// under another.
func (v *Verifier) Reseal(ctx context.Context, user string) (changed bool, err error) {
	err = v.edit(ctx, user, func(r *record) error {
		changed = false
		for i := range r.Keys {
			k := &r.Keys[i]
			if !v.ring.Stale(k.Sealed) {
				continue
			}
			p, err := v.holder(user, r, k)
			if err != nil {
				return err
			}
			c := p.keys[0]
			if err := v.seal(user, k, secret{Public: c.PublicKey, Backup: c.Flags.BackupEligible}); err != nil {
				return err
			}
			changed = true
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return changed, err
}

func (v *Verifier) load(ctx context.Context, user string) (*record, error) {
	get := &store.Get{Key: store.UserKeys(user)}
	if err := v.store.Do(ctx, store.Seq{get}); err != nil {
		return nil, err
	}
	return parseRecord(get.Value)
}

func (v *Verifier) edit(ctx context.Context, user string, change func(*record) error) error {
	get := &store.Get{Key: store.UserKeys(user)}
	if err := v.store.Do(ctx, store.Seq{get}); err != nil {
		return err
	}
	return v.swap(ctx, user, get, change)
}

// swapTries bounds the rounds of several services changing one user at once.
const swapTries = 10

// swap changes the record that was read, or the one that has taken its place.
func (v *Verifier) swap(ctx context.Context, user string, read *store.Get, change func(*record) error) error {
	found, value := read.Found, read.Value
	for range swapTries {
		r, err := parseRecord(value)
		if err != nil {
			return err
		}
		if err := change(r); err != nil {
			return err
		}
		r.Turn = strings.ToLower(rand.Text()[:10])
		next, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
		s := &store.Swap{Key: store.UserKeys(user), Absent: !found, Old: value, New: string(next)}
		if err := v.store.Do(ctx, store.Seq{s}); err != nil {
			return err
		}
		if s.OK {
			return nil
		}
		found, value = s.Found, s.Value
	}
	return errBusy
}

// cleanLabel makes a user's word for a key fit for a page and a table.
func cleanLabel(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.TrimSpace(s) {
		if n == maxLabel {
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			n++
		}
	}
	return b.String()
}
