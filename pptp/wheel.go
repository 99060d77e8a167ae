package pptp

import (
	"math/bits"
	"time"
)

// wheel keeps the timers of a shard's sessions: one entry a session, at the
// earliest of all its deadlines. Setting and stopping cost the same whatever the
// number of sessions, and an idle session costs no timer of the runtime's.
// Not safe for concurrent use: shard.mu guards it.
type wheel struct {
	epoch time.Time
	tick  int64 // the last one that advance has seen
	slots [wheelSlots]*timer
	used  [wheelSlots / 64]uint64 // bit n: slots[n] is not empty
}

const (
	// wheelTick is the timers' grain: well below the shortest deadline, the hold of
	// packets out of order (30 ms).
	wheelTick = 10 * time.Millisecond
	// wheelSlots makes one turn 20 s; a timer further away waits for its turn.
	wheelSlots = 2048
)

// timer is a session's entry. The zero timer is stopped.
type timer struct {
	at         time.Time
	slot       int32
	set        bool
	next, prev *timer
	session    *session
}

// ticks rounds up, so that no timer fires before its time.
func (w *wheel) ticks(at time.Time) int64 {
	return int64((at.Sub(w.epoch) + wheelTick - 1) / wheelTick)
}

// before sets t to fire at at, unless it is set to fire sooner anyway.
func (w *wheel) before(t *timer, at time.Time) {
	if at.IsZero() || t.set && !at.Before(t.at) {
		return
	}
	w.stop(t)
	n := max(w.ticks(at), w.tick+1)
	t.at, t.slot, t.set = at, int32(n%wheelSlots), true
	head := &w.slots[t.slot]
	t.prev, t.next = nil, *head
	if *head != nil {
		(*head).prev = t
	}
	*head = t
	w.used[t.slot/64] |= 1 << (t.slot % 64)
}

// stop takes t out.
func (w *wheel) stop(t *timer) {
	if !t.set {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.slot] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if w.slots[t.slot] == nil {
		w.used[t.slot/64] &^= 1 << (t.slot % 64)
	}
	t.next, t.prev, t.set = nil, nil, false
}

// advance fires what is due at now. fire may set and stop any timer.
func (w *wheel) advance(now time.Time, fire func(*session)) {
	to := int64(now.Sub(w.epoch) / wheelTick)
	from := max(w.tick+1, to-wheelSlots+1)
	w.tick = max(w.tick, to)
	for n := from; n <= to; n++ {
		for {
			t := w.slots[n%wheelSlots]
			for t != nil && t.at.After(now) { // another turn's
				t = t.next
			}
			if t == nil {
				break
			}
			w.stop(t)
			fire(t.session)
		}
	}
}

// next is when advance should be called: no later than the earliest timer, at most
// one turn ahead. Zero: there is no timer.
func (w *wheel) next() time.Time {
	start := int((w.tick + 1) % wheelSlots)
	for i := 0; i <= len(w.used); i++ {
		word := (start/64 + i) % len(w.used)
		b := w.used[word]
		switch i {
		case 0:
			b &= ^uint64(0) << (start % 64)
		case len(w.used):
			b &= 1<<(start%64) - 1
		}
		if b != 0 {
			slot := word*64 + bits.TrailingZeros64(b)
			ahead := int64((slot - start + wheelSlots) % wheelSlots)
			return w.epoch.Add(time.Duration(w.tick+1+ahead) * wheelTick)
		}
	}
	return time.Time{}
}
