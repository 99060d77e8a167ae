// Package mfa is the second factor: one-time codes by time (RFC 6238 over RFC
// 4226), typed behind the user name or wherever else a client lets its user put
// them, and the enrolment of tokens.
//
// One code opens one login in the whole installation: each token has a mark, the
// last step used, and the commit of a login must move it forward. Codes older
// than the mark are refused as well. Secrets lie in the store sealed, bound to
// user and token; neither they nor codes are ever printed or logged.
//
// A code never enters key material, so the MPPE keys stay those of the password
// (RFC 3079).
package mfa

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"postern/internal/seal"
	"postern/internal/store"
)

// Config of a Verifier; the zero Config is what authenticator apps expect.
type Config struct {
	Issuer string        // shown by authenticator apps; "": "Postern"
	Digits int           // of new tokens: 6 (also 0) to 8
	Period time.Duration // of new tokens; 0: 30 s
	// Drift is how many periods a token's clock may be off either way, from how far it was
	// off the last time; 0: 1, negative: none. Each one gives a guesser two more codes.
	Drift int
}

const (
	defaultIssuer = "Postern"
	defaultPeriod = 30 * time.Second
	maxDrift      = 10
	// markLife outlives the validity of any code, and the remembered drift.
	markLife = driftLife + 15*24*time.Hour
	// purpose binds the sealed secrets.
	purpose = "totp"
)

// Outcome of a code. The zero value refuses.
//
// Handled in: outcomeNames; authz maps it to its Reason.
type Outcome uint8

const (
	OutcomeUnknown Outcome = iota
	OK
	Wrong
	Replayed    // right, but not newer than the last one used
	NotEnrolled // the user has no token
)

var outcomeNames = [...]string{
	OutcomeUnknown: "unknown", OK: "ok", Wrong: "wrong", Replayed: "replayed", NotEnrolled: "not enrolled",
}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[OutcomeUnknown]
}

// Result of a code. It is not settled before the step is burnt.
type Result struct {
	Outcome Outcome
	Token   string // ID, with OK and Replayed
	Step    int64  // that the code belongs to

	Recovery bool // it is a recovery code; Step means nothing

	drift int64
}

// Verifier checks codes and keeps tokens. It is safe for concurrent use.
type Verifier struct {
	store store.Store
	ring  *seal.Ring
	cfg   Config
	dummy token
}

// New makes a verifier over sealed tokens in the store.
func New(s store.Store, ring *seal.Ring, c Config) *Verifier {
	if c.Issuer == "" {
		c.Issuer = defaultIssuer
	}
	if c.Digits < minDigits || c.Digits > maxDigits {
		c.Digits = minDigits
	}
	if c.Period < time.Second {
		c.Period = defaultPeriod
	}
	switch {
	case c.Drift == 0:
		c.Drift = 1
	case c.Drift < 0:
		c.Drift = 0
	}
	c.Drift = min(c.Drift, maxDrift)
	v := &Verifier{store: s, ring: ring, cfg: c}
	// A user without a token costs the time of one with.
	v.dummy = token{Token: Token{Digits: c.Digits, Period: int64(c.Period / time.Second)}, secret: dummySecret}
	return v
}

// dummySecret belongs to nobody; its outcome is not looked at.
const dummySecret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Query loads a user's tokens and marks.
type Query struct {
	user   string
	record store.Get
	marks  store.Marks

	codes     *store.Get // with WithRecovery
	usedCodes *store.Marks

	given    []given // by With
	unusable int
}

// Ask says what to load for a login.
func (v *Verifier) Ask(user string) *Query {
	return &Query{
		user:   user,
		record: store.Get{Key: store.UserTokens(user)},
		marks:  store.Marks{Key: store.UserSteps(user)},
	}
}

// Seqs is what to put into the Do that loads the login.
func (q *Query) Seqs() []store.Seq {
	s := store.Seq{&q.record, &q.marks}
	if q.codes != nil {
		s = append(s, q.codes, q.usedCodes)
	}
	return []store.Seq{s}
}

// Enrolled reports whether the user has a token. One that cannot be used is one, too:
// its user must not pass for somebody who may do without.
func (q *Query) Enrolled() bool {
	return q.record.Found && q.record.Value != "" || len(q.given) > 0 || q.unusable > 0
}

// Check compares a code with all tokens at all steps allowed, in the same time
// whichever matches and whether there is a token at all. It asks nobody; an
// error means that a record or the key ring is broken. A recovery code is looked at only
// where the query was made WithRecovery.
func (v *Verifier) Check(now time.Time, q *Query, code string) (Result, error) {
	if q.codes != nil && looksLikeRecovery(code) {
		return v.checkRecovery(q, code)
	}
	tokens, err := v.tokens(q)
	if err != nil {
		return Result{}, err
	}
	if len(tokens) == 0 {
		_, _, err := v.match(now, v.dummy, code, 0, 0)
		if q.Enrolled() {
			return Result{Outcome: Wrong}, err
		}
		return Result{Outcome: NotEnrolled}, err
	}
	r := Result{Outcome: Wrong}
	for _, t := range tokens {
		step, fresh, err := v.match(now, t, code, q.marks.Last[t.ID], q.marks.Note[t.ID])
		switch {
		case err != nil:
			return Result{}, err
		case step != 0 && fresh:
			r = Result{Outcome: OK, Token: t.ID, Step: step, drift: drift(now, t.Token, step)}
		case step != 0 && r.Outcome == Wrong:
			r = Result{Outcome: Replayed, Token: t.ID, Step: step}
		}
	}
	return r, nil
}

