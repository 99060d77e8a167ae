// Package store keeps what services share: failure counters, used one-time
// codes, tokens, live sessions, address leases and the session history.
//
// A [Store] runs sequences of small operations. All keys of one [Seq] carry one
// tag, so that Redis Cluster keeps them on one node and a sequence is atomic: in
// the redis back end it is one call of one Lua script, in the embedded one part
// of one bbolt transaction. Operations of a sequence run in order and stop at
// the first guard that is lost; what stands behind it did not happen:
//
//	burn := &store.Advance{Key: store.UserSteps(user), Field: token, To: step}
//	open := &store.Enter{Key: store.UserLive(user), Member: id, For: life, Max: 2}
//	err := s.Do(ctx, store.Seq{burn, open}, store.Seq{lease})
//
// All sequences of one Do travel in one round trip; between themselves they are
// neither ordered nor atomic. A login is two trips: one Do reads the facts, one
// commits.
//
// Time is the store's (Redis TIME), never a service's, so that services whose
// clocks differ agree on windows and deadlines. Every operation may be repeated
// after a lost answer: those that would count or win twice carry an identity.
package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnavailable is what every failure of the store is: away, too slow, read
// only, full. Some sequences of the failed Do may have been carried out. Callers
// refuse and stay silent; they never decide on the result fields.
var ErrUnavailable = errors.New("store unavailable")

// errBadSeq is our own fault: mixed tags, an oversize key, an empty sequence.
var errBadSeq = errors.New("store: bad sequence")

// Store is one shared state. Both back ends pass the same tests (storetest).
// It is safe for concurrent use; an Op belongs to one Do at a time, and after an
// error its result fields may still be written to and must not be read.
type Store interface {
	// Do runs the sequences and fills in the result fields of their operations.
	// Its only error is an ErrUnavailable.
	Do(ctx context.Context, seqs ...Seq) error

	// Watch delivers what is published on topic until ctx ends, then closes the
	// channel. Delivery is at most once: messages are lost while the store is
	// away or the reader slow, so a reader also looks for itself now and then.
	Watch(ctx context.Context, topic string) (<-chan string, error)

	// Close releases the store; Do and Watch fail afterwards.
	Close() error
}

// Seq is a list of operations under one tag, see the package comment.
type Seq []Op

// OK reports whether every guard of the sequence was won, and so every
// operation carried out.
func (s Seq) OK() bool {
	return len(s) > 0 && s[len(s)-1].ok()
}

// Op is one operation; the types of this package are all there are. Each is a
// struct of its arguments followed by its results.
//
// Handled in: the method sets in op_*.go, script.lua.
type Op interface {
	keys() []Key                   // all keys, of one tag
	name() string                  // the function in script.lua
	args(a []any) []any            // appends the script's arguments
	decode(ok bool, r reply) error // takes the script's results
	apply(t *txn) bool             // the same on bbolt; false: a guard is lost
	writes() bool
	ok() bool
	setOK(bool)
}

// Outcome is part of every operation.
type Outcome struct {
	// OK is set when the operation ran and, where it guards, won.
	OK bool
}

func (o *Outcome) ok() bool     { return o.OK }
func (o *Outcome) setOK(v bool) { o.OK = v }

// Limits of one Do, ours: they keep a script call short and a key small.
const (
	maxOps    = 64
	maxKeyLen = 1024
)

// check refuses what no back end could carry out, and clears old outcomes.
func (s Seq) check() error {
	if len(s) == 0 || len(s) > maxOps {
		return fmt.Errorf("%w: %d operations", errBadSeq, len(s))
	}
	tag, have := "", false
	for _, op := range s {
		op.setOK(false)
		for _, k := range op.keys() {
			switch {
			case k.tag == "" || k.name == "":
				return fmt.Errorf("%w: %s without a key", errBadSeq, op.name())
			case len(k.tag)+len(k.name) > maxKeyLen:
				return fmt.Errorf("%w: key of %d octets", errBadSeq, len(k.tag)+len(k.name))
			case have && k.tag != tag:
				return fmt.Errorf("%w: tags %q and %q", errBadSeq, tag, k.tag)
			}
			tag, have = k.tag, true
		}
	}
	return nil
}

// unavailable wraps a back end's failure.
func unavailable(doing string, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}
