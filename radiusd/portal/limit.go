package portal

import (
	"context"
	"net/netip"

	"postern/authz/lockout"
	"postern/internal/store"
)

// The limits stand before the shield, which counts what was wrong: they bound what is
// asked at all, and so what directory and store have to do. Their counters are shared,
// so that another service is no second chance. What is refused is not counted: nobody
// keeps a name or an address refused for ever.

// admitStranger counts a form of somebody who has proved nothing, by source and, where
// it has one, by the name in it.
func (s *Server) admitStranger(ctx context.Context, source netip.Addr, name string) (bool, error) {
	set := s.settings.Load()
	id := newRandom()
	var seqs []store.Seq
	if p := lockout.Source(source); p.IsValid() {
		seqs = append(seqs, store.Seq{&store.Count{Key: store.PortalSource(p), ID: id, Window: window, Max: set.PerSource}})
	}
	if name != "" {
		seqs = append(seqs, store.Seq{&store.Count{Key: store.PortalName(name), ID: id, Window: window, Max: set.PerUser}})
	}
	return s.admit(ctx, seqs)
}

// admitUser counts a form of somebody who has proved the user's password. Strangers
// cannot use these counters up, and people behind one address do not share them.
func (s *Server) admitUser(ctx context.Context, user string) (bool, error) {
	set := s.settings.Load()
	return s.admit(ctx, []store.Seq{{&store.Count{Key: store.PortalUser(user), ID: newRandom(), Window: window, Max: set.PerUser}}})
}

func (s *Server) admit(ctx context.Context, seqs []store.Seq) (bool, error) {
	if len(seqs) == 0 {
		return true, nil
	}
	if err := s.store.Do(ctx, seqs...); err != nil {
		return false, err
	}
	for _, seq := range seqs {
		if !seq.OK() {
			return false, nil
		}
	}
	return true, nil
}
