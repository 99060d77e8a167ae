package lockout

import (
	"context"
	"crypto/rand"
	"net/netip"
	"strconv"
	"time"

	"postern/internal/store"
)

// Query loads the counters of one login.
type Query struct {
	shield            *Shield
	user, codes, pair *subject
	origins           []origin
	good              *store.Get
	now               *store.Time
}

// Ask says what to load for a login. User is the bare account name; spellings
// that the directory takes for one user should come as one, case aside.
func (s *Shield) Ask(user string, source netip.Addr) *Query {
	q := &Query{shield: s, now: &store.Time{}}
	if s.cfg.Disabled {
		return q
	}
	q.user, q.codes, q.pair, q.origins = s.user(user), s.codes(user), s.pair(user, source), s.origins(source)
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
	seqs := []store.Seq{user}
	for _, p := range q.origins {
		seqs = append(seqs, append(p.failures.read(), p.users.read()...))
	}
	return seqs
}

// Counters is what was loaded.
func (q *Query) Counters() Counters {
	c := Counters{
		User: q.user.counter(), Pair: q.pair.counter(), Codes: q.codes.counter(),
		Good: q.good != nil && q.good.Found,
	}
	if c.Good {
		c.Last = parseLast(q.good.Value)
	}
	for i, p := range q.origins {
		if i == 0 {
			c.Source, c.Sprayed = p.failures.counter(), p.users.counter()
		} else {
			c.Prefix, c.PrefixSprayed = p.failures.counter(), p.users.counter()
		}
	}
	return c
}

// firstLast is before any time that Clear has written: a service of before wrote "1".
const firstLast = 1_000_000_000_000

