package simnet

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Fate is what became of what was sent.
type Fate uint8

const (
	Unknown  Fate = iota
	Passed        // arrives after the direction's delay
	Late          // arrives later than that: reordered
	Copied        // arrives a second time
	Lost          // by chance
	Dropped       // by a Rule
	Down          // lost because the direction is down; a stream's octets wait
	Nobody        // arrived where nobody receives its protocol
	Overflow      // arrived where too much waits to be received
)

func (f Fate) String() string {
	switch f {
	case Unknown:
		return "unknown"
	case Passed:
		return "passed"
	case Late:
		return "late"
	case Copied:
		return "copied"
	case Lost:
		return "lost"
	case Dropped:
		return "dropped"
	case Down:
		return "down"
	case Nobody:
		return "nobody"
	case Overflow:
		return "overflow"
	}
	return "fate " + strconv.Itoa(int(f))
}

// Event is one line of a trace: at At, From sent To, which arrives at Due.
type Event struct {
	At, Due  time.Time // Due is zero if it does not arrive
	From, To netip.Addr
	Proto    uint8 // 6 for streams
	Fate     Fate
	Payload  []byte // during the call
}

func (e Event) String() string {
	s := fmt.Sprintf("%s %v > %v proto %d %s, %d octets",
		e.At.Format("15:04:05.000000"), e.From, e.To, e.Proto, e.Fate, len(e.Payload))
	if !e.Due.IsZero() {
		s += ", in " + e.Due.Sub(e.At).String()
	}
	return s
}

// Trace has f called for all that is sent from now on, one at a time. f must not
// use the Network.
func (n *Network) Trace(f func(Event)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trace = f
}

// traceLocked: due is zero for what does not arrive.
func (n *Network) traceLocked(c *course, fate Fate, due time.Time, payload []byte) {
	if n.trace != nil {
		n.trace(Event{time.Now(), due, c.from, c.to, c.proto, fate, payload})
	}
}
