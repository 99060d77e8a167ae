package radius

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// vendorPostern is what nodes and services of ours tell each other under. There is no
// enterprise number of our own: RFC 5612 keeps this one for examples, so no NAS that is
// sold sends it, and whoever does not know a vendor passes over its attributes (RFC 2865
// §5.26).
const vendorPostern uint32 = 32473

// The attributes. A number is never used again for something else: nodes and services
// may be of different releases. What one of them does not know, it passes over.
const (
	// In a node's Status-Server.
	nodeTime     = 1  // 8 octets, ms since 1970 by the node's clock
	nodeBoot     = 2  // text, the prefix of its Acct-Session-Ids
	nodeVersion  = 3  // text
	nodeState    = 4  // NodeState
	nodeSessions = 5  // number
	nodeCalls    = 6  // number
	nodeStarting = 7  // number
	nodeLoad     = 8  // number, the load average of a minute in hundredths
	nodeCPUs     = 9  // number
	nodeDropped  = 10 // 8 octets
	nodeStray    = 11 // 8 octets
	nodeSpooled  = 12 // number

	// In the service's answer.
	dutyState = 32 // NodeState
	dutyRate  = 33 // number, sessions a minute
	dutyWait  = 34 // number, seconds
)

// maxNodeText bounds what a node may say of itself.
const maxNodeText = 64

// NodeState is what a node does with calls. The zero value tells nothing.
//
// Handled in: nodeStateNames, Duty.
type NodeState uint8

const (
	NodeUnknown  NodeState = iota
	NodeServing            // takes calls
	NodeDraining           // takes none, and ends those it has, one after the other
	NodeDrained            // the last has ended
)

var nodeStateNames = [...]string{NodeUnknown: "unknown", NodeServing: "serving", NodeDraining: "draining", NodeDrained: "drained"}

// String returns the state as lists spell it.
func (s NodeState) String() string {
	if int(s) < len(nodeStateNames) {
		return nodeStateNames[s]
	}
	return nodeStateNames[NodeUnknown]
}

// NodeHealth is what a node says of itself. What it did not say is zero.
type NodeHealth struct {
	At       time.Time // by its own clock
	Boot     string    // new for each process
	Version  string
	State    NodeState
	Sessions int     // with an address
	Calls    int     // in any phase
	Starting int     // that have no address yet
	Spooled  int     // accounting records that nobody has answered
	Load     float64 // the host's load average of a minute
	CPUs     int
	Dropped  uint64 // packets
	Stray    uint64 // of them, GRE of calls that other nodes have
}

// AddNodeHealth adds h to a Status-Server.
func AddNodeHealth(p *Packet, h *NodeHealth) error {
	return errors.Join(
		addWide(p, nodeTime, uint64(max(h.At.UnixMilli(), 0))),
		addText(p, nodeBoot, h.Boot),
		addText(p, nodeVersion, h.Version),
		addNumber(p, nodeState, int(h.State)),
		addNumber(p, nodeSessions, h.Sessions),
		addNumber(p, nodeCalls, h.Calls),
		addNumber(p, nodeStarting, h.Starting),
		addNumber(p, nodeLoad, int(min(max(h.Load, 0), 1e6)*100+0.5)),
		addNumber(p, nodeCPUs, h.CPUs),
		addWide(p, nodeDropped, h.Dropped),
		addWide(p, nodeStray, h.Stray),
		addNumber(p, nodeSpooled, h.Spooled))
}