func parseLast(s string) time.Time {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil || ms < firstLast {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Now is the store's time of the load.
func (q *Query) Now() time.Time { return q.now.Now }

// Check is the shield's Check of what was loaded. Sources and pairs that it refuses
// are remembered for as long as it says: they take no more places.
func (q *Query) Check(now time.Time) Verdict {
	v := q.shield.Check(now, q.Counters())
	if v.Allowed {
		return v
	}
	switch v.Scope {
	case ScopePair:
		q.shield.refuse.note(q.pair.what, v.Until.Sub(now))
	case ScopeSource, ScopePrefix, ScopeSpray:
		for _, p := range q.origins {
			until, locked := p.failures.limit.locked(now, p.failures.counter())
			if sprayed, also := p.users.limit.locked(now, p.users.counter()); also {
				until, locked = later(until, sprayed), true
			}
			if locked {
				q.shield.refuse.note(p.failures.what, until.Sub(now))
			}
		}
	case ScopeNone, ScopeUser, ScopeCodes, ScopeDirectory:
	}
	return v
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// known says whether the source, or the user there, was refused here shortly before.
func (s *Shield) known(user string, source netip.Addr) bool {
	p := Source(source)
	if !p.IsValid() {
		return false
	}
	return s.refuse.has(pairText(user, p)) ||
		!s.cfg.exempt(source) && (s.refuse.has(p.String()) || s.refuse.has(s.cfg.network(source).String()))
}

// Failing is what to commit after a failure.
type Failing []store.Seq

// Failed is what to commit after a failure. One attempt counts once however
// often it is committed, if id is the same.
func (s *Shield) Failed(f Failure, user string, source netip.Addr, id string) Failing {
	if s.cfg.Disabled {
		return nil
	}
	if id == "" {
		id = rand.Text()
	}
	origins, who := s.origins(source), member(user)
	var seqs Failing
	switch f {
	case WrongPassword, UnknownUser:
		// One user is in one sequence, and each place.
		seqs = append(seqs, append(s.user(user).count(id, s.cfg.Memory), s.pair(user, source).count(id, s.cfg.Memory)...))
		for _, p := range origins {
			seqs = append(seqs, append(p.failures.count(id, s.cfg.Memory), p.users.count(who, s.cfg.Memory)...))
		}
		if len(origins) > 0 { // what comes from exempt sources is no attack
			seqs = append(seqs, s.crowd().count(who, s.cfg.Memory))
		}
	case WrongCode:
		seqs = append(seqs, s.codes(user).count(id, s.cfg.Memory))
		for _, p := range origins {
			seqs = append(seqs, p.failures.count(id, s.cfg.Memory))
		}
	case FailureNone:
	}
	return seqs
}

// Begun is what the failure locked, or brought to light, once it is committed. Each
// is to be told with Tell.
func (f Failing) Begun() []Event {
	var all []Event
	for _, seq := range f {
		for _, op := range seq {
			c, counts := op.(failure)
			if !counts || c.Struck == 0 {
				continue
			}
			all = append(all, Event{
				At: c.Newest, Kind: kindOf(c.of.scope), Scope: c.of.scope, Subject: c.of.what,
				Failures: c.N, Until: c.Newest.Add(c.of.limit.lock(c.Struck)),
			})
		}
	}
	return all
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
// the trace of guessing others. Of the users who fail there it is one less. now is the
// store's time.
func (s *Shield) Clear(now time.Time, user string, source netip.Addr, v Verdict, code bool) []store.Seq {
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
		q = append(q, &store.Put{Key: store.PairGood(user, p), Value: strconv.FormatInt(now.UnixMilli(), 10), TTL: s.cfg.Good})
	}
	seqs := present(q)
	if v.Tried {
		who := member(user)
		for _, p := range s.origins(source) {
			seqs = append(seqs, store.Seq{&store.Uncount{Key: p.users.fail, ID: who}})
		}
		seqs = append(seqs, store.Seq{&store.Uncount{Key: s.crowd().fail, ID: who}})
	}
	return seqs
}

// What says what an operator wants cleared. What is zero stays.
type What struct {
	User   string
	Source netip.Addr   // an address
	Pair   bool         // of user and source, only what they have together
	Prefix netip.Prefix // a network as it is counted
}

// Reset forgets what locks, at an operator's word: failures and strikes of the name and
// its codes and what was asked of a directory, of the source, of the network, and of the
// pair where both user and source are given. Good pairs stay good.
func (s *Shield) Reset(ctx context.Context, st store.Store, w What) error {
	var all []*subject
	var seqs []store.Seq
	if w.User != "" {
		if !w.Pair {
			all = append(all, s.user(w.User), s.codes(w.User), &subject{
				scope: ScopeDirectory, what: w.User, fail: store.UserAsked(w.User), strikes: store.UserCeiling(w.User),
			})
		}
		if p := s.pair(w.User, w.Source); p != nil {
			all = append(all, p)
			s.refuse.forget(p.what)
		}
	}
	add := func(p netip.Prefix, scope Scope) {
		if p.IsValid() {
			one := s.origin(scope, p, Limit{}, Limit{})
			all = append(all, one.failures, one.users)
			s.refuse.forget(p.String())
		}
	}
	if !w.Pair {
		add(Source(w.Source), ScopeSource)
		add(w.Prefix.Masked(), ScopePrefix)
	}
	var locks store.Seq
	for _, u := range all {
		seqs = append(seqs, u.clear())
		locks = append(locks, &store.Leave{Key: store.Locks(), Member: u.lock()}, &store.Delete{Key: store.LockTold(u.lock())})
		if kindOf(u.scope) == KindLockout && u.scope != ScopeDirectory { // the others go with these
			locks = append(locks, Event{At: time.Now(), Kind: KindCleared, Scope: u.scope, Subject: u.what}.publish())
		}
	}
	return st.Do(ctx, store.Join(seqs, []store.Seq{locks})...)
}

// Status is what an operator sees of a user at a source.
type Status struct {
	Counters Counters
	Login    Verdict // would a login be let through to the directory
	Code     Verdict // would a code be looked at
	Asked    Asked
}

// Show reads the status of a user; without a source it is that of a login from
// somewhere new.
func (s *Shield) Show(ctx context.Context, st store.Store, user string, source netip.Addr) (Status, error) {
	q, a := s.Ask(user, source), askAsked(user)
	if err := st.Do(ctx, store.Join(q.Seqs(), a.seqs())...); err != nil {
		return Status{}, err
	}
	c := q.Counters()
	status := Status{Counters: c, Login: s.Check(q.Now(), c), Code: s.CheckCode(q.Now(), c), Asked: a.result(q.Now())}
	if until, full := status.Asked.full(q.Now(), c.Good); full && status.Login.Allowed {
		status.Login = Verdict{Scope: ScopeDirectory, Until: until, Tried: status.Login.Tried}
	}
	return status, nil
}

// ShowSource reads the status of a source, or of a network if that is one as it is
// counted, for a login of somebody new.
func (s *Shield) ShowSource(ctx context.Context, st store.Store, p netip.Prefix) (Status, error) {
	q := &Query{shield: s, now: &store.Time{}}
	scope := ScopeSource
	limits := [2]Limit{s.cfg.Source, s.cfg.Spray}
	if p != Source(p.Addr()) {
		scope, limits = ScopePrefix, [2]Limit{s.cfg.Prefix, s.cfg.PrefixSpray}
	}
	one := s.origin(scope, p, limits[0], limits[1])
	seqs := []store.Seq{{q.now}, append(one.failures.read(), one.users.read()...)}
	if err := st.Do(ctx, seqs...); err != nil {
		return Status{}, err
	}
	var c Counters
	if scope == ScopeSource {
		c.Source, c.Sprayed = one.failures.counter(), one.users.counter()
	} else {
		c.Prefix, c.PrefixSprayed = one.failures.counter(), one.users.counter()
	}
	return Status{Counters: c, Login: s.Check(q.Now(), c), Code: Verdict{Allowed: true}}, nil
}
