package lockout

import (
	"net/netip"
	"slices"
	"time"

	"postern/internal/store"
)

// Scope is what is locked.
//
// Handled in: scopeNames, Shield.Check, Lock; audit lines and metrics print names.
type Scope uint8

const (
	ScopeNone Scope = iota
	ScopeUser
	ScopeSource
	ScopePair
	ScopeCodes
	ScopePrefix    // the network around a source
	ScopeSpray     // a source or network from which many users fail
	ScopeDirectory // a user, of whom the directory must not be asked any more
)

var scopeNames = [...]string{
	ScopeNone: "none", ScopeUser: "user", ScopeSource: "source", ScopePair: "pair", ScopeCodes: "codes",
	ScopePrefix: "prefix", ScopeSpray: "spray", ScopeDirectory: "directory",
}

// Scopes lists every value, for whoever registers a metric by them.
func Scopes() []Scope {
	all := make([]Scope, len(scopeNames))
	for i := range all {
		all[i] = Scope(i)
	}
	return all
}

// parseScope reads a name of scopeNames.
func parseScope(s string) (Scope, bool) {
	i := slices.Index(scopeNames[:], s)
	return Scope(max(i, 0)), i > 0
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
	WrongPassword         // counts for user, pair, source and prefix, and as a user who fails
	UnknownUser           // the same: an answer must not show which names exist
	WrongCode             // counts for codes, source and prefix
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
	User, Source, Pair, Codes, Prefix Counter
	// Users who failed from the source and from the network around it.
	Sprayed, PrefixSprayed Counter
	Good                   bool      // the pair recently succeeded
	Last                   time.Time // when; zero: never, or a service of before wrote it down
}

// Verdict of a check. The zero Verdict refuses.
type Verdict struct {
	Allowed bool
	Scope   Scope     // what is locked, also when a good pair passes it
	Until   time.Time // when that ends if nothing more happens
	Tried   bool      // the pair has failed in the window
}

// Shield is a configured shield. What it counts is in the store; it remembers only
// what spares a question. It is safe for concurrent use.
type Shield struct {
	cfg    Config
	refuse *memory // who is locked where, as far as it was seen here
	told   *memory // of whom it was told that the directory must not be asked
}

// New makes a shield; the zero Config has sane limits.
func New(c Config) *Shield {
	return &Shield{cfg: c.withDefaults(), refuse: newMemory(maxRemembered), told: newMemory(maxRemembered)}
}

// News says whether it was not told of shortly before that a user's directory must not be
// asked, for so long.
func (s *Shield) News(user string, d time.Duration) bool { return d > 0 && s.told.note(user, d) }

// Check decides whether the directory may be asked. It is pure; now is on the
// clock of the counters (Query.Now).
func (s *Shield) Check(now time.Time, c Counters) Verdict {
	if s.cfg.Disabled {
		return Verdict{Allowed: true}
	}
	tried := c.Pair.Failures > 0
	// The pair first: it has no exception, and a good pair is judged by it alone.
	if until, locked := s.cfg.Pair.locked(now, c.Pair); locked {
		return Verdict{Scope: ScopePair, Until: until, Tried: tried}
	}
	for _, x := range [...]struct {
		scope Scope
		limit *Limit
		Counter
	}{
		{ScopeSource, &s.cfg.Source, c.Source},
		{ScopeSpray, &s.cfg.Spray, c.Sprayed},
		{ScopePrefix, &s.cfg.Prefix, c.Prefix},
		{ScopeSpray, &s.cfg.PrefixSpray, c.PrefixSprayed},
		{ScopeUser, &s.cfg.User, c.User},
	} {
		if until, locked := x.limit.locked(now, x.Counter); locked {
			return Verdict{Allowed: c.Good, Scope: x.scope, Until: until, Tried: tried}
		}
	}
	return Verdict{Allowed: true, Tried: tried}
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
