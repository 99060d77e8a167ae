package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"postern/internal/store"
)

const (
	// maxReviews is how many users may wait to be looked at. When more are asked for,
	// everybody is looked at, which is as many in the worst case.
	maxReviews = 20_000
	// reviewLease is how long a service that looks at a user keeps others away. One that
	// dies is taken over from after so long; two that look at once do no harm.
	reviewLease = 10 * time.Second
	// reviewLife is how long it is remembered that somebody is to be looked at.
	reviewLife = 7 * 24 * time.Hour
	// reviewDone keeps what became of a review, for a call that is repeated because its
	// answer was lost.
	reviewDone = time.Second
)

// Everybody stands for all users in a list of those to be looked at.
const Everybody = ""

// ReviewsTopic is where it is published that users are to be looked at again. What is
// published says nothing: the list does.
const ReviewsTopic = "reviews"

// Asked is a user whose sessions are to be looked at again, as taken by one service.
type Asked struct {
	User string    `json:"-"` // canonical, or Everybody
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
	Call string    `json:"call"` // tells two calls apart that say the same

	raw   string // as it stands in the store
	found bool
	taker string
}

// AskReview notes that the users' live sessions are to be looked at again, whyever, and
// tells all services so; one of them does it within a second, also when the message is
// lost. A user who is being looked at right then is looked at once more. Names are
// canonical.
func (r *Registry) AskReview(ctx context.Context, why string, users ...string) error {
	users = slices.Clone(users)
	slices.Sort(users)
	if users = slices.Compact(users); len(users) == 0 {
		return nil
	}
	waiting, clock := &store.Members{Key: store.Reviews(), Lapsed: true}, &store.Time{}
	if err := r.store.Do(ctx, store.Seq{waiting, clock}); err != nil {
		return err
	}
	if waiting.N+len(users) > maxReviews || users[0] == Everybody {
		users = []string{Everybody}
	}
	b, err := json.Marshal(Asked{Why: why, At: clock.Now, Call: rand.Text()})
	if err != nil {
		return fmt.Errorf("ask for a review: %w", err)
	}
	for some := range slices.Chunk(users, page) {
		seqs := make([]store.Seq, len(some))
		for i, u := range some {
			seqs[i] = store.Seq{
				&store.Put{Key: store.Review(u), Value: string(b), TTL: reviewLife},
				&store.Enter{Key: store.Reviews(), Member: u}, // to be taken now
			}
		}
		last := len(seqs) - 1
		seqs[last] = append(seqs[last], &store.Publish{Topic: ReviewsTopic, Message: "asked"})
		if err := r.store.Do(ctx, seqs...); err != nil {
			return err
		}
	}
	return nil
}

// TakeReviews takes up to n of the users who wait to be looked at, those first who have
// waited longest, and says how many there were. Nobody else gets one that is taken until
// FinishReviews gives him back, or a while after its taker died.
func (r *Registry) TakeReviews(ctx context.Context, n int) (taken []Asked, waiting int, err error) {
	list := &store.Members{Key: store.Reviews(), Lapsed: true, Limit: min(n, page)}
	if err := r.store.Do(ctx, store.Seq{list}); err != nil || len(list.List) == 0 {
		return nil, 0, err
	}
	self := rand.Text()
	what := make([]*store.Get, len(list.List))
	seqs := make([]store.Seq, len(list.List))
	for i, m := range list.List {
		what[i] = &store.Get{Key: store.Review(m.Name)}
		seqs[i] = store.Seq{
			&store.Swap{Key: store.ReviewTaken(m.Name), Absent: true, New: self, TTL: reviewLease},
			&store.Enter{Key: store.Reviews(), Member: m.Name, For: reviewLease},
			what[i],
		}
	}
	if err := r.store.Do(ctx, seqs...); err != nil {
		return nil, 0, err
	}
	for i, m := range list.List {
		if !seqs[i].OK() {
			continue
		}
		a := Asked{At: m.Until}
		if what[i].Found {
			if err := json.Unmarshal([]byte(what[i].Value), &a); err != nil {
				a = Asked{At: m.Until} // he is looked at for no reason that we know
			}
		}
		a.User, a.raw, a.found, a.taker = m.Name, what[i].Value, what[i].Found, self
		taken = append(taken, a)
	}
	return taken, list.N, nil
}

// FinishReviews gives users back who were looked at. Who was asked for since he was taken
// stays on the list.
func (r *Registry) FinishReviews(ctx context.Context, done []Asked) error {
	for some := range slices.Chunk(done, page/2) {
		var seqs []store.Seq
		for _, a := range some {
			seqs = append(seqs,
				store.Seq{
					&store.Swap{Key: store.Review(a.User), Absent: !a.found, Old: a.raw, New: "done " + a.taker, TTL: reviewDone},
					&store.Leave{Key: store.Reviews(), Member: a.User},
				},
				store.Seq{&store.Swap{Key: store.ReviewTaken(a.User), Old: a.taker, New: "nobody", TTL: time.Millisecond}},
			)
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return err
		}
	}
	return nil
}
