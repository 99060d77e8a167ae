package lockout

import (
	"context"
	"crypto/rand"
	"net/netip"
	"time"

	"postern/internal/store"
)

// Theirs is a directory's own lockout, as it said just now of one user.
type Theirs struct {
	Threshold int // it locks at so many failures; 0: never
	Window    time.Duration
	Failures  int           // that it counts
	Ago       time.Duration // since the last of them
}

// ceiling is what of it the store decides by. A threshold of 1 locks with the first
// failure: whoever is asked for at all can be locked out, and nothing is gained by
// refusing everybody.
func (t Theirs) ceiling(now time.Time) store.Ceiling {
	if t.Threshold < 2 {
		return store.Ceiling{Told: now}
	}
	// Whole milliseconds, as stored.
	c := store.Ceiling{Most: max(t.Threshold-2, 1), Trusted: t.Threshold - 1, Window: t.Window.Truncate(time.Millisecond), Told: now}
	if t.Failures > 0 {
		c.Failed, c.Newest = t.Failures, now.Add(-max(t.Ago, 0)).Truncate(time.Millisecond)
	}
	return c
}

const (
	// believed is how long a directory's word is enough to refuse strangers.
	believed = time.Minute
	// ceilingLife is how long it is kept as what the next login begins with.
	ceilingLife = 7 * 24 * time.Hour
	// assumed is the lockout of a user of whom nothing is known yet. It only costs such
	// logins a trip more where there are several at once.
	assumedThreshold = 3
	assumedWindow    = 30 * time.Minute
)

// Place is the right of one login to have a directory asked that locks accounts by
// itself; see the package comment. The nil Place is that of a directory that does not,
// and always Goes. It belongs to one login at a time.
type Place struct {
	user  string
	op    *store.Reserve
	tried bool           // the op was sent
	heard *store.Ceiling // what the directory said just now
	asked bool           // a password may have been counted
	ended bool           // it was given back, or lapses
}

// Place makes the place of a login. Like is what the directory said of somebody else,
// as a first guess; the zero Theirs: nothing was said.
func (s *Shield) Place(user string, source netip.Addr, like Theirs) *Place {
	if s.cfg.Disabled {
		return nil
	}
	if like.Threshold < 2 {
		like = Theirs{Threshold: assumedThreshold, Window: assumedWindow}
	}
	like.Failures = 0
	p := &Place{user: user, op: &store.Reserve{
		Key: store.UserPlaces(user), Fails: store.UserAsked(user), Known: store.UserCeiling(user),
		ID: rand.Text(), For: s.cfg.Asking, Else: like.ceiling(time.Time{}),
	}}
	if from := Source(source); from.IsValid() {
		p.op.Trust = store.PairGood(user, from)
	}
	p.tried = !s.known(user, source)
	return p
}

// Seqs is what to put into the Do that loads the login.
func (p *Place) Seqs() []store.Seq {
	if p == nil || !p.tried {
		return nil
	}
	return []store.Seq{{p.op}}
}

// held says whether there is a place to give back.
func (p *Place) held() bool { return p != nil && p.tried && p.op.Taken && !p.ended }

// Check decides whether the directory is to be heard at all: on what the store said, so
// that a refused login costs the directory nothing.
func (p *Place) Check(now time.Time) Verdict {
	if p == nil || !p.tried || p.op.Taken || !p.op.Told {
		return Verdict{Allowed: true}
	}
	c := &p.op.Ceiling
	switch {
	case now.Sub(c.Told) >= believed:
		return Verdict{Allowed: true}
	case p.full(now, c):
		return p.refused(now, c)
	case p.op.Trusted: // it waits for its turn
		return Verdict{Allowed: true}
	}
	return p.refused(now, c)
}

// full says whether the failures alone fill what there is.
func (p *Place) full(now time.Time, c *store.Ceiling) bool {
	return max(c.Count(now), p.op.Failed) >= c.For(p.op.Trusted)
}