// ReadNodeHealth reads what a Status-Server says of its node; false: nothing. A value of
// another shape than ours is passed over, and of several the last counts.
func ReadNodeHealth(p *Packet) (h NodeHealth, ok bool) {
	for typ, v := range vendorAttributes(p, vendorPostern) {
		switch typ {
		case nodeTime:
			if ms, good := wide(v); good && ms <= maxMillis {
				h.At, ok = time.UnixMilli(int64(ms)).UTC(), true
			}
		case nodeBoot:
			readText(&h.Boot, v)
		case nodeVersion:
			readText(&h.Version, v)
		case nodeState:
			if n, good := narrow(v); good && n < len(nodeStateNames) {
				h.State = NodeState(n)
			}
		case nodeSessions:
			readNumber(&h.Sessions, v)
		case nodeCalls:
			readNumber(&h.Calls, v)
		case nodeStarting:
			readNumber(&h.Starting, v)
		case nodeSpooled:
			readNumber(&h.Spooled, v)
		case nodeCPUs:
			readNumber(&h.CPUs, v)
		case nodeLoad:
			if n, good := narrow(v); good {
				h.Load = float64(n) / 100
			}
		case nodeDropped:
			if n, good := wide(v); good {
				h.Dropped = n
			}
		case nodeStray:
			if n, good := wide(v); good {
				h.Stray = n
			}
		}
	}
	return h, ok
}

// Duty is what a service wants of a node. With a zero State it wants nothing, and the
// node goes on as it is.
type Duty struct {
	State NodeState     // NodeServing or NodeDraining
	Rate  int           // sessions that may be ended in a minute; 0: DefaultDrainRate
	Wait  time.Duration // before the first of them
}

// Bounds of a Duty.
const (
	DefaultDrainRate = 300   // a minute
	MaxDrainRate     = 60000 // a minute
	MaxDrainWait     = 24 * time.Hour
)

// AddDuty adds d to the answer to a Status-Server.
func AddDuty(p *Packet, d Duty) error {
	if d.State == NodeUnknown {
		return nil
	}
	return errors.Join(
		addNumber(p, dutyState, int(d.State)),
		addNumber(p, dutyRate, d.Rate),
		addNumber(p, dutyWait, int(d.Wait/time.Second)))
}

// ReadDuty reads what the answer wants. What is out of bounds is brought within them.
func ReadDuty(p *Packet) (d Duty) {
	for typ, v := range vendorAttributes(p, vendorPostern) {
		n, ok := narrow(v)
		if !ok {
			continue
		}
		switch typ {
		case dutyState:
			if s := NodeState(min(n, math.MaxUint8)); s == NodeServing || s == NodeDraining {
				d.State = s
			}
		case dutyRate:
			d.Rate = min(n, MaxDrainRate)
		case dutyWait:
			d.Wait = min(time.Duration(n)*time.Second, MaxDrainWait)
		}
	}
	if d.State != NodeDraining {
		d.Rate, d.Wait = 0, 0
	}
	return d
}

// maxMillis is the year 9999, the last that JSON takes.
const maxMillis = 253402300799999

func addNumber(p *Packet, typ byte, n int) error {
	return addVendor(p, vendorPostern, typ, binary.BigEndian.AppendUint32(nil, uint32(min(max(n, 0), math.MaxInt32))))
}

func addWide(p *Packet, typ byte, n uint64) error {
	return addVendor(p, vendorPostern, typ, binary.BigEndian.AppendUint64(nil, n))
}

func addText(p *Packet, typ byte, s string) error {
	if s == "" {
		return nil
	}
	return addVendor(p, vendorPostern, typ, []byte(s[:min(len(s), maxNodeText)]))
}

func narrow(v []byte) (int, bool) {
	if len(v) != 4 {
		return 0, false
	}
	n := binary.BigEndian.Uint32(v)
	return int(n), n <= math.MaxInt32
}

func wide(v []byte) (uint64, bool) {
	if len(v) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(v), true
}

func readNumber(to *int, v []byte) {
	if n, ok := narrow(v); ok {
		*to = n
	}
}

// readText takes plain ASCII only: it is shown on terminals.
func readText(to *string, v []byte) {
	if len(v) > maxNodeText {
		return
	}
	for _, c := range v {
		if c < ' ' || c > '~' {
			return
		}
	}
	*to = string(v)
}
