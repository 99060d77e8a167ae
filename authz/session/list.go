package session

import (
	"cmp"
	"context"
	"slices"

	"postern/internal/store"
)

// Seen is a session as it was read: what is made of it counts only as long as it is still
// so, see Settle.
type Seen struct {
	Record
	raw   string
	taken string // by whom, of one that is due
}

// Taken says that the session was due and is ours to look at: it must be settled.
func (s *Seen) Taken() bool { return s.taken != "" }

// Get returns a session that has not ended.
func (r *Registry) Get(ctx context.Context, id string) (rec Record, found bool, err error) {
	seen, err := r.Look(ctx, id)
	if err != nil || len(seen) == 0 {
		return Record{}, false, err
	}
	return seen[0].Record, true, nil
}

// Look reads sessions; those that have ended are left out.
func (r *Registry) Look(ctx context.Context, ids ...string) ([]Seen, error) {
	var all []Seen
	for some := range slices.Chunk(ids, page) {
		gets := make([]*store.Get, len(some))
		seqs := make([]store.Seq, len(some))
		for i, id := range some {
			gets[i] = &store.Get{Key: store.Session(id)}
			seqs[i] = store.Seq{gets[i]}
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return nil, err
		}
		for _, g := range gets {
			if !g.Found {
				continue
			}
			rec, err := parseRecord(g.Value)
			if err != nil {
				return nil, err
			}
			all = append(all, Seen{Record: rec, raw: g.Value})
		}
	}
	return all, nil
}

// ByUser lists a user's live sessions, pending ones included.
func (r *Registry) ByUser(ctx context.Context, user string) ([]Record, error) {
	return r.live(ctx, store.UserLive(user))
}

// ByNode lists a node's live sessions.
func (r *Registry) ByNode(ctx context.Context, node string) ([]Record, error) {
	return r.live(ctx, store.NodeLive(node))
}

// Nodes lists the nodes that have reported lately.
func (r *Registry) Nodes(ctx context.Context) ([]string, error) {
	return r.members(ctx, store.Nodes(), false)
}

// All lists all live sessions of nodes that have reported, node by node. It is
// for people and reports; nothing in a login's path needs it.
func (r *Registry) All(ctx context.Context) ([]Record, error) {
	nodes, err := r.allNodes(ctx)
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, n := range nodes {
		recs, err := r.ByNode(ctx, n)
		if err != nil {
			return nil, err
		}
		all = append(all, recs...)
	}
	return all, nil
}

// allNodes includes silent ones, whose sessions are to be swept.
func (r *Registry) allNodes(ctx context.Context) ([]string, error) {
	live, err := r.members(ctx, store.Nodes(), false)
	if err != nil {
		return nil, err
	}
	lapsed, err := r.members(ctx, store.Nodes(), true)
	if err != nil {
		return nil, err
	}
	return slices.Concat(live, lapsed), nil
}

// Count is a user's number of live sessions.
func (r *Registry) Count(ctx context.Context, user string) (int, error) {
	l := r.Ask(user)
	if err := r.store.Do(ctx, l.Seqs()...); err != nil {
		return 0, err
	}
	return l.Count(), nil
}

// SeenOf lists the live sessions of users.
func (r *Registry) SeenOf(ctx context.Context, users ...string) ([]Seen, error) {
	var ids []string
	for some := range slices.Chunk(users, page) {
		lists := make([]*store.Members, len(some))
		seqs := make([]store.Seq, len(some))
		for i, u := range some {
			lists[i] = &store.Members{Key: store.UserLive(u), Limit: page}
			seqs[i] = store.Seq{lists[i]}
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return nil, err
		}
		for i, l := range lists {
			if l.N > len(l.List) {
				more, err := r.members(ctx, store.UserLive(some[i]), false)
				if err != nil {
					return nil, err
				}
				ids = append(ids, more...)
				continue
			}
			for _, m := range l.List {
				ids = append(ids, m.Name)
			}
		}
	}
	return r.Look(ctx, ids...)
}

