package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Append adds an event to a stream, which forgets its oldest events beyond
// about Max and itself when nothing was appended for TTL.
type Append struct {
	Key   Key
	Event string
	Max   int
	TTL   time.Duration // 0: unlimited

	Outcome
	ID EventID
}

func (o *Append) keys() []Key        { return []Key{o.Key} }
func (o *Append) name() string       { return "append" }
func (o *Append) writes() bool       { return true }
func (o *Append) args(a []any) []any { return append(a, o.Event, max(o.Max, 1), ms(o.TTL)) }

func (o *Append) decode(_ bool, r reply) error {
	id, err := ParseEventID(r.str(0))
	o.ID = id
	return errors.Join(r.err, err)
}

func (o *Append) apply(t *txn) bool {
	o.ID = t.appendEvent(o.Key, o.Event, max(o.Max, 1), o.TTL)
	return true
}

// Event is one entry of a stream.
type Event struct {
	ID   EventID
	Data string
}

// Read lists events of a stream in order: those after After or, with Newest,
// the last ones (still oldest first).
type Read struct {
	Key    Key
	After  EventID
	Newest bool
	Limit  int

	Outcome
	Events []Event
}

func (o *Read) keys() []Key  { return []Key{o.Key} }
func (o *Read) name() string { return "read" }
func (o *Read) writes() bool { return false }

func (o *Read) args(a []any) []any {
	return append(a, o.After.String(), bit(o.Newest), o.Limit)
}

func (o *Read) decode(_ bool, r reply) error {
	o.Events = nil
	for i := 0; i+1 < len(r.v); i += 2 {
		id, err := ParseEventID(r.str(i))
		if err != nil {
			return err
		}
		o.Events = append(o.Events, Event{id, r.str(i + 1)})
	}
	return r.err
}

func (o *Read) apply(t *txn) bool {
	o.Events = t.events(o.Key, o.After, o.Newest, o.Limit)
	return true
}

// EventID orders the events of one stream: the store's time and a number for
// events of the same millisecond. Its text is Redis', "MS-N".
type EventID struct{ MS, N uint64 }

// String returns the ID's text.
func (e EventID) String() string {
	return strconv.FormatUint(e.MS, 10) + "-" + strconv.FormatUint(e.N, 10)
}

// At is when the event was appended.
func (e EventID) At() time.Time { return at(int64(e.MS)) }

// Less orders IDs.
func (e EventID) Less(f EventID) bool { return e.MS < f.MS || e.MS == f.MS && e.N < f.N }

// ParseEventID reads the text of an EventID.
func ParseEventID(s string) (EventID, error) {
	a, b, _ := strings.Cut(s, "-")
	m, err1 := strconv.ParseUint(a, 10, 64)
	n, err2 := strconv.ParseUint(b, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return EventID{}, fmt.Errorf("parse event ID %q: %w", s, err)
	}
	return EventID{m, n}, nil
}
