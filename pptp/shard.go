package pptp

import (
	"context"
	"sync"
	"time"

	"postern/pptp/gre"
)

// shard owns the sessions whose call ID falls to it.
type shard struct {
	node *Node

	// mu guards the sessions' machines and receiving halves, and what follows.
	mu    sync.Mutex
	wheel wheel
	sleep time.Time     // when run wakes up by itself; zero: not before it is kicked
	kick  chan struct{} // one waiting kick is as good as many
	rx    *rxBatch      // where received IP goes; set while mu is held by a receiver

	// tx guards the sessions' sending halves, and what follows.
	tx      sync.Mutex
	scratch []byte // one outgoing control frame
	one     [1]gre.Message
}

func newShard(n *Node, now time.Time) *shard {
	return &shard{
		node: n, wheel: wheel{epoch: now}, kick: make(chan struct{}, 1),
		scratch: make([]byte, maxFrame),
	}
}

// enter takes the shard for a caller that is not a receiver.
func (sh *shard) enter() time.Time {
	sh.mu.Lock()
	return time.Now()
}

// leave gives it back and wakes run if something is due before run would look.
func (sh *shard) leave() {
	next := sh.wheel.next()
	early := !next.IsZero() && (sh.sleep.IsZero() || next.Before(sh.sleep))
	if early {
		sh.sleep = next
	}
	sh.mu.Unlock()
	if early {
		select {
		case sh.kick <- struct{}{}:
		default:
		}
	}
}

// run fires the shard's timers until ctx ends.
func (sh *shard) run(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		sh.mu.Lock()
		now := time.Now()
		sh.wheel.advance(now, func(s *session) { s.timeout(now) })
		sh.sleep = sh.wheel.next()
		wait := time.Hour
		if !sh.sleep.IsZero() {
			wait = max(sh.sleep.Sub(now), 0)
		}
		sh.mu.Unlock()
		t.Reset(wait)
		select {
		case <-t.C:
		case <-sh.kick:
		case <-ctx.Done():
			return
		}
	}
}
