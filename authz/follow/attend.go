package follow

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/store"
)

const (
	// attendEvery is how often is looked for reviews that were asked for, or are due,
	// whether we were told of any or not.
	attendEvery = time.Second
	// perShard is how many sessions that are due are taken of each shard at once.
	perShard = 32
)

// attend looks at the sessions of users that somebody asked for, and at those whose
// instant has come, until ctx ends. Each is looked at by one service of all.
func (f *Follower) attend(ctx context.Context) {
	told, away := f.hear(ctx), trouble(false)
	ticker := time.NewTicker(attendEvery)
	defer ticker.Stop()
	for {
		next, err := f.attendTo(ctx)
		if ctx.Err() != nil {
			return
		}
		if begun, over := away.now(err); begun {
			f.log.Warn("sessions are not reviewed", "error", err)
		} else if over {
			f.log.Info("sessions are reviewed again")
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-ticker.C:
			if told == nil {
				told = f.hear(ctx)
			}
		case _, open := <-told:
			if told = f.gather(ctx, told); !open {
				told = nil
			}
		}
		timer.Stop()
	}
}

// gather waits a moment for more of the same.
func (f *Follower) gather(ctx context.Context, told <-chan string) <-chan string {
	enough := time.After(gather)
	for {
		select {
		case <-ctx.Done():
			return told
		case <-enough:
			return told
		case _, open := <-told:
			if !open {
				return nil
			}
		}
	}
}

// hear is where it is told that a review is asked for; nil while the store is away.
func (f *Follower) hear(ctx context.Context) <-chan string {
	c, err := f.cfg.Store.Watch(ctx, session.ReviewsTopic)
	if err != nil {
		return nil // they are looked for all the same, only later
	}
	return c
}

// attendTo attends to all that there is, and returns in how long there is more for sure.
func (f *Follower) attendTo(ctx context.Context) (time.Duration, error) {
	for ctx.Err() == nil {
		asked, err := f.attendAsked(ctx)
		if err != nil {
			return attendEvery, err
		}
		due, next, err := f.attendDue(ctx)
		if err != nil {
			return attendEvery, err
		}
		f.m.backlog.Set(float64(asked.left + due.left))
		if asked.done+due.done == 0 {
			return next, nil
		}
	}
	return attendEvery, nil
}

// tally is how many were attended to, and how many are left for others or later.
type tally struct{ done, left int }

// attendAsked looks at users that somebody asked for. Those whose directory is away stay
// on the list.
func (f *Follower) attendAsked(ctx context.Context) (tally, error) {
	taken, waiting, err := f.cfg.Sessions.TakeReviews(ctx, together)
	if err != nil || len(taken) == 0 {
		return tally{left: waiting}, err
	}
	why := make(map[string]string, len(taken))
	var names []string
	all := true // of Everybody's directories have answered
	for _, a := range taken {
		if a.User != session.Everybody {
			// Who asks may have the name from elsewhere, in other letters.
			why[strings.ToLower(a.User)], names = a.Why, append(names, a.User)
		} else if all, err = f.everybody(ctx, causeAsked, a.Why, nil); err != nil {
			return tally{}, err
		}
	}
	seen, err := f.cfg.Sessions.SeenOf(ctx, names...)
	if err != nil {
		return tally{}, err
	}
	got := f.ask(ctx, users(seen), nil)
	for _, said := range causes(why) {
		some := slices.DeleteFunc(slices.Clone(seen), func(s session.Seen) bool { return why[strings.ToLower(s.User)] != said })
		if err := f.review(ctx, causeAsked, said, some, got.accounts); err != nil {
			return tally{}, err
		}
	}
	now, err := f.now(ctx)
	if err != nil {
		return tally{}, err
	}
	away := make(map[string]bool, len(got.away))
	for u := range got.away {
		away[strings.ToLower(u)] = true
	}
	var done []session.Asked
	for _, a := range taken {
		if a.User == session.Everybody && !all || away[strings.ToLower(a.User)] {
			continue
		}
		done = append(done, a)
		f.m.late.Observe(now.Sub(a.At).Seconds())
	}
	return tally{done: len(done), left: max(waiting-len(done), 0)}, f.cfg.Sessions.FinishReviews(ctx, done)
}

// causes are the different values of a map.
func causes(why map[string]string) []string {
	var all []string
	for _, w := range why {
		if !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	slices.Sort(all)
	return all
}

// attendDue looks at sessions whose instant has come, and returns in how long the next
// one's does.
func (f *Follower) attendDue(ctx context.Context) (tally, time.Duration, error) {
	seen, waiting, now, coming, err := f.cfg.Sessions.TakeDue(ctx, perShard)
	if err != nil {
		return tally{}, attendEvery, err
	}
	next := attendEvery
	if !coming.IsZero() {
		next = min(next, max(coming.Sub(now), 0)+time.Millisecond) // the store counts milliseconds
	}
	got := f.ask(ctx, users(seen), nil)
	if err := f.review(ctx, causeDue, "", seen, got.accounts); err != nil {
		return tally{}, attendEvery, err
	}
	done := 0
	var nobodys []*session.Settlement // that no directory knows anything of
	for i := range seen {
		s := &seen[i]
		if got.away[s.User] {
			continue
		}
		done++
		f.m.late.Observe(max(now.Sub(s.Due), 0).Seconds())
		if got.accounts[s.User] == nil || !authz.Followable(&s.Record) {
			nobody := &session.Settlement{Seen: *s, Next: s.Record}
			nobody.Next.Due = time.Time{}
			nobodys = append(nobodys, nobody)
		}
	}
	return tally{done: done, left: max(waiting-done, 0)}, next, f.cfg.Sessions.Settle(ctx, nobodys...)
}

// now is the store's time.
func (f *Follower) now(ctx context.Context) (time.Time, error) {
	clock := &store.Time{}
	err := f.cfg.Store.Do(ctx, store.Seq{clock})
	return clock.Now, err
}
