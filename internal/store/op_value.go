package store

import "time"

// Get reads a value.
type Get struct {
	Key Key

	Outcome
	Found bool
	Value string
}

func (o *Get) keys() []Key        { return []Key{o.Key} }
func (o *Get) name() string       { return "get" }
func (o *Get) writes() bool       { return false }
func (o *Get) args(a []any) []any { return a }

func (o *Get) decode(_ bool, r reply) error {
	o.Found, o.Value = r.int(0) == 1, r.str(1)
	return r.err
}

func (o *Get) apply(t *txn) bool {
	v, found := t.get(o.Key)
	o.Found, o.Value = found, string(v)
	return true
}

// Put writes a value.
type Put struct {
	Key   Key
	Value string
	TTL   time.Duration // 0: unlimited

	Outcome
}

func (o *Put) keys() []Key                  { return []Key{o.Key} }
func (o *Put) name() string                 { return "put" }
func (o *Put) writes() bool                 { return true }
func (o *Put) args(a []any) []any           { return append(a, o.Value, ms(o.TTL)) }
func (o *Put) decode(_ bool, r reply) error { return r.err }

func (o *Put) apply(t *txn) bool {
	t.put(o.Key, o.Value, o.TTL)
	return true
}

// Once is a guard: it writes the value if there is none, and wins also when the
// very same value is there already (the same caller asking again).
type Once struct {
	Key   Key
	Value string
	TTL   time.Duration // 0: unlimited

	Outcome
}

func (o *Once) keys() []Key                  { return []Key{o.Key} }
func (o *Once) name() string                 { return "once" }
func (o *Once) writes() bool                 { return true }
func (o *Once) args(a []any) []any           { return append(a, o.Value, ms(o.TTL)) }
func (o *Once) decode(_ bool, r reply) error { return r.err }

func (o *Once) apply(t *txn) bool {
	if v, found := t.get(o.Key); found {
		return string(v) == o.Value
	}
	t.put(o.Key, o.Value, o.TTL)
	return true
}

// Swap is a guard, compare-and-set: it writes New if the value is Old, or if
// there is none and Absent is set. It wins also when the value is New already.
type Swap struct {
	Key      Key
	Absent   bool // expect no value; Old is not looked at
	Old, New string
	TTL      time.Duration // 0: unlimited

	Outcome
	Found bool   // there was a value
	Value string // that value
}

func (o *Swap) keys() []Key  { return []Key{o.Key} }
func (o *Swap) name() string { return "swap" }
func (o *Swap) writes() bool { return true }

func (o *Swap) args(a []any) []any {
	return append(a, bit(o.Absent), o.Old, o.New, ms(o.TTL))
}

func (o *Swap) decode(_ bool, r reply) error {
	o.Found, o.Value = r.int(0) == 1, r.str(1)
	return r.err
}

func (o *Swap) apply(t *txn) bool {
	v, found := t.get(o.Key)
	o.Found, o.Value = found, string(v)
	switch {
	case found && o.Value == o.New:
	case found && (o.Absent || o.Value != o.Old), !found && !o.Absent:
		return false
	}
	t.put(o.Key, o.New, o.TTL)
	return true
}

// Delete removes a key of any kind but a pool's.
type Delete struct {
	Key Key

	Outcome
}

func (o *Delete) keys() []Key                  { return []Key{o.Key} }
func (o *Delete) name() string                 { return "delete" }
func (o *Delete) writes() bool                 { return true }
func (o *Delete) args(a []any) []any           { return a }
func (o *Delete) decode(_ bool, r reply) error { return r.err }

func (o *Delete) apply(t *txn) bool {
	t.delete(o.Key)
	return true
}

// Time reads the store's clock.
type Time struct {
	Outcome
	Now time.Time
}

func (o *Time) keys() []Key        { return nil }
func (o *Time) name() string       { return "time" }
func (o *Time) writes() bool       { return false }
func (o *Time) args(a []any) []any { return a }

func (o *Time) decode(_ bool, r reply) error {
	o.Now = at(r.int(0))
	return r.err
}

func (o *Time) apply(t *txn) bool {
	o.Now = at(t.now)
	return true
}

// Publish tells every Watch of the topic. Standing behind a guard it is only
// sent when that is won.
type Publish struct {
	Topic, Message string

	Outcome
}

func (o *Publish) keys() []Key                  { return nil }
func (o *Publish) name() string                 { return "publish" }
func (o *Publish) writes() bool                 { return true }
func (o *Publish) args(a []any) []any           { return append(a, channel(o.Topic), o.Message) }
func (o *Publish) decode(_ bool, r reply) error { return r.err }

func (o *Publish) apply(t *txn) bool {
	t.published = append(t.published, message{o.Topic, o.Message})
	return true
}

// Stored times are milliseconds since 1970.
func ms(d time.Duration) int64 {
	if d > 0 && d < time.Millisecond {
		return 1 // not "unlimited"
	}
	return int64(d / time.Millisecond)
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
