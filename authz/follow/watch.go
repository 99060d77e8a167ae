package follow

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/session"
	"postern/internal/store"
)

const (
	// wholeEvery is how often a directory is asked about everybody, and not only about
	// what it says has changed: the hour at which an account expires changes nothing in
	// the directory.
	wholeEvery = 15 * time.Minute
	// askTime is how long a directory may take for a chunk of names.
	askTime = 30 * time.Second
	chunk   = 1000
	// settle spreads services that got a new policy together.
	settle = 2 * time.Second
)

// watch looks for changes until ctx ends.
func (f *Follower) watch(ctx context.Context) {
	defer f.passTurn()
	// The first look comes somewhere within the interval: services that were started
	// together do not look together.
	timer := time.NewTimer(rand.N(f.cfg.Interval))
	defer timer.Stop()
	owed := false // everything is to be looked at, and could not be
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.again:
			select {
			case <-time.After(rand.N(settle)):
			case <-ctx.Done():
				return
			}
			owed = !f.policy(ctx)
		case <-timer.C:
			// Never later than configured.
			timer.Reset(f.cfg.Interval - rand.N(f.cfg.Interval/10))
			mine, err := f.takeTurn(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				f.failed(err)
			case owed:
				owed = !f.policy(ctx)
			case mine:
				f.look(ctx)
			default:
				f.m.looks.WithLabelValues("another's").Inc()
				f.forget()
			}
		}
	}
}

// policy looks at everybody's sessions because the policy has changed, and returns whether
// it could.
func (f *Follower) policy(ctx context.Context) bool {
	all, err := f.everybody(ctx, causePolicy, "", f.again)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.failed(err)
	default:
		f.m.looks.WithLabelValues("done").Inc()
		if _, over := f.lost.now(nil); over {
			f.log.Info("sessions are followed again")
		}
	}
	return all && err == nil
}

// failed counts a look that came to nothing because of the store.
func (f *Follower) failed(err error) {
	f.m.looks.WithLabelValues("failed").Inc()
	if begun, _ := f.lost.now(err); begun {
		f.log.Warn("sessions are not followed", "error", err)
	}
}

// takeTurn says whether it is our turn to look: it is until we stop asking. Two who
// believe so do no harm.
func (f *Follower) takeTurn(ctx context.Context) (bool, error) {
	op := &store.Swap{Key: store.FollowTurn(), Absent: true, New: f.self, TTL: f.cfg.Interval + f.cfg.Interval/2}
	err := f.cfg.Store.Do(ctx, store.Seq{op})
	return op.OK, err
}

// passTurn lets another service have the next look, if the last was ours.
func (f *Follower) passTurn() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// Without it the turn lapses.
	_ = f.cfg.Store.Do(ctx, store.Seq{&store.Swap{Key: store.FollowTurn(), Old: f.self, New: "nobody", TTL: time.Millisecond}})
}

// forget drops what is known of directories: when it is our turn again it is old.
func (f *Follower) forget() {
	for _, r := range f.realms {
		r.seen, r.mark = nil, ""
	}
}

// look looks at the sessions of users whose accounts have changed.
func (f *Follower) look(ctx context.Context) {
	all, err := f.all(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		f.failed(err)
		return
	}
	byUser := make(map[string][]session.Seen)
	for _, seen := range all {
		if authz.Followable(&seen.Record) {
			byUser[seen.User] = append(byUser[seen.User], seen)
		}
	}
	var wg sync.WaitGroup
	failed := make([]error, len(f.realms))
	for i, r := range f.realms {
		wg.Go(func() { failed[i] = f.follow(ctx, r, byUser) }) // waited for below
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	failed = slices.DeleteFunc(failed, func(err error) bool { return errors.Is(err, errAway) })
	if err := errors.Join(failed...); err != nil {
		f.failed(err)
		return
	}
	f.m.looks.WithLabelValues("done").Inc()
	if _, over := f.lost.now(nil); over {
		f.log.Info("sessions are followed again")
	}
}

// errAway: a directory did not answer. It has been told of already.
var errAway = errors.New("directory away")

// realm is a realm and how far it has been followed. Only look uses it.
type realm struct {
	directory.Followed
	mark  directory.Mark
	seen  map[string]bool // whom the mark is about
	whole time.Time       // when everybody was asked about
	away  trouble
}

// follow looks at a realm's sessions. Its error is errAway, or the store's.
//
// Whoever was not among the users at the last look is asked about whatever the mark:
// an account may have changed before the mark, and its login have been judged by what
// was cached.
func (f *Follower) follow(ctx context.Context, r *realm, byUser map[string][]session.Seen) error {
	now := time.Now()
	whole := now.Sub(r.whole) >= wholeEvery
	var before, fresh []string
	for name := range byUser {
		switch {
		case !r.Owns(name):
		case whole || r.mark == "" || !r.seen[name]:
			fresh = append(fresh, name)
		default:
			before = append(before, name)
		}
	}
	next, known := r.mark, len(before) > 0
	for _, part := range []struct {
		names []string
		since directory.Mark
	}{{before, r.mark}, {fresh, ""}} {
		slices.Sort(part.names)
		first := true
		for names := range slices.Chunk(part.names, chunk) {
			changed, mark, err := f.changed(ctx, r, names, part.since)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			begun, over := r.away.now(err)
			switch {
			case begun:
				f.m.away.WithLabelValues(r.Realm).Set(1)
				f.log.Warn("a directory is away: its sessions stay as they are", "realm", r.Realm, "error", err)
			case over:
				f.m.away.WithLabelValues(r.Realm).Set(0)
				f.log.Info("sessions follow the directory again", "realm", r.Realm)
			}
			if err != nil {
				return errAway
			}
			// The oldest mark is good for all: with it some may be looked at twice.
			if first && (part.since != "" || !known) {
				next = mark
			}
			first = false
			if err := f.judge(ctx, changed, byUser); err != nil {
				return err // the mark stays: they are looked at again
			}
		}
	}
	r.mark, r.seen = next, make(map[string]bool, len(before)+len(fresh))
	for _, name := range slices.Concat(before, fresh) {
		r.seen[name] = true
	}
	if whole {
		r.whole = now
	}
	return nil
}

func (f *Follower) changed(ctx context.Context, r *realm, names []string, since directory.Mark) ([]directory.Account, directory.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return r.Changed(ctx, names, since)
}

// judge has the sessions of changed accounts looked at again.
func (f *Follower) judge(ctx context.Context, changed []directory.Account, byUser map[string][]session.Seen) error {
	var seen []session.Seen
	accounts := make(map[string]*directory.Account, len(changed))
	for i := range changed {
		accounts[changed[i].Name] = &changed[i]
		seen = append(seen, byUser[changed[i].Name]...)
	}
	return f.review(ctx, causeDirectory, "", seen, accounts)
}

// all reads all sessions.
func (f *Follower) all(ctx context.Context) ([]session.Seen, error) {
	ids, err := f.cfg.Sessions.AllIDs(ctx)
	if err != nil {
		return nil, err
	}
	return f.cfg.Sessions.Look(ctx, ids...)
}
