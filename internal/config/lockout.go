package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Lockout are the shield's thresholds. What a directory has of its own needs no key: it
// is asked for it, and stopped short of.
type Lockout struct {
	Disabled bool      `yaml:"disabled" default:"false"` // for conformance tools only
	User     Threshold `yaml:"user"`
	Source   Threshold `yaml:"source"`
	Prefix   Network   `yaml:"prefix"` // the network around a source
	Pair     Threshold `yaml:"pair"`   // one user from one source
	Code     Threshold `yaml:"code"`   // wrong one-time codes of a user
	Spraying Spraying  `yaml:"spraying"`
	// GoodFor is how long a source that logged a user in gets through while others
	// are locked out.
	GoodFor time.Duration `yaml:"good_for" default:"720h" min:"0s" max:"8760h"`
	// NeverBlock are sources that are never refused as such: an office behind one
	// address, a monitoring probe. Users are locked whatever source they come from.
	NeverBlock []netip.Prefix `yaml:"never_block"`
}

// Threshold locks after Failures within Window; the lock lasts Lock and doubles
// with each that follows, to at most MaxLock. What is absent keeps the built-in
// value: 5 failures in 15 minutes for user and pair, 30 in 15 minutes for source, 120
// in 15 minutes for prefix, 5 in 5 minutes for code; locked for the window, for 16 times
// that at most.
type Threshold struct {
	Failures int           `yaml:"failures" min:"1" max:"200"`
	Window   time.Duration `yaml:"window" min:"1s" max:"24h"`
	Lock     time.Duration `yaml:"lock" min:"1s" max:"24h"`
	MaxLock  time.Duration `yaml:"max_lock" min:"1s" max:"168h"`
}

// Network is a Threshold for all sources of a network together.
type Network struct {
	Threshold
	// How much of an address is its network.
	IPv4 int `yaml:"ipv4" default:"24" min:"8" max:"31"`
	IPv6 int `yaml:"ipv6" default:"48" min:"16" max:"63"`
}

// Spraying is when many users fail, however seldom each.
type Spraying struct {
	Source Users `yaml:"source"` // 15 in 30 minutes
	Prefix Users `yaml:"prefix"` // 60 in 30 minutes
	// These lock nobody: it is told, and counted.
	Everywhere Crowd `yaml:"everywhere"` // 100 in 30 minutes, from wherever
	Password   Crowd `yaml:"password"`   // 10 in an hour with one password, where there is one: PAP
}

// Users is a Threshold of users instead of failures.
type Users struct {
	Users   int           `yaml:"users" min:"2" max:"200"`
	Window  time.Duration `yaml:"window" min:"1s" max:"24h"`
	Lock    time.Duration `yaml:"lock" min:"1s" max:"24h"`
	MaxLock time.Duration `yaml:"max_lock" min:"1s" max:"168h"`
}

// Crowd is a number of users that is worth an alarm.
type Crowd struct {
	Users  int           `yaml:"users" min:"2" max:"200"`
	Window time.Duration `yaml:"window" min:"1s" max:"24h"`
}

func (t *Threshold) check(at place) { checkLocks(at, t.Lock, t.MaxLock) }

func (u *Users) check(at place) { checkLocks(at, u.Lock, u.MaxLock) }

func checkLocks(at place, first, longest time.Duration) {
	if first > 0 && longest > 0 && longest < first {
		at.bad("max_lock", fmt.Sprintf("%v or more", first), "the longest lock is shorter than the first")
	}
}
