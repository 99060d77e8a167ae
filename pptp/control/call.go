package control

import "slices"

// callState is where a call stands.
type callState uint8

const (
	callGone     callState = iota // never in the table
	callPending                   // OCRQ without OCRP
	callUp                        // OCRP said connected
	callClearing                  // client: CCRQ sent, CDN awaited
)

// call is one row of the call ID table. Each end names the call by an ID of
// its own choice; which of the two is in a message depends on the message, and
// the peer's ID of a client's call, like ours of a server's, is known only once
// the call has been answered.
type call struct {
	peer, own         uint16
	state             callState
	havePeer, haveOwn bool
}

// byPeer finds the call by the peer's ID; -1: none.
func (c *Conn) byPeer(id uint16) int {
	return slices.IndexFunc(c.calls, func(k call) bool { return k.havePeer && k.peer == id })
}

// byOwn finds the call by our ID; -1: none.
func (c *Conn) byOwn(id uint16) int {
	return slices.IndexFunc(c.calls, func(k call) bool { return k.haveOwn && k.own == id })
}

// addCall enters a call; the caller has seen to duplicates and the bound.
func (c *Conn) addCall(k call) {
	c.calls = append(c.calls, k)
	c.limit = 0
}

// dropCall frees the call's IDs.
func (c *Conn) dropCall(i int) {
	c.calls = slices.Delete(c.calls, i, i+1)
	if len(c.calls) == 0 {
		c.calls = nil // an idle connection holds no table
	}
	c.watchIdle()
}

// watchIdle starts the idle timer when no call is left that counts: one that
// we are clearing does not, or a server that never confirms would hold the
// connection for ever.
func (c *Conn) watchIdle() {
	for _, k := range c.calls {
		if k.state != callClearing {
			return
		}
	}
	if c.limit == 0 {
		c.limit = after(c.now, c.cfg.IdleTimeout, DefaultIdleTimeout)
	}
}

// Calls counts the calls of the connection, unanswered ones included.
func (c *Conn) Calls() int { return len(c.calls) }
