package session

import (
	"cmp"
	"context"
	"slices"
	"time"

	"postern/internal/store"
)

// Span is a session as the history has it, from its start to its stop: what its last event
// says of it.
type Span struct {
	Record
	// How often it starts and stops. Both are one, but for a session that goes on, and
	// one whose start is older than the history.
	Starts int `json:"starts"`
	Stops  int `json:"stops"`
}

// Last is when the session ended, or began if it has not.
func (s *Span) Last() time.Time {
	if s.Ended.IsZero() {
		return s.Started
	}
	return s.Ended
}

// Spans puts the events of the history together that are of one session. Those are left
// out that match says no to, nil: none, and those without an event since a moment. Of what
// is left the newest are returned, limit at most, oldest first.
func (r *Registry) Spans(ctx context.Context, since time.Time, limit int, match func(*Record) bool) ([]Span, error) {
	spans := make(map[string]*Span)
	add := func(e *Event) {
		if match != nil && !match(&e.Record) {
			return
		}
		key := e.ID + e.Opened.UTC().Format(time.RFC3339Nano) // an ID may return
		s := spans[key]
		if s == nil {
			s = &Span{Record: e.Record}
			spans[key] = s
		}
		if e.Kind == EventStop {
			s.Record, s.Stops = e.Record, s.Stops+1
		} else {
			s.Starts++
		}
	}
	var err error
	if match == nil && since.IsZero() {
		err = r.newest(ctx, 2*limit, add)
	} else {
		err = r.walk(ctx, since, add)
	}
	if err != nil {
		return nil, err
	}
	all := make([]Span, 0, len(spans))
	for _, s := range spans {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Span) int {
		return cmp.Or(a.Last().Compare(b.Last()), cmp.Compare(a.ID, b.ID))
	})
	return all[max(0, len(all)-limit):], nil
}

// newest visits the newest events, n at least, in no order.
func (r *Registry) newest(ctx context.Context, n int, visit func(*Event)) error {
	keys := store.Histories()
	reads, seqs := make([]*store.Read, len(keys)), make([]store.Seq, len(keys))
	for i, k := range keys {
		reads[i] = &store.Read{Key: k, Newest: true, Limit: n}
		seqs[i] = store.Seq{reads[i]}
	}
	if err := r.store.Do(ctx, seqs...); err != nil {
		return err
	}
	for _, op := range reads {
		if err := each(op.Events, visit); err != nil {
			return err
		}
	}
	return nil
}

// walk visits all events since a moment, those of one session in order. They are read some
// at a time: what is kept of them is the visitor's affair.
func (r *Registry) walk(ctx context.Context, since time.Time, visit func(*Event)) error {
	var from store.EventID
	if !since.IsZero() && since.UnixMilli() > 0 {
		from.MS = uint64(since.UnixMilli()) // what happened since was not written down before
	}
	for _, k := range store.Histories() {
		for after := from; ; {
			op := &store.Read{Key: k, After: after, Limit: page}
			if err := r.store.Do(ctx, store.Seq{op}); err != nil {
				return err
			}
			if err := each(op.Events, visit); err != nil {
				return err
			}
			if len(op.Events) < page {
				break
			}
			after = op.Events[len(op.Events)-1].ID
		}
	}
	return nil
}

func each(events []store.Event, visit func(*Event)) error {
	for _, e := range events {
		ev, err := parseEvent(e.Data)
		if err != nil {
			return err
		}
		visit(&ev)
	}
	return nil
}

// EventsOf lists the events of sessions that match, oldest first.
func (r *Registry) EventsOf(ctx context.Context, since time.Time, match func(*Record) bool) ([]Event, error) {
	var all []Event
	err := r.walk(ctx, since, func(e *Event) {
		if match(&e.Record) {
			all = append(all, *e)
		}
	})
	slices.SortStableFunc(all, func(a, b Event) int { return a.At.Compare(b.At) })
	return all, err
}

// Ending lists the sessions that are wished to end, by ID.
func (r *Registry) Ending(ctx context.Context) (map[string]bool, error) {
	names, err := r.Wishes(ctx)
	if err != nil {
		return nil, err
	}
	prefix := wishName(WishEnd, "")
	ending := make(map[string]bool)
	for _, name := range names {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			ending[name[len(prefix):]] = true
		}
	}
	return ending, nil
}

// WishOf reads what is wished of a session.
func (r *Registry) WishOf(ctx context.Context, k WishKind, id string) (w Wish, found bool, err error) {
	w, _, found, err = r.Wish(ctx, wishName(k, id))
	return w, found && w.Kind == k, err
}

// Asking says whether a user's sessions are still to be looked at again, see AskReview.
func (r *Registry) Asking(ctx context.Context, user string) (bool, error) {
	var asked [2]*store.Members
	for at := range asked {
		asked[at] = &store.Members{Key: store.Reviews(), Lapsed: at == 0, Limit: page}
	}
	if err := r.store.Do(ctx, store.Seq{asked[0], asked[1]}); err != nil {
		return false, err
	}
	for _, list := range asked {
		if list.N > len(list.List) { // very many wait: he may be among them
			return true, nil
		}
		for _, m := range list.List {
			if m.Name == user || m.Name == Everybody {
				return true, nil
			}
		}
	}
	return false, nil
}
