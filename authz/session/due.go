package session

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"postern/internal/store"
)

// TakeDue takes sessions that are due to be looked at, n of each shard at most, and says
// how many are due and when the next one is, in the store's time; zero: none. Nobody else
// gets one that is taken until Settle writes it down, or a while after its taker died. A
// session that is due stays so until it is settled.
func (r *Registry) TakeDue(ctx context.Context, n int) (due []Seen, waiting int, now, next time.Time, err error) {
	keys := store.Due()
	lapsed, coming := make([]*store.Members, len(keys)), make([]*store.Members, len(keys))
	clock := &store.Time{}
	seqs := make([]store.Seq, len(keys), len(keys)+1)
	for i, k := range keys {
		lapsed[i] = &store.Members{Key: k, Lapsed: true, Limit: min(n, page)}
		coming[i] = &store.Members{Key: k, Limit: 1}
		seqs[i] = store.Seq{lapsed[i], coming[i]}
	}
	if err := r.store.Do(ctx, append(seqs, store.Seq{clock})...); err != nil {
		return nil, 0, time.Time{}, time.Time{}, err
	}
	var ids []string
	for i := range keys {
		waiting += lapsed[i].N
		for _, m := range lapsed[i].List {
			ids = append(ids, m.Name)
		}
		for _, m := range coming[i].List {
			if next.IsZero() || m.Until.Before(next) {
				next = m.Until
			}
		}
	}
	self := rand.Text()
	for some := range slices.Chunk(ids, page) {
		gets := make([]*store.Get, len(some))
		seqs := make([]store.Seq, len(some))
		for i, id := range some {
			gets[i] = &store.Get{Key: store.Session(id)}
			seqs[i] = store.Seq{
				&store.Swap{Key: store.DueTaken(id), Absent: true, New: self, TTL: reviewLease},
				&store.Enter{Key: store.DueAs(id), Member: id, For: reviewLease},
				gets[i],
			}
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return nil, 0, time.Time{}, time.Time{}, err
		}
		var gone []store.Seq
		for i, g := range gets {
			if !seqs[i].OK() { // another service has it
				continue
			}
			rec, err := parseRecord(g.Value)
			if !g.Found || err != nil { // it has ended, or nobody can read it
				gone = append(gone, store.Seq{&store.Leave{Key: store.DueAs(some[i]), Member: some[i]}})
				continue
			}
			due = append(due, Seen{Record: rec, raw: g.Value, taken: self})
		}
		if len(gone) > 0 {
			if err := r.store.Do(ctx, gone...); err != nil {
				return nil, 0, time.Time{}, time.Time{}, err
			}
		}
	}
	return due, waiting, clock.Now, next, nil
}