func (p *Place) refused(now time.Time, c *store.Ceiling) Verdict {
	v := Verdict{Scope: ScopeDirectory, Until: now}
	if c.Count(now) > 0 {
		v.Until = c.Newest.Add(c.Window)
	}
	if p.op.Failed > 0 {
		v.Until = later(v.Until, p.op.Newest.Add(c.Window))
	}
	return v
}

const (
	// A good pair that finds the places taken waits for those before it, who are at the
	// directory: some milliseconds as a rule, some seconds if it is ill.
	firstWait, lastWait = 10 * time.Millisecond, 160 * time.Millisecond
	longestWait         = 2 * time.Second
)

// Enter hears the directory, and decides whether it may be asked about the password.
// Now is on the store's clock. Its error is that of hear or of the store.
func (p *Place) Enter(ctx context.Context, st store.Store, now time.Time, hear func(context.Context) (Theirs, error)) (Verdict, error) {
	if p == nil {
		return Verdict{Allowed: true}, nil
	}
	began, wait := time.Now(), firstWait
	for {
		t, err := hear(ctx)
		if err != nil {
			return Verdict{}, err
		}
		now := now.Add(time.Since(began))
		next, v := p.hear(now, t)
		if next == goes || next == refuses {
			return v, nil
		}
		for next != goes {
			if next == waits {
				if time.Since(began) > longestWait || !sleep(ctx, wait) {
					return p.refused(now, p.heard), nil
				}
				wait = min(2*wait, lastWait)
			}
			if err := st.Do(ctx, p.again()...); err != nil {
				return Verdict{}, err
			}
			if next, v = p.got(now); next == refuses {
				return v, nil
			}
		}
	}
}

// sleep says whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// standing is what to do next. The zero standing refuses.
type standing uint8

const (
	refuses standing = iota
	goes             // to the directory: to ask about the password, after again to hear it
	again            // do what again says
	waits            // a little, and then do it
)

// hear decides on what the directory has said just now.
func (p *Place) hear(now time.Time, t Theirs) (standing, Verdict) {
	c := t.ceiling(now)
	p.heard = &c
	if c.Most == 0 {
		return goes, Verdict{Allowed: true}
	}
	// A word from before the place was taken may miss failures in between.
	if !p.held() || p.op.Ceiling.Most != c.Most || p.op.Ceiling.Trusted != c.Trusted || p.op.Ceiling.Window != c.Window {
		return again, Verdict{}
	}
	switch {
	case max(c.Count(now), p.op.Failed)+p.op.Ahead < c.For(p.op.Trusted):
		return goes, Verdict{Allowed: true}
	case p.op.Trusted && !p.full(now, &c):
		return waits, Verdict{}
	}
	return refuses, p.refused(now, &c)
}

// again takes a place, or looks how far up it has moved, under what the directory said.
func (p *Place) again() []store.Seq {
	p.tried, p.op.Else = true, *p.heard
	return []store.Seq{{p.told(), p.op}}
}

// got decides on what came of again.
func (p *Place) got(now time.Time) (standing, Verdict) {
	switch {
	case p.op.Taken:
		return goes, Verdict{Allowed: true}
	case p.op.Trusted && !p.full(now, p.heard):
		return waits, Verdict{}
	}
	return refuses, p.refused(now, p.heard)
}

// told keeps the directory's word.
func (p *Place) told() store.Op {
	return &store.Put{Key: store.UserCeiling(p.user), Value: p.heard.String(), TTL: ceilingLife}
}

// Asking says that the directory is asked about the password from here on. If it does
// not answer, it may have counted all the same.
func (p *Place) Asking() {
	if p != nil {
		p.asked = true
	}
}

// Lapses leaves the place to its deadline, if the directory was asked and said nothing.
func (p *Place) Lapses() {
	if p != nil && p.asked {
		p.ended = true
	}
}

