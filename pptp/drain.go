package pptp

import (
	"slices"
	"sync"
	"time"

	"postern/internal/radius"
)

// drain is how a node empties itself. While it is on, calls are refused as busy; when the
// wait is over, sessions end one after the other, the oldest first, at the rate. Nothing
// of it is kept: a service tells a node that has started anew again.
type drain struct {
	mu      sync.Mutex
	duty    radius.Duty
	first   time.Time     // when the first session may end
	changed chan struct{} // room for one
}

// drainBacklog is how many records may wait for a service while sessions are ended, ours:
// more of them than of one round of Interims, or a service is slow or away.
const drainBacklog = 64

func newDrain() *drain { return &drain{changed: make(chan struct{}, 1)} }

// active tells whether calls are refused.
func (d *drain) active() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.duty.State == radius.NodeDraining
}

// look returns the duty and when it begins to bite.
func (d *drain) look() (radius.Duty, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.duty, d.first
}

// Do makes d the node's duty from now on. The same again, as each report brings it,
// changes nothing; another rate or wait counts at once, the wait from now.
func (n *Node) Do(d radius.Duty) {
	if d.State != radius.NodeServing && d.State != radius.NodeDraining {
		return
	}
	if d.State == radius.NodeDraining && d.Rate == 0 {
		d.Rate = radius.DefaultDrainRate
	}
	n.drain.mu.Lock()
	was := n.drain.duty
	if was == d || was.State == radius.NodeUnknown && d.State == radius.NodeServing {
		n.drain.mu.Unlock()
		return
	}
	n.drain.duty, n.drain.first = d, time.Now().Add(d.Wait)
	n.drain.mu.Unlock()
	select {
	case n.drain.changed <- struct{}{}:
	default:
	}
	if d.State == radius.NodeDraining {
		n.log.Info("draining: no new calls", "sessions", n.Sessions(), "per_minute", d.Rate, "wait", d.Wait)
	} else {
		n.log.Info("draining no more: calls are taken", "sessions", n.Sessions())
	}
}

// state is what the node does with calls.
func (n *Node) state() radius.NodeState {
	switch {
	case !n.drain.active():
		return radius.NodeServing
	case n.metrics.calls.Load() > 0:
		return radius.NodeDraining
	}
	return radius.NodeDrained
}

// drainAway ends sessions in their turn, whenever that is the node's duty.
func (n *Node) drainAway() {
	var left []*session // oldest first
	for {
		var turn <-chan time.Time
		duty, first := n.drain.look()
		if duty.State == radius.NodeDraining {
			turn = time.After(max(time.Until(first), time.Minute/time.Duration(duty.Rate)))
		} else {
			left = nil
		}
		select {
		case <-n.ctx.Done():
			return
		case <-n.drain.changed:
			continue // the wait begins anew
		case <-turn:
		}
		if duty, first = n.drain.look(); duty.State != radius.NodeDraining || time.Now().Before(first) {
			continue
		}
		if n.metrics.spooled.Load() > drainBacklog { // no service would let them in elsewhere, either
			continue
		}
		left = n.endOldest(left)
	}
}

// endOldest ends the first that lives, and returns who comes after it.
func (n *Node) endOldest(all []*session) []*session {
	if len(all) == 0 { // the first time, and for who came in as draining began
		all = n.oldestFirst()
	}
	for i, s := range all {
		now := s.shard.enter()
		lives := s.phase != phaseClosing && s.phase != phaseGone
		if lives {
			s.endElsewhere(now, NodeDrained)
		}
		s.shard.leave()
		if lives {
			return all[i+1:]
		}
	}
	return nil
}

func (n *Node) oldestFirst() []*session {
	var all []*session
	for i := range n.calls.at {
		if s := n.calls.at[i].Load(); s != nil {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *session) int { return a.created.Compare(b.created) })
	return all
}
