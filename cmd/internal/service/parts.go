package service

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"time"

	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/pool"
	"postern/authz/session"
	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
)

// OpenRing reads the key ring. With create it is made if there is none, which only
// somebody may ask for who starts from nothing: under a new ring no secret of an old
// one opens.
func OpenRing(cfg *config.Service, create bool) (*seal.Ring, error) {
	if name := cfg.KeyRingEnv; name != "" {
		text, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("key ring: environment variable %s is not set", name)
		}
		ring, err := seal.ParseRing([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("key ring in $%s: %w", name, err)
		}
		return ring, nil
	}
	ring, err := seal.ReadFile(string(cfg.KeyRing))
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, err
	}
	if create {
		return seal.CreateFile(string(cfg.KeyRing))
	}
	return nil, fmt.Errorf("%w (`postern keyring create` makes one)", err)
}

// apart refuses pools that overlap networks this host is in: their addresses would
// be two things at once. A network that is larger than ours is routed more exactly
// by it and not looked at here.
func apart(p *policy.Policy, local []netip.Prefix) error {
	var errs []error
	for name, q := range p.Pools() {
		spec := pool.Spec{Name: name}
		for _, r := range q.Ranges {
			spec.Include = append(spec.Include, r.String())
		}
		pools, err := pool.New([]pool.Spec{spec})
		if err == nil {
			err = pools.Overlap(local)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// localAddrs are this host's addresses, but for those nobody else can have.
func localAddrs() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			all = append(all, p.Addr())
		}
	}
	return all
}

// localNetworks are the networks this host has an address in.
func localNetworks() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			all = append(all, p.Masked())
		}
	}
	return all
}

// NewShield makes the lockout shield.
func NewShield(cfg *config.Service) *lockout.Shield {
	limit := func(t config.Threshold) lockout.Limit {
		return lockout.Limit{Failures: t.Failures, Window: t.Window, Lock: t.Lock, MaxLock: t.MaxLock}
	}
	users := func(u config.Users) lockout.Limit {
		return lockout.Limit{Failures: u.Users, Window: u.Window, Lock: u.Lock, MaxLock: u.MaxLock}
	}
	crowd := func(c config.Crowd) lockout.Limit { return lockout.Limit{Failures: c.Users, Window: c.Window} }
	l := cfg.Lockout
	return lockout.New(lockout.Config{
		Disabled: l.Disabled, User: limit(l.User), Pair: limit(l.Pair), Source: limit(l.Source), Prefix: limit(l.Prefix.Threshold),
		Codes: limit(l.Code), Spray: users(l.Spraying.Source), PrefixSpray: users(l.Spraying.Prefix),
		Crowd: crowd(l.Spraying.Everywhere), Password: crowd(l.Spraying.Password),
		Bits4: l.Prefix.IPv4, Bits6: l.Prefix.IPv6, Good: l.GoodFor, Exempt: l.NeverBlock,
		// A login is given up by then, and what it asked was counted.
		Asking: cfg.Radius.Deadline + 10*time.Second,
	})
}

// NewVerifier makes the second factor.
func NewVerifier(cfg *config.Service, st store.Store, ring *seal.Ring) *mfa.Verifier {
	drift := cfg.MFA.Window
	if drift == 0 {
		drift = -1 // there 0 is the default, and none is negative
	}
	return mfa.New(st, ring, mfa.Config{Issuer: cfg.MFA.Issuer, Digits: cfg.MFA.Digits, Drift: drift})
}

// NewSessions makes the registry of sessions.
func NewSessions(cfg *config.Service, st store.Store) *session.Registry {
	return newSessions(cfg, st, nil)
}

// newSessions has told called for each start and stop.
func newSessions(cfg *config.Service, st store.Store, told func(*session.Told)) *session.Registry {
	return session.New(st, session.Config{
		Pending: cfg.Session.Start, Interim: cfg.Session.Interim, History: cfg.Accounting.History, Keep: cfg.Accounting.Keep, Told: told,
	})
}
