package session

import "time"

// Told is a start or a stop that was written down.
type Told struct {
	Event
	// Repeated: it was before, by this service or another one. A NAS that hears no
	// answer reports again; whoever keeps what it is told misses nothing that way, for
	// the service that wrote it down may have ended before it told.
	Repeated bool
	// Own: no NAS has reported it. The session fell silent, or its NAS began anew.
	Own bool
}

func (r *Registry) tell(e *Event, repeated, own bool) {
	if r.cfg.Told != nil && e != nil {
		r.cfg.Told(&Told{Event: *e, Repeated: repeated, Own: own})
	}
}

// again is the event of a report about a session that has ended: its record is gone.
// opened is what the marks say, in ms.
func again(rec Record, rep *Report, opened int64, now time.Time) *Event {
	at := rep.At
	if at.IsZero() || at.After(now) {
		at = now
	}
	rec.State, rec.Ended, rec.Cause, rec.Disconnect, rec.Usage = Closed, at, rep.Cause, rep.Disconnect, rep.Usage
	rec.Opened, rec.Started = time.Time{}, at.Add(-rep.Usage.Time)
	if opened != 0 {
		rec.Opened = time.UnixMilli(opened).UTC()
	}
	return &Event{Kind: EventStop, At: at, Record: rec}
}
