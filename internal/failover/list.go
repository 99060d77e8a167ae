package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// list is the servers in order, and where a discovered list stands. Guarded by
// Group.mu.
type list struct {
	servers []*server
	found   bool          // by discovery, at least once
	next    time.Time     // when to discover again; zero: now
	running chan struct{} // closed at the end of the discovery that is running
	err     error         // of the last discovery
}

// setLocked makes names the list. A server that stays keeps what is known of it.
func (g *Group) setLocked(names []string) {
	var servers []*server
	for _, name := range names {
		same := func(s *server) bool { return s.name == name }
		if slices.ContainsFunc(servers, same) {
			continue
		}
		if i := slices.IndexFunc(g.list.servers, same); i >= 0 {
			servers = append(servers, g.list.servers[i])
		} else {
			servers = append(servers, &server{name: name})
		}
	}
	g.list.servers = servers
}

// discovered sees to it that there is a list. It waits for a discovery only while
// there is none, and while a failed one is young it does not start another.
func (g *Group) discovered(ctx context.Context) error {
	if g.cfg.Discover == nil {
		return nil
	}
	g.mu.Lock()
	l := &g.list
	if l.running == nil && !g.cfg.Now().Before(l.next) && g.ctx.Err() == nil {
		done := make(chan struct{})
		l.running = done
		g.wait.Go(func() { g.discover(done) }) // Close waits
	}
	running, usable, err := l.running, len(l.servers) > 0, l.err
	g.mu.Unlock()

	switch {
	case usable && (running == nil || g.settled()):
		return nil
	case running == nil:
		return err
	}
	select {
	case <-running:
	case <-ctx.Done():
		return fmt.Errorf("discover servers: %w", ctx.Err())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.list.servers) > 0 {
		return nil
	}
	return g.list.err
}

// settled says whether a discovery has ended before, well or badly: then the list
// at hand is good enough to start with.
func (g *Group) settled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list.found || g.list.err != nil
}

func (g *Group) discover(done chan struct{}) {
	ctx, cancel := context.WithTimeout(g.ctx, discoverTime)
	defer cancel()
	names, err := g.cfg.Discover(ctx)
	if err == nil && len(names) == 0 {
		err = errors.New("found none")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	defer close(done)
	l := &g.list
	l.running = nil
	if err != nil {
		// The old list is better than none.
		l.err = fmt.Errorf("discover servers: %w", err)
		l.next = g.cfg.Now().Add(min(g.cfg.Pause, g.cfg.Refresh))
		if g.ctx.Err() == nil {
			g.log.Warn("servers cannot be discovered", "group", g.cfg.Name, "error", err, "known", len(l.servers))
		}
		return
	}
	l.err, l.found = nil, true
	l.next = g.cfg.Now().Add(g.cfg.Refresh)
	g.setLocked(names)
}
