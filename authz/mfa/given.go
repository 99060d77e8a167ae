package mfa

import (
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/internal/seal"
)

// Tokens may also lie in the user's directory, in an attribute whose values are each
//
//	otpauth://totp/Issuer:user?secret=BASE32&…   as apps and most systems export
//	BASE32                                       6 digits, 30 s, SHA1
//	v1.KEY.…                                     either of them, sealed for its user
//
// What is not marked as a seed must not be taken for one by mistake: a job or a place
// is base32, too, and everybody knows it. So BASE32 is what programs write: capitals,
// no spaces, 128 bits at least (RFC 4226 §4 R6). Shorter ones go into a URL.
//
// They are checked beside those of the store, which keeps their marks. A mark is named
// by a keyed hash of the secret, that nothing can be had from: the directory has no
// other name for it.

const (
	// givenPurpose binds sealed seeds of a directory.
	givenPurpose = "totp in a directory"
	// markPurpose and givenToken make the names of their marks.
	markPurpose = "totp mark"
	givenToken  = "given."
	// minBare is the least of a seed outside a URL, in octets.
	minBare = 16
)

var unpadded = base32.StdEncoding.WithPadding(base32.NoPadding)

// Mistakes in a directory's seeds. None shows anything of them.
var (
	errSeedForm   = errors.New("no otpauth URL of a TOTP token, no base32 of 16 octets or more, and not sealed")
	errSeedParts  = errors.New("a secret, digits, period or algorithm that cannot be")
	errSeedKey    = errors.New("sealed under a key that is not in the ring")
	errSeedOpen   = errors.New("sealed for somebody else, or altered")
	errSeedTwice  = errors.New("the secret of another one")
	errSeedBeyond = fmt.Errorf("more than %d", MaxTokens)
)

// given is a directory's token.
type given struct {
	token
	octets []byte // of the secret
}

// With has the seeds of the user's directory account looked at as well. The error says
// which of them count for nothing, without showing them; the others do count. It asks
// nobody.
func (v *Verifier) With(q *Query, values []string) error {
	var errs []error
	q.given, q.unusable = nil, 0
	for i, value := range values {
		g, err := v.readGiven(q.user, value)
		switch {
		case err != nil:
		case slices.ContainsFunc(q.given, func(h given) bool { return same(h.octets, g.octets) }):
			// One code would be good twice: each of them has a mark.
			err = errSeedTwice
		case len(q.given) >= MaxTokens:
			err = errSeedBeyond
		}
		if err != nil {
			q.unusable++
			errs = append(errs, fmt.Errorf("seed %d of %d: %w", i+1, len(values), err))
			continue
		}
		q.given = append(q.given, g)
	}
	return errors.Join(errs...)
}

// SealGiven seals a seed for the directory account of a user, by canonical name.
func (v *Verifier) SealGiven(user, value string) (string, error) {
	if _, err := parseGiven(value); err != nil {
		return "", err
	}
	return v.ring.Seal(givenPurpose, strings.ToLower(user), []byte(value))
}

// readGiven reads one of a directory's values.
func (v *Verifier) readGiven(user, value string) (given, error) {
	plain, err := v.ring.Open(givenPurpose, strings.ToLower(user), value)
	switch {
	case err == nil:
		value = string(plain)
	case errors.Is(err, seal.ErrKey):
		return given{}, errSeedKey
	case errors.Is(err, seal.ErrOpen):
		return given{}, errSeedOpen
	}
	return parseGiven(value)
}

// parseGiven reads a seed that is not sealed. The errors of what it calls could show it.
func parseGiven(value string) (given, error) {
	s := Seed{Digits: minDigits, Period: defaultPeriod, Algorithm: "SHA1"}
	mistake, least := errSeedForm, minBare
	if strings.HasPrefix(value, "otpauth:") {
		if s.url(value) != nil {
			return given{}, mistake
		}
		mistake, least = errSeedParts, minSeed
	} else if s.secret = value; strings.ContainsFunc(value, func(r rune) bool { return r == ' ' || r >= 'a' && r <= 'z' }) {
		return given{}, mistake
	}
	s.User, s.Label = "of the account", ""
	if s.check() != nil {
		return given{}, mistake
	}
	octets, err := unpadded.DecodeString(s.secret)
	// No octets have a base32 of one letter more than these (RFC 4648 §6).
	if err != nil || len(octets) < least || len(unpadded.EncodeToString(octets)) != len(s.secret) {
		return given{}, mistake
	}
	g := given{octets: octets, token: token{secret: s.secret, Token: Token{Digits: s.Digits, Period: int64(s.Period.Seconds()), Algorithm: s.Algorithm}}}
	if g.Algorithm == "SHA1" {
		g.Algorithm = ""
	}
	return g, nil
}

// tokens are all that a code is compared with.
func (v *Verifier) tokens(q *Query) ([]token, error) {
	all, err := v.open(q.user, q.record.Value)
	if err != nil {
		return nil, err
	}
	own := len(all)
	for _, g := range q.given {
		twice := slices.ContainsFunc(all[:own], func(t token) bool {
			octets, err := unpadded.DecodeString(strings.TrimRight(t.secret, "="))
			return err == nil && same(octets, g.octets)
		})
		if twice { // it was taken over; see errSeedTwice
			continue
		}
		if g.ID, err = v.markOf(q, &g); err != nil {
			return nil, err
		}
		all = append(all, g.token)
	}
	return all, nil
}

// markOf names the mark of a directory's token: the one it has, under whichever key of
// the ring it was named, or a new one. So a rotation forgets no code that was used.
func (v *Verifier) markOf(q *Query, g *given) (string, error) {
	// Steps of another period are other numbers.
	of := subject(q.user, strconv.FormatInt(g.Period, 10))
	found := ""
	for id, last := range q.marks.Last {
		digest, ours := strings.CutPrefix(id, givenToken)
		if ours && v.ring.Matches(markPurpose, of, g.octets, digest) && (found == "" || last > q.marks.Last[found]) {
			found = id
		}
	}
	if found != "" {
		return found, nil
	}
	digest, err := v.ring.Digest(markPurpose, of, g.octets)
	if err != nil {
		return "", fmt.Errorf("name the mark of a seed: %w", err)
	}
	return givenToken + digest, nil
}

func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
