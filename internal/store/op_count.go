package store

import "time"

// Window says when counted events are forgotten. The zero value is Sliding.
//
// Handled in: forgotten below, script.lua.
type Window uint8

const (
	// Sliding forgets each event on its own, a window after it happened.
	Sliding Window = iota
	// Fixed forgets all events together, a window after the first.
	Fixed
	// Idle forgets all events together, a window after the last. Active
	// Directory forgets bad passwords so (lockoutObservationWindow).
	Idle
)

var windowNames = [...]string{Sliding: "sliding", Fixed: "fixed", Idle: "idle"}

func (w Window) String() string {
	if int(w) < len(windowNames) {
		return windowNames[w]
	}
	return "unknown"
}

// keepEvents bounds a counter's memory: beyond it the oldest events are
// forgotten first. Limits are far lower.
const keepEvents = 256

// Count adds one event to a counter. Events have an identity: the same one
// counts once. With Max it is a guard, lost when Max events are there already;
// nothing is added then. The event that makes the number At exactly is a strike
// and is counted in Strikes as well: of many events at once one strikes.
type Count struct {
	Key    Key
	ID     string
	Window time.Duration
	Kind   Window
	Max    int // 0: no limit

	At      int // 0: never
	Strikes Key
	Memory  time.Duration // window of Strikes, sliding

	Outcome
	N              int // events in the window, this one included
	Oldest, Newest time.Time
	Struck         int // the strikes in their memory, if this event was one; else 0
}

func (o *Count) keys() []Key {
	if o.At > 0 {
		return []Key{o.Key, o.Strikes}
	}
	return []Key{o.Key}
}
func (o *Count) name() string { return "count" }
func (o *Count) writes() bool { return true }

func (o *Count) args(a []any) []any {
	return append(a, o.ID, ms(o.Window), int(o.Kind), o.Max, keepEvents, o.At, ms(o.Memory))
}

func (o *Count) decode(_ bool, r reply) error {
	o.N, o.Oldest, o.Newest, o.Struck = int(r.int(0)), at(r.int(1)), at(r.int(2)), int(r.int(3))
	return r.err
}

func (o *Count) apply(t *txn) bool {
	added, won := o.add(t)
	o.Struck = 0
	if added && o.N == o.At {
		strike := &Count{Key: o.Strikes, ID: o.ID, Window: o.Memory}
		strike.add(t)
		o.Struck = strike.N
	}
	return won
}

func (o *Count) add(t *txn) (added, won bool) {
	all := t.members(o.Key)
	live := remembered(all, t.now-ms(o.Window), o.Kind)
	defer func() { o.N, o.Oldest, o.Newest = summary(live) }()
	for _, m := range live {
		if m.name == o.ID {
			return false, true
		}
	}
	if o.Max > 0 && len(live) >= o.Max {
		return false, false
	}
	live = append(live, member{name: o.ID, score: t.now})
	if len(live) > keepEvents {
		live = live[len(live)-keepEvents:]
	}
	t.deleteMembers(o.Key, all)
	for _, m := range live {
		var from int64
		switch o.Kind {
		case Sliding:
			from = m.score
		case Fixed:
			from = live[0].score
		case Idle:
			from = t.now
		}
		until := from + ms(o.Window)
		t.setMember(o.Key, m.name, m.score, until)
	}
	return true, true
}

// Tally reads a counter. With Below it is a guard on the number.
type Tally struct {
	Key    Key
	Window time.Duration
	Kind   Window
	Below  int // > 0: lost unless fewer

	Outcome
	N              int
	Oldest, Newest time.Time
}

func (o *Tally) keys() []Key  { return []Key{o.Key} }
func (o *Tally) name() string { return "tally" }
func (o *Tally) writes() bool { return false }

func (o *Tally) args(a []any) []any {
	return append(a, ms(o.Window), int(o.Kind), o.Below)
}

func (o *Tally) decode(_ bool, r reply) error {
	o.N, o.Oldest, o.Newest = int(r.int(0)), at(r.int(1)), at(r.int(2))
	return r.err
}

func (o *Tally) apply(t *txn) bool {
	o.N, o.Oldest, o.Newest = summary(remembered(t.members(o.Key), t.now-ms(o.Window), o.Kind))
	return o.Below <= 0 || o.N < o.Below
}

// Uncount takes one event back: an attempt that was counted before its outcome
// was known and did not fail after all.
type Uncount struct {
	Key Key
	ID  string

	Outcome
}

func (o *Uncount) keys() []Key                  { return []Key{o.Key} }
func (o *Uncount) name() string                 { return "leave" }
func (o *Uncount) writes() bool                 { return true }
func (o *Uncount) args(a []any) []any           { return append(a, o.ID) }
func (o *Uncount) decode(_ bool, r reply) error { return r.err }

func (o *Uncount) apply(t *txn) bool {
	t.deleteMember(o.Key, o.ID)
	return true
}

// remembered returns the events (oldest first) that the window still holds;
// edge is the moment that has just left it.
func remembered(all []member, edge int64, kind Window) []member {
	if len(all) == 0 {
		return nil
	}
	switch kind {
	case Fixed:
		if all[0].score <= edge {
			return nil
		}
	case Idle:
		if all[len(all)-1].score <= edge {
			return nil
		}
	case Sliding:
		for len(all) > 0 && all[0].score <= edge {
			all = all[1:]
		}
	}
	return all[:len(all):len(all)]
}

func summary(live []member) (n int, oldest, newest time.Time) {
	if len(live) == 0 {
		return 0, oldest, newest
	}
	return len(live), at(live[0].score), at(live[len(live)-1].score)
}
