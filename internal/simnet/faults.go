package simnet

import (
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Faults is what one direction does to what passes it. The zero value does
// nothing. Probabilities are from 0 to 1 and concern datagrams only.
type Faults struct {
	Delay     time.Duration // of datagrams and of streams
	Jitter    time.Duration // up to this much more, for datagrams
	Loss      float64
	Duplicate float64       // a second copy follows, with a delay of its own
	Reorder   float64       // the datagram comes ReorderBy later than it would
	ReorderBy time.Duration // 0: 10 ms
	Drop      Rule          // drops what it says, before chance has its turn
	Down      bool          // datagrams are lost, streams wait
}

const defaultReorderBy = 10 * time.Millisecond

// Rule says whether to drop a datagram: the nth of its protocol in its direction,
// from 1, since these faults were set. It must not keep the payload or use the
// Network, and is called with one datagram at a time.
type Rule func(nth int, payload []byte) bool

// Nth drops the datagrams of these numbers.
func Nth(numbers ...int) Rule {
	return func(nth int, _ []byte) bool { return slices.Contains(numbers, nth) }
}

// First drops the first few.
func First(count int) Rule {
	return func(nth int, _ []byte) bool { return nth <= count }
}

// Every drops each that number divides: Every(3) a third.
func Every(number int) Rule {
	return func(nth int, _ []byte) bool { return nth%number == 0 }
}

// SetFaults sets what happens from one address to another from now on. The zero
// address stands for any; the closest match counts: both addresses, from alone, to
// alone, neither. What is under way arrives as it would have.
func (n *Network) SetFaults(from, to netip.Addr, f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[pair{from, to}] = &f
	for _, c := range n.inOrderLocked() {
		if now := n.faultsLocked(c.from, c.to); !now.Down {
			for _, happen := range c.waiting {
				n.atLocked(c.arrival(now), happen)
			}
			c.waiting = nil
		}
	}
	n.runLocked()
}

var noFaults Faults

func (n *Network) faultsLocked(from, to netip.Addr) *Faults {
	for _, p := range [...]pair{{from, to}, {from: from}, {to: to}, {}} {
		if f := n.faults[p]; f != nil {
			return f
		}
	}
	return &noFaults
}

// direction is a protocol's way from one host to another.
type direction struct {
	from, to netip.Addr
	proto    uint8
}

// course is a direction's state.
type course struct {
	direction
	rand    *rand.Rand
	faults  *Faults // those that sent counts under
	sent    int
	last    time.Time // arrival of what a stream sent last: it keeps its order
	waiting []func()  // of streams, while the direction is down
}

func (n *Network) courseLocked(from, to netip.Addr, proto uint8) *course {
	d := direction{from, to, proto}
	c := n.directions[d]
	if c == nil {
		hash := fnv.New64a()
		a, b := from.As16(), to.As16()
		_, _ = hash.Write(slices.Concat(a[:], b[:], []byte{proto})) // a Hash never fails
		c = &course{direction: d, rand: rand.New(rand.NewPCG(n.seed, hash.Sum64()))}
		n.directions[d] = c
	}
	return c
}

// inOrderLocked is for what must not depend on the order of a map.
func (n *Network) inOrderLocked() []*course {
	all := make([]*course, 0, len(n.directions))
	for _, c := range n.directions {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *course) int {
		if c := a.from.Compare(b.from); c != 0 {
			return c
		}
		if c := a.to.Compare(b.to); c != 0 {
			return c
		}
		return int(a.proto) - int(b.proto)
	})
	return all
}

// arrival is when a stream's next octets are there, never before its last.
func (c *course) arrival(f *Faults) time.Time {
	due := time.Now().Add(f.Delay)
	if due.Before(c.last) {
		due = c.last
	}
	c.last = due
	return due
}

// draw is a datagram's luck. All of it is drawn for each, so that a fault set or
// not leaves that of the following as it is.
type draw struct {
	loss, duplicate float64
	reorder, jitter [2]float64 // of the datagram and of its copy
}

func (c *course) draw() draw {
	var d draw
	for _, p := range [...]*float64{&d.loss, &d.duplicate, &d.reorder[0], &d.jitter[0], &d.reorder[1], &d.jitter[1]} {
		*p = c.rand.Float64()
	}
	return d
}

// delay of the datagram (0) or of its copy (1), and whether it is out of order.
func (d *draw) delay(f *Faults, which int) (time.Duration, bool) {
	delay := f.Delay + time.Duration(d.jitter[which]*float64(f.Jitter))
	if d.reorder[which] >= f.Reorder {
		return delay, false
	}
	if f.ReorderBy == 0 {
		return delay + defaultReorderBy, true
	}
	return delay + f.ReorderBy, true
}
