package mfa

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"postern/authz/ticket"
	"postern/internal/store"
)

// Recovery codes are for who has lost the device: ten, each good once, written down on
// paper. 80 bits each, so that their keyed hashes give nothing away even to who has the
// key.
const (
	recoveryCodes   = 10
	recoveryLen     = 16 // without dashes
	recoveryPurpose = "recovery code"
	// recoveryToken is how results and marks name them.
	recoveryToken = "recovery."
)

// recovery is a user's set as the record keeps it.
type recovery struct {
	Set     string   `json:"set"` // names it: marks of one set say nothing of another
	Digests []string `json:"digests"`
}

// NewRecovery makes recovery codes in the place of those there are. It is the only time
// they are seen.
func (v *Verifier) NewRecovery(ctx context.Context, user string) ([]string, error) {
	r := recovery{Set: strings.ToLower(rand.Text()[:8])}
	codes := make([]string, recoveryCodes)
	for i := range codes {
		code := ticket.Draw(recoveryLen)
		d, err := v.ring.Digest(recoveryPurpose, subject(user, r.Set), []byte(code))
		if err != nil {
			return nil, fmt.Errorf("recovery codes of %q: %w", user, err)
		}
		codes[i], r.Digests = ticket.Dashed(code), append(r.Digests, d)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("recovery codes of %q: %w", user, err)
	}
	if err := v.store.Do(ctx, store.Known(user)); err != nil {
		return nil, err
	}
	err = v.store.Do(ctx, store.Seq{
		&store.Put{Key: store.UserRecovery(user), Value: string(text)},
		&store.Delete{Key: store.UserRecoveryUsed(user)},
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// RecoveryLeft is how many a user has not used.
func (v *Verifier) RecoveryLeft(ctx context.Context, user string) (int, error) {
	q := v.Ask(user).WithRecovery()
	if err := v.store.Do(ctx, q.Seqs()...); err != nil {
		return 0, err
	}
	r, err := q.recovery()
	if err != nil {
		return 0, err
	}
	left := 0
	for i := range r.Digests {
		if q.usedCodes.Last[r.field(i)] == 0 {
			left++
		}
	}
	return left, nil
}

// DropRecovery takes all recovery codes from a user.
func (v *Verifier) DropRecovery(ctx context.Context, user string) error {
	return v.store.Do(ctx, store.Seq{
		&store.Delete{Key: store.UserRecovery(user)}, &store.Delete{Key: store.UserRecoveryUsed(user)},
	})
}

// WithRecovery has recovery codes accepted, too: in the portal, never behind a name.
func (q *Query) WithRecovery() *Query {
	q.codes = &store.Get{Key: store.UserRecovery(q.user)}
	q.usedCodes = &store.Marks{Key: store.UserRecoveryUsed(q.user)}
	return q
}

func (q *Query) recovery() (r recovery, err error) {
	if q.codes == nil || !q.codes.Found {
		return r, nil
	}
	if err := json.Unmarshal([]byte(q.codes.Value), &r); err != nil {
		return recovery{}, fmt.Errorf("parse recovery codes: %w", err)
	}
	return r, nil
}

func (r *recovery) field(i int) string { return r.Set + "." + strconv.Itoa(i) }

// checkRecovery compares a code with all of the set, in the same time whichever matches
// and whether there are any.
func (v *Verifier) checkRecovery(q *Query, code string) (Result, error) {
	r, err := q.recovery()
	if err != nil {
		return Result{}, err
	}
	plain := ticket.Plain(code)
	res := Result{Outcome: Wrong}
	for i := range recoveryCodes {
		digest := ""
		if i < len(r.Digests) {
			digest = r.Digests[i]
		}
		if !v.ring.Matches(recoveryPurpose, subject(q.user, r.Set), []byte(plain), digest) {
			continue
		}
		res = Result{Outcome: OK, Token: recoveryToken + r.field(i), Step: 1, Recovery: true}
		if q.usedCodes.Last[r.field(i)] > 0 {
			res.Outcome = Replayed
		}
	}
	return res, nil
}

// looksLikeRecovery says whether what was typed can be a recovery code: these are longer
// than any one-time code.
func looksLikeRecovery(code string) bool { return len(ticket.Plain(code)) == recoveryLen }

// RecoveryAged says whether a user's recovery codes are under an old key of the ring. They
// cannot be put under the current one: that key must stay until they are made anew.
func (v *Verifier) RecoveryAged(ctx context.Context, user string) (bool, error) {
	q := v.Ask(user).WithRecovery()
	if err := v.store.Do(ctx, q.Seqs()...); err != nil {
		return false, err
	}
	r, err := q.recovery()
	if err != nil {
		return false, err
	}
	return len(r.Digests) > 0 && v.ring.StaleDigest(r.Digests[0]), nil
}
