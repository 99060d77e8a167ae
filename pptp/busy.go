package pptp

import (
	"time"

	"postern/pptp/control"
)

// Busy says why a call was answered as busy (RFC 2637 §2.8, result 4). A client may dial
// again at once and elsewhere; ours waits longer each time.
//
// Handled in: busyNames; the metric's label.
type Busy uint8

const (
	BusyUnknown  Busy = iota // it is not
	BusyStopping             // the node goes down
	BusyDraining             // it empties itself
	BusyStarting             // as many logins are under way as it may have
	BusyFull                 // as many calls are up as it may have
)

var busyNames = [...]string{
	BusyUnknown: "unknown", BusyStopping: "stopping", BusyDraining: "draining", BusyStarting: "too many starting", BusyFull: "full",
}

// String returns the metric's label.
func (b Busy) String() string {
	if int(b) < len(busyNames) {
		return busyNames[b]
	}
	return busyNames[BusyUnknown]
}

// busy says whether a call must be turned away. If not it counts as starting from now on.
//
// Of a crowd that comes all at once, when another node was lost, each login needs
// answers of clients and services in time. Who is let begin gets them, and who is not
// knows at once: taken in together, all would time out, and begin together again.
func (n *Node) busy() Busy {
	n.mu.Lock()
	stopping := n.stopping
	n.mu.Unlock()
	switch {
	case stopping:
		return BusyStopping
	case n.drain.active():
		return BusyDraining
	}
	if n.metrics.starting.Add(1) > int64(n.settings.Load().Limits.Starting) {
		n.metrics.starting.Add(-1)
		return BusyStarting
	}
	return BusyUnknown
}

// turnAway answers a call as busy.
func (n *Node) turnAway(c *controlConn, now time.Time, peerCallID uint16, why Busy) {
	n.metrics.busy.WithLabelValues(why.String()).Inc()
	c.log.Debug("call refused as busy", "why", why.String())
	c.refuse(now, peerCallID, control.CallBusy, control.ErrorNone)
}
