package pptp

import (
	"net/netip"
	"sync"
	"time"
)

// callers are the outer addresses that have calls here, and for callRest those that had.
// They tell GRE of a call that has just ended from GRE that reached the wrong node; the
// packet path asks only for what it drops anyway.
type callers struct {
	mu    sync.RWMutex
	calls map[netip.Addr]int
	left  map[netip.Addr]time.Time
	swept time.Time
}

func newCallers() *callers {
	return &callers{calls: make(map[netip.Addr]int), left: make(map[netip.Addr]time.Time)}
}

func (c *callers) enter(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[a]++
}

func (c *callers) leave(a netip.Addr, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[a]--; c.calls[a] > 0 {
		return
	}
	delete(c.calls, a)
	c.left[a] = now
	if now.Sub(c.swept) < callRest {
		return
	}
	c.swept = now
	for b, at := range c.left {
		if now.Sub(at) >= callRest {
			delete(c.left, b)
		}
	}
}

// here tells whether a has calls here, or had just now.
func (c *callers) here(a netip.Addr, now time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.calls[a] > 0 {
		return true
	}
	at, found := c.left[a]
	return found && now.Sub(at) < callRest
}

// stray is why GRE is dropped whose call ID no session has.
func (n *Node) stray(from netip.Addr, now time.Time) Drop {
	if n.callers.here(from, now) {
		return DropUnknownCall
	}
	return DropWrongNode
}
