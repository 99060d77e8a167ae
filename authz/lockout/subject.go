package lockout

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"postern/internal/store"
)

// subject is one counter: its failures and its strikes. The nil subject counts
// nothing.
type subject struct {
	scope          Scope
	what           string // who or where it is, see Event
	limit          Limit
	fail, strikes  store.Key
	failed, struck store.Tally
}

func (s *Shield) subject(scope Scope, what string, l Limit, fail, strikes store.Key) *subject {
	return &subject{
		scope: scope, what: what, limit: l, fail: fail, strikes: strikes,
		failed: store.Tally{Key: fail, Window: l.Window, Kind: l.Kind},
		struck: store.Tally{Key: strikes, Window: s.cfg.Memory},
	}
}

func (s *Shield) user(name string) *subject {
	return s.subject(ScopeUser, name, s.cfg.User, store.UserFailures(name), store.UserStrikes(name))
}

func (s *Shield) codes(name string) *subject {
	return s.subject(ScopeCodes, name, s.cfg.Codes, store.CodeFailures(name), store.CodeStrikes(name))
}

// pair is nil where the source is unknown.
func (s *Shield) pair(name string, source netip.Addr) *subject {
	p := Source(source)
	if !p.IsValid() {
		return nil
	}
	return s.subject(ScopePair, pairText(name, p), s.cfg.Pair, store.PairFailures(name, p), store.PairStrikes(name, p))
}

// pairText is how a pair is written.
func pairText(name string, source netip.Prefix) string { return source.String() + " " + name }

// origin is what is counted of a source, and of the network around it.
type origin struct{ failures, users *subject }

// origins are none where the source is unknown or exempt.
func (s *Shield) origins(source netip.Addr) []origin {
	p := Source(source)
	if !p.IsValid() || s.cfg.exempt(source) {
		return nil
	}
	return []origin{
		s.origin(ScopeSource, p, s.cfg.Source, s.cfg.Spray),
		s.origin(ScopePrefix, s.cfg.network(source), s.cfg.Prefix, s.cfg.PrefixSpray),
	}
}

func (s *Shield) origin(scope Scope, p netip.Prefix, failures, users Limit) origin {
	return origin{
		s.subject(scope, p.String(), failures, store.SourceFailures(p), store.SourceStrikes(p)),
		s.subject(ScopeSpray, p.String(), users, store.SourceUsers(p), store.SourceSprays(p)),
	}
}

// Anywhere is where many users fail whose sources have nothing in common.
const Anywhere = "anywhere"

func (s *Shield) crowd() *subject {
	return s.subject(ScopeSpray, Anywhere, s.cfg.Crowd, store.SprayUsers(), store.Sprays())
}

// member is a user among those who fail: of a bounded length, whatever the name is.
func member(user string) string {
	h := sha256.Sum256([]byte(strings.ToLower(user)))
	return base64.RawURLEncoding.EncodeToString(h[:9])
}

func (u *subject) read() store.Seq {
	if u == nil {
		return nil
	}
	return store.Seq{&u.failed, &u.struck}
}

func (u *subject) counter() Counter {
	if u == nil {
		return Counter{}
	}
	return Counter{
		Failures: u.failed.N, Oldest: u.failed.Oldest, Newest: u.failed.Newest,
		Strikes: u.struck.N, Struck: u.struck.Newest,
	}
}

// failure is a count that knows what it counts.
type failure struct {
	*store.Count
	of *subject
}

// count adds a failure; the one that reaches the limit is a strike.
func (u *subject) count(id string, memory time.Duration) store.Seq {
	if u == nil {
		return nil
	}
	c := &store.Count{Key: u.fail, ID: id, Window: u.limit.Window, Kind: u.limit.Kind}
	if u.limit.Failures > 0 {
		c.At, c.Strikes, c.Memory = u.limit.Failures, u.strikes, memory
	}
	return store.Seq{failure{c, u}}
}

func (u *subject) guard() store.Seq {
	if u == nil || u.limit.Failures < 0 {
		return nil
	}
	return store.Seq{&store.Tally{Key: u.fail, Window: u.limit.Window, Kind: u.limit.Kind, Below: u.limit.Failures}}
}

func (u *subject) clear() store.Seq {
	if u == nil {
		return nil
	}
	return store.Seq{&store.Delete{Key: u.fail}, &store.Delete{Key: u.strikes}}
}

// lock is the entry of the subject in the list of locks.
func (u *subject) lock() string { return u.scope.String() + " " + u.what }

func present(seqs ...store.Seq) (out []store.Seq) {
	for _, q := range seqs {
		if len(q) > 0 {
			out = append(out, q)
		}
	}
	return out
}