func (r *Registry) live(ctx context.Context, k store.Key) ([]Record, error) {
	ids, err := r.members(ctx, k, false)
	if err != nil {
		return nil, err
	}
	return r.records(ctx, ids)
}

// AllIDs lists the IDs of all live sessions of nodes that have reported, node by node.
func (r *Registry) AllIDs(ctx context.Context) ([]string, error) {
	nodes, err := r.allNodes(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]store.Key, len(nodes))
	for i, n := range nodes {
		keys[i] = store.NodeLive(n)
	}
	return r.membersOf(ctx, keys, false)
}

// membersOf reads whole indexes, all of them at once.
func (r *Registry) membersOf(ctx context.Context, keys []store.Key, lapsed bool) ([]string, error) {
	var names []string
	for some := range slices.Chunk(keys, page) {
		lists := make([]*store.Members, len(some))
		seqs := make([]store.Seq, len(some))
		for i, k := range some {
			lists[i] = &store.Members{Key: k, Lapsed: lapsed, Limit: page}
			seqs[i] = store.Seq{lists[i]}
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return nil, err
		}
		for i, l := range lists {
			for _, m := range l.List {
				names = append(names, m.Name)
			}
			if l.N > len(l.List) {
				rest, err := r.members(ctx, some[i], lapsed)
				if err != nil {
					return nil, err
				}
				names = append(names, rest...)
			}
		}
	}
	slices.Sort(names) // what moved while we read may show twice
	return slices.Compact(names), nil
}

// members reads a whole index.
func (r *Registry) members(ctx context.Context, k store.Key, lapsed bool) ([]string, error) {
	list, err := r.entries(ctx, k, lapsed)
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.Name
	}
	return names, err
}

// entries is members with their deadlines.
func (r *Registry) entries(ctx context.Context, k store.Key, lapsed bool) ([]store.Member, error) {
	var list []store.Member
	for {
		op := &store.Members{Key: k, Lapsed: lapsed, Offset: len(list), Limit: page}
		if err := r.store.Do(ctx, store.Seq{op}); err != nil {
			return nil, err
		}
		list = append(list, op.List...)
		if len(op.List) < page {
			// Members that moved while we read may show twice; the later deadline counts.
			slices.SortFunc(list, func(a, b store.Member) int {
				return cmp.Or(cmp.Compare(a.Name, b.Name), b.Until.Compare(a.Until))
			})
			return slices.CompactFunc(list, func(a, b store.Member) bool { return a.Name == b.Name }), nil
		}
	}
}

// records reads sessions and leaves out those that are gone.
func (r *Registry) records(ctx context.Context, ids []string) ([]Record, error) {
	seen, err := r.Look(ctx, ids...)
	if err != nil || len(seen) == 0 {
		return nil, err
	}
	recs := make([]Record, len(seen))
	for i := range seen {
		recs[i] = seen[i].Record
	}
	return recs, nil
}

// History returns the newest events, oldest first.
func (r *Registry) History(ctx context.Context, limit int) ([]Event, error) {
	var reads []*store.Read
	var seqs []store.Seq
	for _, k := range store.Histories() {
		op := &store.Read{Key: k, Newest: true, Limit: limit}
		reads = append(reads, op)
		seqs = append(seqs, store.Seq{op})
	}
	if err := r.store.Do(ctx, seqs...); err != nil {
		return nil, err
	}
	var all []store.Event
	for _, op := range reads {
		all = append(all, op.Events...)
	}
	slices.SortStableFunc(all, func(a, b store.Event) int {
		return cmp.Or(cmp.Compare(a.ID.MS, b.ID.MS), cmp.Compare(a.ID.N, b.ID.N))
	})
	all = all[max(0, len(all)-limit):]
	events := make([]Event, len(all))
	for i, e := range all {
		var err error
		if events[i], err = parseEvent(e.Data); err != nil {
			return nil, err
		}
	}
	return events, nil
}
