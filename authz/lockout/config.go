package lockout

import (
	"net/netip"
	"time"

	"postern/internal/store"
)

// Limit says how many failures of one kind are allowed and what follows.
type Limit struct {
	Failures int           // 0: the default; negative: no limit
	Window   time.Duration // 0: the default
	Kind     store.Window
	// Each time the limit is reached is a strike, and locks for Lock, doubled
	// with each strike up to MaxLock. 0: as long as Window; 16 times Lock.
	Lock, MaxLock time.Duration
}

// Config of a Shield. The zero Config is a sane one.
type Config struct {
	// Disabled counts and refuses nothing: for conformance tools that send
	// wrong passwords on purpose.
	Disabled bool

	User   Limit // 5 in 15 min: wrong passwords for one name, wherever from
	Pair   Limit // 5 in 15 min: for one name from one source
	Source Limit // 30 in 15 min: from one source, whatever the name
	Codes  Limit // 5 in 5 min: wrong codes after a right password

	Memory time.Duration // how long strikes are remembered; 0: a day
	Good   time.Duration // how long a success makes its pair good; 0: 30 days

	// Exempt sources are never refused as sources: an office behind one
	// address, a monitoring probe. Names are still counted from there.
	Exempt []netip.Prefix
}

const (
	defaultMemory = 24 * time.Hour
	defaultGood   = 30 * 24 * time.Hour
	// doublings bounds the back-off where MaxLock is not given.
	doublings = 4
)

func (c Config) withDefaults() Config {
	// A guesser of codes knows the password already, so that limit is strict
	// in time; a source may be a whole company behind one address.
	c.User = c.User.or(5, 15*time.Minute)
	c.Pair = c.Pair.or(5, 15*time.Minute)
	c.Source = c.Source.or(30, 15*time.Minute)
	c.Codes = c.Codes.or(5, 5*time.Minute)
	if c.Memory <= 0 {
		c.Memory = defaultMemory
	}
	if c.Good <= 0 {
		c.Good = defaultGood
	}
	return c
}

func (l Limit) or(failures int, window time.Duration) Limit {
	if l.Failures == 0 {
		l.Failures = failures
	}
	if l.Window <= 0 {
		l.Window = window
	}
	if l.Lock <= 0 {
		l.Lock = l.Window
	}
	if l.MaxLock <= 0 {
		l.MaxLock = l.Lock << doublings
	}
	return l
}

// lock is how long strikes lock.
func (l Limit) lock(strikes int) time.Duration {
	d := l.Lock
	for ; strikes > 1 && d < l.MaxLock; strikes-- {
		d *= 2
	}
	return min(d, l.MaxLock)
}
