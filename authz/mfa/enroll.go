package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

const (
	secretSize = 20 // RFC 4226 §4 R6 recommends 160 bits
	// MaxTokens bounds what one code is compared with: each token gives a
	// guesser as many codes again.
	MaxTokens = 5
)

// Errors of enrolment.
var (
	ErrTooMany = errors.New("mfa: the user has too many tokens")
	ErrNoToken = errors.New("mfa: no such token")
)

// Enrolment is a new token. It is the only time its secret is seen.
type Enrolment struct {
	Token  Token
	Secret string // base32, for typing in
	URL    string // otpauth://, for the QR code
}

// String hides the secret from prints, LogValue from logs.
func (e *Enrolment) String() string       { return "mfa.Enrolment(" + e.Token.ID + ")" }
func (e *Enrolment) GoString() string     { return e.String() }
func (e *Enrolment) LogValue() slog.Value { return slog.StringValue(e.String()) }

// QR draws the URL for a terminal; see DrawQR.
func (e *Enrolment) QR(colour bool) (string, error) { return DrawQR(e.URL, colour) }

// Enroll gives a user one more token. It counts from now on; whoever enrols asks
// for a first code to see that the app has it.
func (v *Verifier) Enroll(ctx context.Context, now time.Time, user, label string) (*Enrolment, error) {
	e, err := v.draw(now, user, label)
	if err != nil {
		return nil, err
	}
	t := e.Token
	sealed, err := v.ring.Seal(purpose, subject(user, t.ID), []byte(e.Secret))
	if err != nil {
		return nil, fmt.Errorf("enroll %q: %w", user, err)
	}
	err = v.add(ctx, user, func(list []stored) ([]stored, error) {
		if len(list) >= MaxTokens {
			return nil, ErrTooMany
		}
		return append(list, stored{t, sealed}), nil
	})
	if err != nil {
		return nil, fmt.Errorf("enroll %q: %w", user, err)
	}
	return e, nil
}

// plain keeps a colon, which parts issuer and account in an otpauth label, out.
func plain(s string) string {
	if s = strings.ReplaceAll(s, ":", "_"); s == "" {
		return "_"
	}
	return s
}

// Tokens lists a user's tokens.
func (v *Verifier) Tokens(ctx context.Context, user string) ([]Token, error) {
	get := &store.Get{Key: store.UserTokens(user)}
	if err := v.store.Do(ctx, store.Seq{get}); err != nil {
		return nil, err
	}
	list, err := parseRecord(get.Value)
	if err != nil {
		return nil, err
	}
	tokens := make([]Token, len(list))
	for i, t := range list {
		tokens[i] = t.Token
	}
	return tokens, nil
}

// Remove takes one token from a user. Its mark stays until it lapses.
func (v *Verifier) Remove(ctx context.Context, user, id string) error {
	return v.change(ctx, user, func(list []stored) ([]stored, error) {
		i := slices.IndexFunc(list, func(t stored) bool { return t.ID == id })
		if i < 0 {
			return nil, ErrNoToken
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// Reset takes all tokens from a user.
func (v *Verifier) Reset(ctx context.Context, user string) error {
	return v.store.Do(ctx, store.Seq{&store.Delete{Key: store.UserTokens(user)}})
}

// Reseal puts a user's secrets under the ring's current key and reports whether
// any was under another.
func (v *Verifier) Reseal(ctx context.Context, user string) (changed bool, err error) {
	err = v.change(ctx, user, func(list []stored) ([]stored, error) {
		changed = false
		for i, t := range list {
			if !v.ring.Stale(t.Sealed) {
				continue
			}
			secret, err := v.ring.Open(purpose, subject(user, t.ID), t.Sealed)
			if err != nil {
				return nil, err
			}
			if list[i].Sealed, err = v.ring.Seal(purpose, subject(user, t.ID), secret); err != nil {
				return nil, err
			}
			changed = true
		}
		return list, nil
	})
	return changed, err
}

// add is change for what makes a token.
func (v *Verifier) add(ctx context.Context, user string, edit func([]stored) ([]stored, error)) error {
	if err := v.store.Do(ctx, store.Known(user)); err != nil {
		return err
	}
	return v.change(ctx, user, edit)
}

// changeTries bounds the rounds of several operators changing one user at once.
const changeTries = 10

// change edits a user's record by compare-and-set.
func (v *Verifier) change(ctx context.Context, user string, edit func([]stored) ([]stored, error)) error {
	key := store.UserTokens(user)
	get := &store.Get{Key: key}
	if err := v.store.Do(ctx, store.Seq{get}); err != nil {
		return err
	}
	found, value := get.Found, get.Value
	for range changeTries {
		list, err := parseRecord(value)
		if err != nil {
			return err
		}
		if list, err = edit(list); err != nil {
			return err
		}
		text, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("token record: %w", err)
		}
		next := string(text)
		if len(list) == 0 {
			next = ""
		}
		if next == value {
			return nil
		}
		swap := &store.Swap{Key: key, Absent: !found, Old: value, New: next}
		if err := v.store.Do(ctx, store.Seq{swap}); err != nil {
			return err
		}
		if swap.OK {
			return nil
		}
		found, value = swap.Found, swap.Value
	}
	return errors.New("token record: changed by others all the time")
}

// maxKnown bounds one shard of the index.
const maxKnown = 1 << 20

// Users walks through everybody who has tokens, keys, recovery codes, tickets or
// remembered factors, or had, in no order, until each says no more.
func (v *Verifier) Users(ctx context.Context, each func(user string) error) error {
	for _, key := range store.Enrolled() {
		// A shard at once and not by pages: who enrols meanwhile moves to its end, and the
		// next ones would move past the edge of a page unseen.
		m := &store.Members{Key: key, Limit: maxKnown}
		if err := v.store.Do(ctx, store.Seq{m}); err != nil {
			return err
		}
		if len(m.List) < m.N {
			return fmt.Errorf("list users: more than %d in one shard", maxKnown)
		}
		for _, u := range m.List {
			if err := each(u.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
