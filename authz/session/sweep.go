package session

import (
	"context"
	"slices"
	"time"

	"postern/internal/store"
)

// page bounds how many sessions one trip looks at.
const page = 500

// NodeRestarted reports Accounting-On or -Off: every session of the node opened
// before ended then (RFC 2866 §5.1). It returns how many.
func (r *Registry) NodeRestarted(ctx context.Context, node string, at time.Time) (int, error) {
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{clock}); err != nil {
		return 0, err
	}
	if at.IsZero() || at.After(clock.Now) {
		at = clock.Now
	}
	ended := 0
	for _, lapsed := range []bool{false, true} {
		ids, err := r.entries(ctx, store.NodeLive(node), lapsed)
		if err != nil {
			return ended, err
		}
		n, err := r.end(ctx, node, ids, func(rec Record) (time.Time, Cause, bool) {
			return at, NASReboot, !rec.Opened.After(at)
		})
		ended += n
		if err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// Sweep ends the sessions that have been silent for too long, with the time of
// their last word and cause Lost-Carrier, and forgets pending ones that never
// started. Any number of services may sweep at once. It returns how many ended.
func (r *Registry) Sweep(ctx context.Context) (int, error) {
	nodes, err := r.allNodes(ctx)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, node := range nodes {
		ids, err := r.entries(ctx, store.NodeLive(node), true)
		if err != nil {
			return ended, err
		}
		n, err := r.end(ctx, node, ids, func(rec Record) (time.Time, Cause, bool) {
			return rec.Touched, LostCarrier, true
		})
		ended += n
		if err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// end stops the sessions that which picks.
func (r *Registry) end(ctx context.Context, node string, of []store.Member, which func(Record) (time.Time, Cause, bool)) (ended int, err error) {
	for some := range slices.Chunk(of, page) {
		ids := make([]string, len(some))
		for i, m := range some {
			ids[i] = m.Name
		}
		seen, err := r.Look(ctx, ids...)
		if err != nil {
			return ended, err
		}
		found := make(map[string]*Seen, len(seen))
		for i := range seen {
			found[seen[i].ID] = &seen[i]
		}
		var gone []store.Seq // ended already; only the index remembers
		for _, m := range some {
			s := found[m.Name]
			if s == nil {
				gone = append(gone, store.Seq{noEntry(node, m)})
				continue
			}
			first, err := r.endOne(ctx, s, m, which)
			if err != nil {
				return ended, err
			}
			if first {
				ended++
			}
		}
		if len(gone) > 0 {
			if err := r.store.Do(ctx, gone...); err != nil {
				return ended, err
			}
		}
	}
	return ended, nil
}

// noEntry takes a session from among its node's, unless a report has come meanwhile: then
// it lives, or somebody will come by it again.
func noEntry(node string, m store.Member) store.Op {
	return &store.Leave{Key: store.NodeLive(node), Member: m.Name, Until: m.Until}
}

// endOne stops a session, or forgets one that nobody has reported; true: it ended now.
func (r *Registry) endOne(ctx context.Context, s *Seen, m store.Member, which func(Record) (time.Time, Cause, bool)) (bool, error) {
	for range changes {
		at, cause, yes := which(s.Record)
		if !yes {
			return false, nil
		}
		if s.State != Pending {
			out, err := r.Stop(ctx, Report{Node: s.Node, Acct: s.Acct, At: at, Usage: s.Usage, Cause: cause, own: true})
			return out.First, err
		}
		forgotten, err := r.forgetPending(ctx, s, m, cause)
		if forgotten || err != nil {
			return false, err
		}
		again, err := r.Look(ctx, s.ID) // its start has just come
		if err != nil || len(again) == 0 {
			return false, err
		}
		s = &again[0]
	}
	return false, errChanging
}

// forgetPending forgets a session that was never reported; false: it was, just now. The
// lease is left to lapse, and so are places that a start takes again: one may yet come.
func (r *Registry) forgetPending(ctx context.Context, s *Seen, m store.Member, cause Cause) (bool, error) {
	still := &store.Swap{Key: store.Session(s.ID), Old: s.raw, New: s.raw, TTL: recordSlack}
	seq := slices.Concat(store.Seq{still, &store.Delete{Key: store.Session(s.ID)}}, noWaits(s.ID), noPlaces(&s.Record))
	if cause == NASReboot { // else a late start finds why it was to end
		seq = append(seq, &store.Delete{Key: store.SessionWhy(s.ID)})
	}
	if err := r.store.Do(ctx, seq); err != nil || !still.OK {
		return false, err
	}
	seqs := []store.Seq{{noEntry(s.Node, m)}}
	if lapsed := cause == LostCarrier && !m.Until.IsZero(); s.User != "" && !lapsed { // else its seat has, too
		seqs = append(seqs, noSeat(&s.Record))
	}
	return true, r.store.Do(ctx, seqs...)
}
