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

// Errors of Release.
var (
	ErrGone    = errors.New("the session has ended")
	ErrNotHeld = errors.New("the session is not in quarantine")
)

// Release lets a session out of quarantine: amend changes its record, and w, a change,
// is wished of its NAS. Of several calls one wins; the others get ErrNotHeld. Record
// and wish are written together, so that whoever was released is let through as well.
func (r *Registry) Release(ctx context.Context, rec Record, w Wish, amend func(*Record)) (Record, error) {
	w.Kind, w.Session, w.Opened = WishChange, rec.ID, rec.Opened
	wish, err := w.seq()
	if err != nil {
		return Record{}, err
	}
	wish = append(wish, &store.Leave{Key: store.Held(), Member: rec.ID})
	self := rand.Text() // two calls that write the same would both win
	for range changes {
		get := &store.Get{Key: store.Session(rec.ID)}
		if err := r.store.Do(ctx, store.Seq{get}); err != nil {
			return Record{}, err
		}
		if !get.Found {
			return Record{}, ErrGone
		}
		now, err := parseRecord(get.Value)
		switch {
		case err != nil:
			return Record{}, err
		case !now.Opened.Equal(rec.Opened):
			return Record{}, ErrGone
		case now.Quarantine.IsZero():
			return now, ErrNotHeld
		}
		amend(&now)
		now.Quarantine, now.Demands, now.Released = time.Time{}, "", self
		write := &store.Swap{Key: store.Session(rec.ID), Old: get.Value, New: now.marshal(), TTL: r.silence() + recordSlack}
		if err := r.store.Do(ctx, store.Seq{write}, wish); err != nil {
			return Record{}, err
		}
		if write.OK {
			return now, nil
		}
	}
	return Record{}, fmt.Errorf("session %s: %w", rec.ID, errChanging)
}

// Overdue lists sessions that should have left quarantine, one way or the other, and
// that their NAS has not ended. AskEnd takes one off the list.
func (r *Registry) Overdue(ctx context.Context) ([]Record, error) {
	ids, err := r.members(ctx, store.Held(), true)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{clock}); err != nil {
		return nil, err
	}
	recs, err := r.records(ctx, ids[:min(page, len(ids))])
	if err != nil {
		return nil, err
	}
	held := make(map[string]bool)
	recs = slices.DeleteFunc(recs, func(rec Record) bool {
		if rec.Quarantine.IsZero() || rec.Quarantine.After(clock.Now) {
			return true
		}
		held[rec.ID] = true
		return false
	})
	var gone store.Seq
	for _, id := range ids[:min(page, len(ids))] {
		if !held[id] && len(gone) < leaves {
			gone = append(gone, &store.Leave{Key: store.Held(), Member: id})
		}
	}
	if len(gone) == 0 {
		return recs, nil
	}
	return recs, r.store.Do(ctx, gone)
}

// leaves is how many go off the list at once; the others do at the next look.
const leaves = 50
