package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/internal/store"
)

// heldSlack is how much later than we a NAS may end a session that stays in
// quarantine: its count began when our answer reached it.
const heldSlack = 30 * time.Second

// Errors of Release and Amend.
var (
	ErrGone    = errors.New("the session has ended")
	ErrNotHeld = errors.New("the session is not in quarantine")
)

// waits is what has somebody look after a session in time: when it must have left
// quarantine, and when it is due, which is not before soonest.
func waits(rec *Record, now time.Time, soonest time.Duration) store.Seq {
	var seq store.Seq
	for _, w := range []struct {
		key store.Key
		at  time.Time
		and time.Duration
		min time.Duration
	}{{store.HeldAs(rec.ID), rec.Quarantine, heldSlack, 0}, {store.DueAs(rec.ID), rec.Due, 0, soonest}} {
		if !w.at.IsZero() {
			seq = append(seq, &store.Enter{Key: w.key, Member: rec.ID, For: max(w.at.Sub(now)+w.and, w.min)})
		}
	}
	return seq
}

// noWaits ends what waits began.
func noWaits(id string) store.Seq {
	return store.Seq{&store.Leave{Key: store.HeldAs(id), Member: id}, &store.Leave{Key: store.DueAs(id), Member: id}}
}

// Release lets a session out of quarantine: amend changes its record, and w, a change,
// is wished of its NAS. Of several calls one wins; the others get ErrNotHeld. Record
// and wish are one sequence of the store.
func (r *Registry) Release(ctx context.Context, rec Record, w Wish, amend func(*Record)) (Record, error) {
	w.Kind, w.Session, w.Opened = WishChange, rec.ID, rec.Opened
	self := rand.Text() // two calls that write the same would both win
	return r.amend(ctx, rec, &w, func(now *Record) {
		amend(now)
		now.Quarantine, now.Demands, now.Isolated, now.Released = time.Time{}, "", false, self
	})
}

// Amend changes the record of a session that is in quarantine and stays there.
func (r *Registry) Amend(ctx context.Context, rec Record, amend func(*Record)) (Record, error) {
	return r.amend(ctx, rec, nil, amend)
}

func (r *Registry) amend(ctx context.Context, rec Record, w *Wish, amend func(*Record)) (Record, error) {
	for range changes {
		seen, err := r.Look(ctx, rec.ID)
		switch {
		case err != nil:
			return Record{}, err
		case len(seen) == 0 || !seen[0].Opened.Equal(rec.Opened):
			return Record{}, ErrGone
		case seen[0].Quarantine.IsZero():
			return seen[0].Record, ErrNotHeld
		}
		s := Settlement{Seen: seen[0], Next: seen[0].Record, Wish: w}
		amend(&s.Next)
		if err := r.Settle(ctx, &s); err != nil {
			return Record{}, err
		}
		if s.Done {
			return s.Next, nil
		}
	}
	return Record{}, fmt.Errorf("session %s: %w", rec.ID, errChanging)
}

// Overdue lists sessions that should have left quarantine, one way or the other, and
// that their NAS has not ended. AskEnd takes one off the list.
func (r *Registry) Overdue(ctx context.Context) ([]Seen, error) {
	ids, err := r.membersOf(ctx, store.Held(), true)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{clock}); err != nil {
		return nil, err
	}
	ids = ids[:min(page, len(ids))]
	seen, err := r.Look(ctx, ids...)
	if err != nil {
		return nil, err
	}
	held := make(map[string]bool)
	seen = slices.DeleteFunc(seen, func(s Seen) bool {
		if s.Quarantine.IsZero() || s.Quarantine.After(clock.Now) {
			return true
		}
		held[s.ID] = true
		return false
	})
	var gone []store.Seq
	for _, id := range ids {
		if !held[id] {
			gone = append(gone, store.Seq{&store.Leave{Key: store.HeldAs(id), Member: id}})
		}
	}
	if len(gone) == 0 {
		return seen, nil
	}
	return seen, r.store.Do(ctx, gone...)
}
