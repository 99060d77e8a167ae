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
		ids, err := r.members(ctx, store.NodeLive(node), lapsed)
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
		ids, err := r.members(ctx, store.NodeLive(node), true)
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
func (r *Registry) end(ctx context.Context, node string, ids []string, which func(Record) (time.Time, Cause, bool)) (ended int, err error) {
	for len(ids) > 0 {
		n := min(page, len(ids))
		recs, err := r.records(ctx, ids[:n])
		if err != nil {
			return ended, err
		}
		found := map[string]bool{}
		for _, rec := range recs {
			found[rec.ID] = true
			at, cause, yes := which(rec)
			switch {
			case !yes:
			case rec.State == Pending:
				// The lease is left to lapse: a start may yet come.
				keep := rec
				keep.Pool = ""
				own := slices.Concat(store.Seq{&store.Delete{Key: store.Session(rec.ID)}}, noWaits(rec.ID), noPlaces(&rec))
				if cause == NASReboot { // else a late start finds why it was to end
					own = append(own, &store.Delete{Key: store.SessionWhy(rec.ID)})
				}
				seqs := append(r.forget(keep), own)
				if err := r.store.Do(ctx, seqs...); err != nil {
					return ended, err
				}
			default:
				out, err := r.Stop(ctx, Report{Node: rec.Node, Acct: rec.Acct, At: at, Usage: rec.Usage, Cause: cause, own: true})
				if err != nil {
					return ended, err
				}
				if out.First {
					ended++
				}
			}
		}
		var gone []store.Seq // ended already; only the index remembers
		for _, id := range ids[:n] {
			if !found[id] {
				gone = append(gone, store.Seq{&store.Leave{Key: store.NodeLive(node), Member: id}})
			}
		}
		if len(gone) > 0 {
			if err := r.store.Do(ctx, gone...); err != nil {
				return ended, err
			}
		}
		ids = ids[n:]
	}
	return ended, nil
}
