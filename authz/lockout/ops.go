package lockout

import (
	"context"
	"crypto/rand"
	"net/netip"
	"time"

	"postern/internal/store"
)

// subject is one counter: its failures and its strikes.
type subject struct {
	limit          Limit
	fail, strikes  store.Key
	failed, struck store.Tally
}

func (s *Shield) subject(l Limit, fail, strikes store.Key) *subject {
	return &subject{
		limit: l, fail: fail, strikes: strikes,
		failed: store.Tally{Key: fail, Window: l.Window, Kind: l.Kind},
		struck: store.Tally{Key: strikes, Window: s.cfg.Memory},
	}
}

func (s *Shield) user(name string) *subject {
	return s.subject(s.cfg.User, store.UserFailures(name), store.UserStrikes(name))
}

func (s *Shield) codes(name string) *subject {
	return s.subject(s.cfg.Codes, store.CodeFailures(name), store.CodeStrikes(name))
}

// pair is nil where the source is unknown.
func (s *Shield) pair(name string, source netip.Addr) *subject {
	p := Source(source)
	if !p.IsValid() {
		return nil
	}
	return s.subject(s.cfg.Pair, store.PairFailures(name, p), store.PairStrikes(name, p))
}

// source is nil where the source is unknown or exempt.
func (s *Shield) source(source netip.Addr) *subject {
	p := Source(source)
	if !p.IsValid() || s.exempt(source) {
		return nil
	}
	return s.subject(s.cfg.Source, store.SourceFailures(p), store.SourceStrikes(p))
}

func (s *Shield) exempt(a netip.Addr) bool {
	for _, p := range s.cfg.Exempt {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
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

// count adds a failure; the one that reaches the limit is a strike.
func (u *subject) count(id string, memory time.Duration) store.Seq {
	if u == nil {
		return nil
	}
	c := &store.Count{Key: u.fail, ID: id, Window: u.limit.Window, Kind: u.limit.Kind}
	if u.limit.Failures > 0 {
		c.At, c.Strikes, c.Memory = u.limit.Failures, u.strikes, memory
	}
	return store.Seq{c}
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

// Query loads the counters of one login.
type Query struct {
	user, codes, pair, source *subject
	good                      *store.Get
	now                       *store.Time
}

// Ask says what to load for a login. User is the bare account name; spellings
// that the directory takes for one user should come as one, case aside.
func (s *Shield) Ask(user string, source netip.Addr) *Query {
	q := &Query{now: &store.Time{}}
	if s.cfg.Disabled {
		return q
	}
	q.user, q.codes, q.pair, q.source = s.user(user), s.codes(user), s.pair(user, source), s.source(source)
	if q.pair != nil {
		q.good = &store.Get{Key: store.PairGood(user, Source(source))}
	}
	return q
}

// Seqs is what to put into the Do that loads the login.
func (q *Query) Seqs() []store.Seq {
	if q.user == nil {
		return []store.Seq{{q.now}}
	}
	user := store.Seq{q.now}
	user = append(user, q.user.read()...)
	user = append(user, q.codes.read()...)
	user = append(user, q.pair.read()...)
	if q.good != nil {
		user = append(user, q.good)
	}
	if q.source == nil {
		return []store.Seq{user}
	}
	return []store.Seq{user, q.source.read()}
}

// Counters is what was loaded.
func (q *Query) Counters() Counters {
	return Counters{
		User: q.user.counter(), Source: q.source.counter(), Pair: q.pair.counter(), Codes: q.codes.counter(),
		Good: q.good != nil && q.good.Found,
	}
}

// Now is the store's time of the load.
func (q *Query) Now() time.Time { return q.now.Now }

// Failed is what to commit after a failure. One attempt counts once however
// often it is committed, if id is the same.
func (s *Shield) Failed(f Failure, user string, source netip.Addr, id string) []store.Seq {
	if s.cfg.Disabled {
		return nil
	}
	if id == "" {
		id = rand.Text()
	}
	switch f {
	case WrongPassword, UnknownUser:
		return present(s.user(user).count(id, s.cfg.Memory), s.pair(user, source).count(id, s.cfg.Memory),
			s.source(source).count(id, s.cfg.Memory))
	case WrongCode:
		return present(s.codes(user).count(id, s.cfg.Memory), s.source(source).count(id, s.cfg.Memory))
	default:
		return nil
	}
}

func present(seqs ...store.Seq) (out []store.Seq) {
	for _, q := range seqs {
		if len(q) > 0 {
			out = append(out, q)
		}
	}
	return out
}

// Guard stands first in the commit of a success. It is lost when failures
// counted since the load have reached a limit; the login is then refused as
// Check or CheckCode (code: a code was checked) would.
func (s *Shield) Guard(user string, source netip.Addr, v Verdict, code bool) []store.Seq {
	if s.cfg.Disabled {
		return nil
	}
	q := s.pair(user, source).guard()
	if v.Scope == ScopeNone {
		q = append(q, s.user(user).guard()...)
	}
	if code {
		q = append(q, s.codes(user).guard()...)
	}
	return present(q)
}

// Clear stands in the commit of a success, behind its guards: it forgets the
// failures and makes the pair good. What locks others while a good pair passes
// stays. The source's failures stay too: who has one account must not wipe out
// the trace of guessing others.
func (s *Shield) Clear(user string, source netip.Addr, v Verdict, code bool) []store.Seq {
	if s.cfg.Disabled {
		return nil
	}
	q := s.pair(user, source).clear()
	if v.Scope == ScopeNone {
		q = append(q, s.user(user).clear()...)
	}
	if code {
		q = append(q, s.codes(user).clear()...)
	}
	if p := Source(source); p.IsValid() {
		q = append(q, &store.Put{Key: store.PairGood(user, p), Value: "1", TTL: s.cfg.Good})
	}
	return present(q)
}

// Reset forgets what locks a user (or, with user "", a source) at an operator's
// word: failures and strikes of the name and its codes, and of the source and
// the pair where a source is given.
func (s *Shield) Reset(ctx context.Context, st store.Store, user string, source netip.Addr) error {
	var seqs []store.Seq
	if user != "" {
		seqs = present(s.user(user).clear(), s.codes(user).clear(), s.pair(user, source).clear())
	}
	if p := Source(source); p.IsValid() {
		seqs = append(seqs, store.Seq{
			&store.Delete{Key: store.SourceFailures(p)}, &store.Delete{Key: store.SourceStrikes(p)},
		})
	}
	return st.Do(ctx, store.Join(seqs)...)
}

// Status is what an operator sees of a user at a source.
type Status struct {
	Counters Counters
	Login    Verdict // would a login be let through to the directory
	Code     Verdict // would a code be looked at
}

// Show reads the status of a user; without a source it is that of a login from
// somewhere new.
func (s *Shield) Show(ctx context.Context, st store.Store, user string, source netip.Addr) (Status, error) {
	q := s.Ask(user, source)
	if err := st.Do(ctx, q.Seqs()...); err != nil {
		return Status{}, err
	}
	c := q.Counters()
	return Status{Counters: c, Login: s.Check(q.Now(), c), Code: s.CheckCode(q.Now(), c)}, nil
}