// match returns the step of a code, the newest if several match, and whether it
// is newer than the last one used; step 0: none. The library's own TOTP check
// does not tell the step, without which nothing can be burnt.
func (v *Verifier) match(now time.Time, t token, code string, last, drifted int64) (step int64, fresh bool, err error) {
	if len(code) != t.Digits {
		// An answer without a look at the secret. The length of a user's codes
		// is no secret: the app shows it.
		return 0, false, nil
	}
	opts := hotp.ValidateOpts{Digits: otp.Digits(t.Digits), Algorithm: t.algorithm()}
	at := centre(now, t.Token, last, drifted)
	for s := at - int64(v.cfg.Drift); s <= at+int64(v.cfg.Drift); s++ {
		if s <= 0 {
			continue
		}
		ok, err := hotp.ValidateCustom(code, uint64(s), t.secret, opts) // compares in constant time
		if err != nil {
			return 0, false, fmt.Errorf("token %s: cannot compute codes", t.ID) // err could show the secret
		}
		if ok {
			step, fresh = s, s > last
		}
	}
	return step, fresh, nil
}

// Burn is the commit of a right code.
type Burn struct{ op store.Advance }

// Burn makes the step used. The login's id lets the same login, asked again
// because its answer was lost, win again; "" never does.
func (v *Verifier) Burn(user string, r Result, id string) *Burn {
	if r.Recovery {
		return &Burn{op: store.Advance{
			Key: store.UserRecoveryUsed(user), Field: strings.TrimPrefix(r.Token, recoveryToken), To: 1, ID: id,
		}}
	}
	return &Burn{op: store.Advance{
		Key: store.UserSteps(user), Field: r.Token, To: r.Step, Note: r.drift, ID: id, TTL: markLife,
	}}
}

// Seqs is what to put into the Do that commits the login. It is a guard: what
// Join puts behind it under the user's tag does not happen when it is lost.
func (b *Burn) Seqs() []store.Seq { return []store.Seq{{&b.op}} }

// Lost reports, when the commit came that far, that another login used the code
// first.
func (b *Burn) Lost() bool { return !b.op.OK && b.op.Last >= b.op.To }

// Verify loads, checks and burns in one call, two round trips: for portal and
// operators, where nothing else is to be committed. Failures are the caller's to
// count.
func (v *Verifier) Verify(ctx context.Context, now time.Time, user, code string) (Result, error) {
	q := v.Ask(user)
	if err := v.store.Do(ctx, q.Seqs()...); err != nil {
		return Result{}, err
	}
	r, err := v.Check(now, q, code)
	if err != nil || r.Outcome != OK {
		return r, err
	}
	b := v.Burn(user, r, "")
	if err := v.store.Do(ctx, b.Seqs()...); err != nil {
		return Result{}, err
	}
	if !b.op.OK {
		r.Outcome = Replayed
	}
	return r, nil
}

// Token is what may be shown of a user's token.
type Token struct {
	ID        string    `json:"id"`
	Label     string    `json:"label,omitempty"`
	Created   time.Time `json:"created"`
	Digits    int       `json:"digits"`
	Period    int64     `json:"period"` // seconds
	Algorithm string    `json:"algorithm,omitempty"`
}

// stored is a token as the record keeps it.
type stored struct {
	Token
	Sealed string `json:"sealed"` // the base32 secret
}

// token is one opened for checking.
type token struct {
	Token
	secret string
}

func (t Token) algorithm() otp.Algorithm {
	switch t.Algorithm {
	case "SHA256":
		return otp.AlgorithmSHA256
	case "SHA512":
		return otp.AlgorithmSHA512
	default:
		return otp.AlgorithmSHA1 // what authenticator apps assume
	}
}

func parseRecord(value string) ([]stored, error) {
	if value == "" {
		return nil, nil
	}
	var list []stored
	if err := json.Unmarshal([]byte(value), &list); err != nil {
		return nil, fmt.Errorf("parse token record: %w", err)
	}
	for _, t := range list {
		if t.ID == "" || t.Digits < minDigits || t.Digits > maxDigits || t.Period < 1 {
			return nil, fmt.Errorf("parse token record: token %q: %d digits, period %d s", t.ID, t.Digits, t.Period)
		}
	}
	return list, nil
}

func (v *Verifier) open(user, value string) ([]token, error) {
	list, err := parseRecord(value)
	if err != nil {
		return nil, err
	}
	tokens := make([]token, len(list))
	for i, t := range list {
		secret, err := v.ring.Open(purpose, subject(user, t.ID), t.Sealed)
		if err != nil {
			return nil, fmt.Errorf("token %s: %w", t.ID, err)
		}
		tokens[i] = token{t.Token, string(secret)}
	}
	return tokens, nil
}

// subject binds a secret to its user, in the spelling the store's keys have,
// and token.
func subject(user, id string) string { return strings.ToLower(user) + "\x00" + id }
