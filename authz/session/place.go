package session

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"postern/internal/store"
)

const (
	// spare is how many more sessions than a limit may have to go at once because newer
	// ones replaced them: a NAS that ends none must not be a way around the limit, and a
	// user whose node has died may redial a few times before its sessions lapse.
	spare = 3
	// placeLapsed is how long an index remembers an address, or a device, that no session
	// has any more: nobody sweeps by it.
	placeLapsed = time.Hour
)

// places is where a session is found besides under its ID: by its address and its device.
// It goes into the session's own sequence.
func places(rec *Record, life time.Duration) store.Seq {
	var seq store.Seq
	for _, k := range placesOf(rec) {
		seq = append(seq, &store.Enter{Key: k, Member: rec.ID, For: life, Lapsed: placeLapsed})
	}
	return seq
}

// noPlaces ends what places began.
func noPlaces(rec *Record) store.Seq {
	var seq store.Seq
	for _, k := range placesOf(rec) {
		seq = append(seq, &store.Leave{Key: k, Member: rec.ID})
	}
	return seq
}

func placesOf(rec *Record) []store.Key {
	var ks []store.Key
	if rec.Addr.IsValid() {
		ks = append(ks, store.SessionAt(rec.ID, rec.Addr))
	}
	if rec.Device != "" {
		ks = append(ks, store.SessionOn(rec.ID, rec.Device))
	}
	return ks
}

// noSeat takes a session from among its user's.
func noSeat(rec *Record) store.Seq {
	return store.Seq{
		&store.Leave{Key: store.UserLive(rec.User), Member: rec.ID},
		&store.Leave{Key: store.UserSince(rec.User), Member: rec.ID},
	}
}

// ByAddr lists the live sessions that have an address; that is one, unless a NAS gives
// addresses of its own.
func (r *Registry) ByAddr(ctx context.Context, a netip.Addr) ([]Record, error) {
	a = a.Unmap()
	return r.placed(ctx, store.At(a), func(rec *Record) bool { return rec.Addr.Unmap() == a })
}

// ByDevice lists the live sessions that come from a device.
func (r *Registry) ByDevice(ctx context.Context, device string) ([]Record, error) {
	return r.placed(ctx, store.On(device), func(rec *Record) bool { return strings.EqualFold(rec.Device, device) })
}

// placed reads an index; a session may have moved since it was entered.
func (r *Registry) placed(ctx context.Context, keys []store.Key, still func(*Record) bool) ([]Record, error) {
	ids, err := r.membersOf(ctx, keys, false)
	if err != nil {
		return nil, err
	}
	recs, err := r.records(ctx, ids)
	if err != nil {
		return nil, err
	}
	var out []Record
	for i := range recs {
		if still(&recs[i]) {
			out = append(out, recs[i])
		}
	}
	return out, nil
}

// Replaced are the sessions that lost their places to this one, once the commit was done.
func (o *Opening) Replaced() []string { return o.admit.Replaced }

// Going are all sessions of the user that have to go.
func (o *Opening) Going() []string { return o.admit.Going }

// Restore gives those back their places whom a session replaced that did not come up, as
// far as others have not taken them meanwhile. It returns those who still have to go. The
// session itself has been abandoned.
func (o *Opening) Restore(ctx context.Context) ([]string, error) {
	if len(o.admit.Replaced) == 0 {
		return nil, nil
	}
	back := &store.Readmit{Live: o.admit.Live, Since: o.admit.Since, Max: o.admit.Max, Names: o.admit.Replaced}
	if err := o.r.store.Do(ctx, store.Seq{back}); err != nil {
		return nil, err
	}
	again := make(map[string]bool)
	for _, id := range back.Back {
		again[id] = true
	}
	var gone []string
	for _, id := range o.admit.Replaced {
		if !again[id] {
			gone = append(gone, id)
		}
	}
	return gone, nil
}

// Dismiss has sessions end that have to go. What w says of a session is filled in. It
// returns the sessions.
func (r *Registry) Dismiss(ctx context.Context, ids []string, w Wish) ([]Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	recs, err := r.records(ctx, ids)
	if err != nil || len(recs) == 0 {
		return nil, err
	}
	_, err = r.AskEnds(ctx, recs, w)
	return recs, err
}
