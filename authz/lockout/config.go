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
	Prefix Limit // 120 in 15 min: from the network around it
	Codes  Limit // 5 in 5 min: wrong codes after a right password

	// Users who fail, however seldom each: password spraying. Who logs in after all is
	// taken off again.
	Spray       Limit // 15 in 30 min from one source
	PrefixSpray Limit // 60 in 30 min from the network around it
	Crowd       Limit // 100 in 30 min from anywhere: tells of it and locks nobody
	Password    Limit // 10 in an hour with one password: the same

	// How long the prefix of a network is that counts as one; 0: 24 and 48.
	Bits4, Bits6 int

	Memory time.Duration // how long strikes are remembered; 0: a day
	Good   time.Duration // how long a success makes its pair good; 0: 30 days

	// Asking is how long a place lasts that nobody gives back: longer than a login.
	// 0: 15 s.
	Asking time.Duration

	// Exempt sources are never refused as sources: an office behind one
	// address, a monitoring probe. Names are still counted from there.
	Exempt []netip.Prefix
}

const (
	defaultMemory = 24 * time.Hour
	defaultGood   = 30 * 24 * time.Hour
	defaultAsking = 15 * time.Second
	defaultBits4  = 24 // what one customer of a hosting company or one small office has
	defaultBits6  = 48 // one site (RFC 6177)
	// doublings bounds the back-off where MaxLock is not given.
	doublings = 4
)

func (c Config) withDefaults() Config {
	// A guesser of codes knows the password already, so that limit is strict
	// in time; a source may be a whole company behind one address, and a network
	// several of them.
	c.User = c.User.or(5, 15*time.Minute)
	c.Pair = c.Pair.or(5, 15*time.Minute)
	c.Source = c.Source.or(30, 15*time.Minute)
	c.Prefix = c.Prefix.or(120, 15*time.Minute)
	c.Codes = c.Codes.or(5, 5*time.Minute)
	// Sprayers are slow, and a morning after everybody's password has expired is not.
	c.Spray = c.Spray.or(15, 30*time.Minute)
	c.PrefixSpray = c.PrefixSpray.or(60, 30*time.Minute)
	c.Crowd = c.Crowd.or(100, 30*time.Minute)
	c.Password = c.Password.or(10, time.Hour)
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&c.Memory, defaultMemory}, {&c.Good, defaultGood}, {&c.Asking, defaultAsking}} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if c.Bits4 <= 0 {
		c.Bits4 = defaultBits4
	}
	if c.Bits6 <= 0 {
		c.Bits6 = defaultBits6
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

// exempt says whether a source is never refused as such.
func (c *Config) exempt(a netip.Addr) bool {
	for _, p := range c.Exempt {
		if p.Contains(a.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// network is the prefix around a source; invalid where the source is unknown.
func (c *Config) network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := c.Bits4
	if a.Is6() {
		bits = c.Bits6
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
