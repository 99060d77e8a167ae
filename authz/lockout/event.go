package lockout

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

// Kind is what an event tells of. The zero value is nothing.
//
// Handled in: kindNames, kindOf; audit lines and metrics print names.
type Kind uint8

const (
	KindNone     Kind = iota
	KindLockout       // failures reached a limit
	KindSpraying      // many users failed, from one place or with one password
	KindGuessing      // wrong codes behind the right password
	KindReplay        // a code that was used before came again
	KindCleared       // an operator forgave
)

var kindNames = [...]string{
	KindNone: "none", KindLockout: "lockout", KindSpraying: "spraying", KindGuessing: "code guessing",
	KindReplay: "code replayed", KindCleared: "cleared",
}

// String returns the kind as audit lines and metrics spell it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindNone]
}

// Kinds lists every value, for whoever registers a metric by them.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

func kindOf(s Scope) Kind {
	switch s {
	case ScopeSpray:
		return KindSpraying
	case ScopeCodes:
		return KindGuessing
	case ScopeUser, ScopeSource, ScopePair, ScopePrefix, ScopeDirectory:
		return KindLockout
	case ScopeNone:
	}
	return KindNone
}

// Event is something that somebody should look at, told once and not for each attempt.
type Event struct {
	At    time.Time // on the store's clock
	Kind  Kind
	Scope Scope
	// Subject is whom or what it is about: a name, a network, both for a pair,
	// Anywhere, or OnePassword.
	Subject  string
	Until    time.Time // when it ends if nothing more happens; zero: it has no end
	Failures int       // or users who failed, for KindSpraying

	// The login that it came to light in.
	User     string
	Source   netip.Addr
	Decision string
}

// wire is an event as it is published.
type wire struct {
	At       time.Time  `json:"at"`
	Event    string     `json:"event"`
	Scope    string     `json:"scope,omitempty"`
	Subject  string     `json:"subject,omitempty"`
	Until    time.Time  `json:"until,omitzero"`
	Failures int        `json:"failures,omitempty"`
	User     string     `json:"user,omitempty"`
	Source   netip.Addr `json:"source,omitzero"`
	Decision string     `json:"decision,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	w := wire{e.At, e.Kind.String(), e.Scope.String(), e.Subject, e.Until, e.Failures, e.User, e.Source, e.Decision}
	if e.Scope == ScopeNone {
		w.Scope = ""
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	scope := ScopeNone
	if w.Scope != "" {
		var ok bool
		if scope, ok = parseScope(w.Scope); !ok {
			return fmt.Errorf("parse event: scope %q", w.Scope)
		}
	}
	kind := slices.Index(kindNames[:], w.Event)
	if kind <= 0 {
		return fmt.Errorf("parse event: %q", w.Event)
	}
	*e = Event{w.At, Kind(kind), scope, w.Subject, w.Until, w.Failures, w.User, w.Source, w.Decision}
	return nil
}

// topic is where events are published.
const topic = "lockout"

func (e Event) publish() *store.Publish {
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("write event: %v", err)) // times of year 10000
	}
	return &store.Publish{Topic: topic, Message: string(b)}
}

const (
	// maxLocks bounds the list of what is locked, ours: 10,000 are no list any more.
	maxLocks = 10000
	// replayQuiet is how long replays of one user are one occurrence: clients redial by
	// themselves, with the same code.
	replayQuiet = 10 * time.Minute
)

// Tell tells all who watch of an event, and keeps it in the list of what is locked. It
// says whether it is the first to do so: what several services notice at once, or one
// again and again, is one event.
func Tell(ctx context.Context, st store.Store, e Event) (first bool, err error) {
	name, quiet := e.lock(), replayQuiet
	var enter *store.Enter
	var seq store.Seq
	if !e.Until.IsZero() {
		quiet = max(e.Until.Sub(e.At), time.Second)
		// The deadline moves with each strike.
		enter = &store.Enter{Key: store.Locks(), Member: name, For: quiet, Max: maxLocks, Lapsed: time.Second}
		seq = store.Seq{enter}
	}
	told := &store.Once{Key: store.LockTold(name), Value: e.Decision, TTL: quiet}
	seq = append(seq, told, e.publish())
	if err := st.Do(ctx, seq); err != nil {
		return false, fmt.Errorf("tell of an event: %w", err)
	}
	// Who finds the list full tells as well.
	return told.OK || enter != nil && !enter.OK, nil
}

func (e Event) lock() string {
	if e.Kind == KindReplay {
		return e.Kind.String() + " " + e.Subject
	}
	return e.Scope.String() + " " + e.Subject
}

// Watch tells of events as they come, until ctx ends.
func Watch(ctx context.Context, st store.Store) (<-chan Event, error) {
	in, err := st.Watch(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("watch for lockouts: %w", err)
	}
	out := make(chan Event)
	go func() { // ends with in, which ends with ctx
		defer close(out)
		for text := range in {
			var e Event
			if json.Unmarshal([]byte(text), &e) != nil {
				continue // of a service with other kinds
			}
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

// Lock is something that is locked now.
type Lock struct {
	Scope   Scope
	Subject string
	Until   time.Time
}

// parseLock reads an entry of the list.
func parseLock(name string) (Lock, bool) {
	text, subject, ok := strings.Cut(name, " ")
	scope, known := parseScope(text)
	return Lock{Scope: scope, Subject: subject}, ok && known && subject != ""
}

func (l Lock) String() string { return l.Scope.String() + " " + l.Subject }

// List lists what is locked, those first that end first, and says how many there are.
func List(ctx context.Context, st store.Store, offset, limit int) (locks []Lock, all int, err error) {
	op := &store.Members{Key: store.Locks(), Offset: offset, Limit: limit}
	if err := st.Do(ctx, store.Seq{op}); err != nil {
		return nil, 0, fmt.Errorf("list what is locked: %w", err)
	}
	for _, m := range op.List {
		if l, ok := parseLock(m.Name); ok {
			l.Until = m.Until
			locks = append(locks, l)
		}
	}
	return locks, op.N, nil
}
