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
	// writers bounds how many wishes are written down at once.
	writers = 16
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
			owed = !f.look(ctx, true)
		case <-timer.C:
			// Never later than configured.
			timer.Reset(f.cfg.Interval - rand.N(f.cfg.Interval/10))
			mine, err := f.takeTurn(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				f.failed(err)
			case owed:
				owed = !f.look(ctx, true)
			case mine:
				f.look(ctx, false)
			default:
				f.m.looks.WithLabelValues("another's").Inc()
				f.forget()
			}
		}
	}
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

// look looks at every session's user; with whole whatever the directories say has
// changed. It returns whether it could.
func (f *Follower) look(ctx context.Context, whole bool) bool {
	all, err := f.cfg.Sessions.All(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		f.failed(err)
		return false
	}
	byUser := make(map[string][]session.Record)
	for _, rec := range all {
		if authz.Followable(&rec) {
			byUser[rec.User] = append(byUser[rec.User], rec)
		}
	}
	var wg sync.WaitGroup
	failed := make([]error, len(f.realms))
	for i, r := range f.realms {
		wg.Go(func() { failed[i] = f.follow(ctx, r, byUser, whole) }) // waited for below
	}
	wg.Wait()
	if ctx.Err() != nil {
		return false
	}
	whole = !slices.ContainsFunc(failed, func(err error) bool { return err != nil })
	failed = slices.DeleteFunc(failed, func(err error) bool { return errors.Is(err, errAway) })
	if err := errors.Join(failed...); err != nil {
		f.failed(err)
		return false
	}
	f.m.looks.WithLabelValues("done").Inc()
	if _, over := f.lost.now(nil); over {
		f.log.Info("sessions are followed again")
	}
	return whole
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
func (f *Follower) follow(ctx context.Context, r *realm, byUser map[string][]session.Record, whole bool) error {
	now := time.Now()
	whole = whole || now.Sub(r.whole) >= wholeEvery
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
func (f *Follower) judge(ctx context.Context, changed []directory.Account, byUser map[string][]session.Record) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	slots := make(chan struct{}, writers)
	for i := range changed {
		for _, rec := range byUser[changed[i].Name] {
			review := f.cfg.Judge.Reevaluate(&rec, &changed[i])
			if review.Reason == authz.Permitted {
				continue
			}
			slots <- struct{}{}
			wg.Go(func() { // waited for below
				defer func() { <-slots }()
				if err := f.want(ctx, &rec, review); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = err
				}
			})
		}
	}
	wg.Wait()
	return failed
}

// want writes down that a session should end.
func (f *Follower) want(ctx context.Context, rec *session.Record, why authz.Review) error {
	fresh, err := f.cfg.Sessions.AskEnd(ctx, session.Wish{
		Session: rec.ID, Opened: rec.Opened, Reason: why.Reason.String(), Detail: why.Detail, Rule: why.Rule, Policy: why.Policy,
		Text: f.cfg.Judge.Parting(why.Reason), Asked: time.Now().UTC(),
	})
	if err != nil || !fresh {
		return err
	}
	f.m.decided.WithLabelValues(why.Reason.String()).Inc()
	f.log.Info("session must end", "session", rec.ID, "user", rec.User, "reason", why.Reason.String(), "detail", why.Detail)
	poke(f.wish)
	return nil
}
