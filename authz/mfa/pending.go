package mfa

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// Errors of Confirm.
var (
	ErrCode   = errors.New("mfa: the code is not the token's")
	ErrLapsed = errors.New("mfa: the enrolment has lapsed")
)

const (
	pendingPurpose = "totp pending"
	// pendingLife is how long a user has to put the secret into an app and to type the
	// first code.
	pendingLife = 15 * time.Minute
)

// pending is a token that its user has not confirmed yet. It travels sealed: nothing is
// stored before it is confirmed.
type pending struct {
	Token  Token     `json:"token"`
	Secret string    `json:"secret"`
	Until  time.Time `json:"until"`
}

// Begin makes a token that counts for nothing before Confirm. Handle is sealed, and for
// Confirm; whoever holds it meanwhile learns nothing from it.
func (v *Verifier) Begin(ctx context.Context, now time.Time, user, label string) (e *Enrolment, handle string, err error) {
	tokens, err := v.Tokens(ctx, user)
	if err != nil {
		return nil, "", fmt.Errorf("begin to enroll %q: %w", user, err)
	}
	if len(tokens) >= MaxTokens {
		return nil, "", ErrTooMany
	}
	if e, err = v.draw(now, user, label); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(pending{e.Token, e.Secret, now.Add(pendingLife)})
	if err != nil {
		return nil, "", fmt.Errorf("begin to enroll %q: %w", user, err)
	}
	if handle, err = v.ring.Seal(pendingPurpose, strings.ToLower(user), text); err != nil {
		return nil, "", fmt.Errorf("begin to enroll %q: %w", user, err)
	}
	return e, handle, nil
}

// Confirm stores a token once its user has shown a code of it, which is used by that:
// ErrCode, ErrLapsed, ErrTooMany. A handle that was confirmed before has lapsed.
// Counting wrong codes is the caller's.
func (v *Verifier) Confirm(ctx context.Context, now time.Time, user, handle, code string) (Token, error) {
	text, err := v.ring.Open(pendingPurpose, strings.ToLower(user), handle)
	if err != nil {
		return Token{}, ErrLapsed
	}
	var p pending
	if err := json.Unmarshal(text, &p); err != nil || !now.Before(p.Until) {
		return Token{}, ErrLapsed
	}
	step, fresh, err := v.match(now, token{p.Token, p.Secret}, code, 0, 0)
	switch {
	case err != nil:
		return Token{}, err
	case !fresh:
		return Token{}, ErrCode
	}
	sealed, err := v.ring.Seal(purpose, subject(user, p.Token.ID), []byte(p.Secret))
	if err != nil {
		return Token{}, fmt.Errorf("enroll %q: %w", user, err)
	}
	// First the mark: the code is used whatever becomes of the rest, and who confirms the
	// same handle a second time loses here.
	burn := v.Burn(user, Result{Outcome: OK, Token: p.Token.ID, Step: step, drift: drift(now, p.Token, step)}, handleID(p.Token.ID))
	if err := v.store.Do(ctx, burn.Seqs()...); err != nil {
		return Token{}, fmt.Errorf("enroll %q: %w", user, err)
	}
	if !burn.op.OK {
		return Token{}, ErrLapsed
	}
	err = v.add(ctx, user, func(list []stored) ([]stored, error) {
		switch {
		case slices.ContainsFunc(list, func(t stored) bool { return t.ID == p.Token.ID }):
			return list, nil // our own answer was lost
		case len(list) >= MaxTokens:
			return nil, ErrTooMany
		}
		return append(list, stored{p.Token, sealed}), nil
	})
	if err != nil {
		return Token{}, fmt.Errorf("enroll %q: %w", user, err)
	}
	return p.Token, nil
}

// handleID lets a Confirm whose answer was lost be asked again with the same code.
func handleID(tokenID string) string { return "enrol " + tokenID }

// draw makes a token and its secret.
func (v *Verifier) draw(now time.Time, user, label string) (*Enrolment, error) {
	k, err := totp.Generate(totp.GenerateOpts{
		Issuer: plain(v.cfg.Issuer), AccountName: plain(user),
		Period: uint(v.cfg.Period / time.Second), SecretSize: secretSize,
		Digits: otp.Digits(v.cfg.Digits), Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return nil, fmt.Errorf("enroll %q: %w", user, err)
	}
	t := Token{
		ID: strings.ToLower(rand.Text()[:10]), Label: label, Created: now.UTC().Truncate(time.Second),
		Digits: v.cfg.Digits, Period: int64(v.cfg.Period / time.Second),
	}
	return &Enrolment{Token: t, Secret: k.Secret(), URL: k.URL()}, nil
}
