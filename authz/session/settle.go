package session

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

// dueAgain keeps a session that is due all the time from being looked at all the time.
const dueAgain = 100 * time.Millisecond

// Settlement is what a look at a session comes to.
type Settlement struct {
	Seen Seen
	Next Record // what is to stand in its place; its Due is when it is to be looked at next
	Wish *Wish  // of its NAS; nil: none

	Done  bool // it was written; else the session has changed since, or ended: look again
	Fresh bool // the wish was written; an end may be wished already
}

// Settle writes settlements down. Each is one sequence of the store, whose guard is that
// the session is still as it was seen: of several services that looked at once one is
// done, and record, wish and the instants at which somebody has to look are never apart.
func (r *Registry) Settle(ctx context.Context, all ...*Settlement) error {
	if len(all) == 0 {
		return nil
	}
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{clock}); err != nil {
		return err
	}
	self := rand.Text()
	for some := range slices.Chunk(all, page) {
		seqs := make([]store.Seq, len(some))
		for i, s := range some {
			seq, err := r.settle(s, clock.Now, self)
			if err != nil {
				return err
			}
			seqs[i] = seq
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return err
		}
		for i, s := range some {
			s.Done = seqs[i][0].(*store.Swap).OK
			s.Fresh = s.Wish != nil && seqs[i].OK()
		}
	}
	return nil
}

func (r *Registry) settle(s *Settlement, now time.Time, self string) (store.Seq, error) {
	id := s.Seen.ID
	s.Next.Settled = self
	seq := store.Seq{&store.Swap{Key: store.Session(id), Old: s.Seen.raw, New: s.Next.marshal(), TTL: r.Silence() + recordSlack}}
	seq = append(seq, noWaits(id)...)
	ends := s.Wish != nil && s.Wish.Kind == WishEnd
	if !ends { // one that has to end is waited for no longer
		seq = append(seq, waits(&s.Next, now, dueAgain)...)
	}
	if !strings.EqualFold(s.Seen.Device, s.Next.Device) {
		seq = append(seq, noPlaces(&s.Seen.Record)...)
		seq = append(seq, places(&s.Next, r.Silence())...)
	}
	if s.Seen.taken != "" {
		seq = append(seq, &store.Delete{Key: store.DueTaken(id)})
	}
	if s.Wish == nil {
		return seq, nil
	}
	s.Wish.Session, s.Wish.Opened = id, s.Seen.Opened
	wish, err := s.Wish.seq()
	return append(seq, wish...), err // last: an end that is wished already stops the sequence
}
