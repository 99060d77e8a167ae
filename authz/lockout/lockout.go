// Package lockout is the shield in front of the directory: it counts failures
// per user, per source, per pair of both, and wrong codes apart from wrong
// passwords (a guesser of passwords must not lock the token), and refuses before
// anybody is asked. Reaching a limit locks; each further strike locks for twice
// as long.
//
// Locking a name is a weapon in an attacker's hand, so a pair of user and source
// that recently succeeded is judged by its own failures only: the user at the
// usual address still gets in while everybody else is refused.
//
// A login uses it in three places. [Shield.Ask] is what to load; [Shield.Check]
// decides on what was loaded and is pure; [Shield.Failed], or [Shield.Guard] and
// [Shield.Clear], are what to commit. Logins under way at the same time see the
// same counters: the guard makes a right answer lose when by then too many wrong
// ones have been counted, so that parallel guessing gains nothing.
package lockout

import (
	"net/netip"
	"time"

	"postern/internal/store"
)

// Scope is what is locked.
//
// Handled in: scopeNames; radiusd's metric labels and audit lines print names.
type Scope uint8

const (
	ScopeNone Scope = iota
	ScopeUser
	ScopeSource
	ScopePair
	ScopeCodes
)

var scopeNames = [...]string{
	ScopeNone: "none", ScopeUser: "user", ScopeSource: "source", ScopePair: "pair", ScopeCodes: "codes",
}

func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return "unknown"
}

// Failure is what went wrong in a login. The zero value counts nothing.
//
// Handled in: Shield.Failed.
type Failure uint8

const (
	FailureNone   Failure = iota
	WrongPassword         // counts for user, source and pair
	UnknownUser           // the same: an answer must not show which names exist
	WrongCode             // counts for codes and source
)

var failureNames = [...]string{
	FailureNone: "none", WrongPassword: "wrong password", UnknownUser: "unknown user", WrongCode: "wrong code",
}

func (f Failure) String() string {
	if int(f) < len(failureNames) {
		return failureNames[f]
	}
	return "unknown"
}

// Counter is one subject's failures as loaded.
type Counter struct {
	Failures       int // in the window
	Oldest, Newest time.Time
	Strikes        int // in the memory
	Struck         time.Time
}

// Counters is what a decision is made on. The zero value is a clean sheet.
type Counters struct {
	User, Source, Pair, Codes Counter
	Good                      bool // the pair recently succeeded
}

// Verdict of a check. The zero Verdict refuses.
type Verdict struct {
	Allowed bool
	Scope   Scope     // what is locked, also when a good pair passes it
	Until   time.Time // when that ends if nothing more happens
}

// Shield is a configured shield. It holds no state and is safe for concurrent use.
type Shield struct{ cfg Config }

// New makes a shield; the zero Config has sane limits.
func New(c Config) *Shield { return &Shield{c.withDefaults()} }

// Check decides whether the directory may be asked. It is pure; now is on the
// clock of the counters (Query.Now).
func (s *Shield) Check(now time.Time, c Counters) Verdict {
	if s.cfg.Disabled {
		return Verdict{Allowed: true}
	}
	// The pair first: it has no exception, and a good pair is judged by it alone.
	if until, locked := s.cfg.Pair.locked(now, c.Pair); locked {
		return Verdict{Scope: ScopePair, Until: until}
	}
	if until, locked := s.cfg.Source.locked(now, c.Source); locked {
		return Verdict{Allowed: c.Good, Scope: ScopeSource, Until: until}
	}
	if until, locked := s.cfg.User.locked(now, c.User); locked {
		return Verdict{Allowed: c.Good, Scope: ScopeUser, Until: until}
	}
	return Verdict{Allowed: true}
}

// CheckCode decides whether a code may be looked at. Nothing gets past it: who
// sends wrong codes has the password, from wherever.
func (s *Shield) CheckCode(now time.Time, c Counters) Verdict {
	if !s.cfg.Disabled {
		if until, locked := s.cfg.Codes.locked(now, c.Codes); locked {
			return Verdict{Scope: ScopeCodes, Until: until}
		}
	}
	return Verdict{Allowed: true}
}

func (l Limit) locked(now time.Time, c Counter) (until time.Time, locked bool) {
	if l.Failures < 0 {
		return until, false
	}
	if c.Strikes > 0 {
		until = c.Struck.Add(l.lock(c.Strikes))
	}
	if c.Failures >= l.Failures {
		edge := c.Oldest
		if l.Kind == store.Idle {
			edge = c.Newest
		}
		if t := edge.Add(l.Window); t.After(until) {
			until = t
		}
	}
	return until, until.After(now)
}

// Source is the network that counts as one source: an IPv4 address, or an IPv6
// /64, of which one household has 2^64 addresses. The zero Prefix: unknown.
func Source(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