// Failed is what to commit when the password was wrong.
func (p *Place) Failed() []store.Seq {
	if p == nil || p.heard == nil || p.heard.Most == 0 {
		return p.Left()
	}
	count := &store.Count{Key: store.UserAsked(p.user), ID: p.op.ID, Window: p.heard.Window, Kind: store.Idle}
	return store.Join([]store.Seq{{count}}, p.Left())
}

// Right is what to commit when the password was right, in front of all guards: the
// directory has forgotten what it had counted.
func (p *Place) Right() []store.Seq {
	if p != nil && p.heard != nil {
		p.heard.Failed, p.heard.Newest = 0, time.Time{}
	}
	return p.Left()
}

// Clear is what to commit when a login is permitted, behind all guards.
func (p *Place) Clear() []store.Seq {
	if p == nil || p.heard == nil || p.heard.Most == 0 {
		return nil
	}
	return []store.Seq{{&store.Delete{Key: store.UserAsked(p.user)}}}
}

// Left gives the place back, and leaves behind what the directory said. It is nothing
// where neither is called for, and the second time.
func (p *Place) Left() []store.Seq {
	if p == nil || p.ended {
		return nil
	}
	var seq store.Seq
	if p.held() {
		seq = store.Seq{&store.Leave{Key: p.op.Key, Member: p.op.ID}}
	}
	if p.news() {
		seq = append(seq, p.told())
	}
	p.ended = true
	return present(seq)
}

// news says whether the directory said something else than what is stored, or that is
// getting old.
func (p *Place) news() bool {
	if p.heard == nil || p.heard.Most == 0 { // nobody has a directory like that, too
		return false
	}
	c := p.op.Ceiling
	old := !p.tried || !p.op.Told || p.heard.Told.Sub(c.Told) > ceilingLife/2
	c.Told = p.heard.Told
	return old || c != *p.heard
}

// Asked is what is known of a user whose directory locks accounts by itself.
type Asked struct {
	Limit   int // attempts of strangers that may fail; 0: none, or not known
	Trusted int // the same, at a good pair
	Window  time.Duration
	Theirs  int       // failures as the directory counted them last
	Newest  time.Time // of them
	Told    time.Time // when it said so; zero: it never has
	Ours    int       // failures that we caused
	Last    time.Time // of them
	Now     int       // attempts under way
}

// asked reads it.
type asked struct {
	get    *store.Get
	fails  *store.Tally
	places *store.Members
}

func askAsked(user string) *asked {
	return &asked{
		&store.Get{Key: store.UserCeiling(user)},
		&store.Tally{Key: store.UserAsked(user), Window: ceilingLife, Kind: store.Idle}, &store.Members{Key: store.UserPlaces(user)},
	}
}

func (a *asked) seqs() []store.Seq { return []store.Seq{{a.get, a.fails, a.places}} }

func (a *asked) result(now time.Time) Asked {
	c, _ := store.ParseCeiling(a.get.Value)
	r := Asked{
		Limit: c.Most, Trusted: c.Trusted, Window: c.Window, Theirs: c.Count(now), Newest: c.Newest, Told: c.Told,
		Now: a.places.N,
	}
	if now.Before(a.fails.Newest.Add(c.Window)) {
		r.Ours, r.Last = a.fails.N, a.fails.Newest
	}
	return r
}

// full says whether, and until when, nobody is asked for as far as is known.
func (a *Asked) full(now time.Time, trusted bool) (until time.Time, full bool) {
	limit := a.Limit
	if trusted {
		limit = a.Trusted
	}
	if limit == 0 || max(a.Theirs, a.Ours) < limit {
		return time.Time{}, false
	}
	until = now
	if a.Theirs > 0 {
		until = a.Newest.Add(a.Window)
	}
	if a.Ours > 0 {
		until = later(until, a.Last.Add(a.Window))
	}
	return until, true
}
