package activation

import (
	"log/slog"
	"slices"
	"time"
)

// Action is what was done about a policy. The zero value is nothing.
//
// Handled in: actionNames; audit lines and the history print names.
type Action uint8

const (
	ActionUnknown Action = iota
	Activated            // it is in force from then on
	RolledBack           // the same, of one that was in force before
	Shadowed             // it is asked beside the one in force, and decides nothing
	Withdrawn            // nothing is asked beside any more
	Refused              // it could not be put in force; what was goes on
	InForce              // a service has it in force since it was started, or from its own file
)

var actionNames = [...]string{
	ActionUnknown: "unknown", Activated: "activate", RolledBack: "rollback", Shadowed: "shadow", Withdrawn: "withdraw", Refused: "refused", InForce: "in force",
}

// String returns the action as history and audit lines spell it.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return actionNames[ActionUnknown]
}

// MarshalText implements encoding.TextMarshaler.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. What is not known is unknown.
func (a *Action) UnmarshalText(text []byte) error {
	*a = Action(max(slices.Index(actionNames[:], string(text)), 0))
	return nil
}

// Event is one line of the history, and of a service's audit log.
type Event struct {
	At      time.Time `json:"at"`
	Action  Action    `json:"action"`
	Who     string    `json:"who,omitempty"`  // user@host, or the service that did it by itself
	From    string    `json:"from,omitempty"` // a file, "git COMMIT" in front of it where there is one
	Comment string    `json:"comment,omitempty"`
	Before  string    `json:"before,omitempty"` // version; "": none
	After   string    `json:"after,omitempty"`  // version; of what was refused, that
	Serial  uint64    `json:"serial,omitempty"`
	Signer  string    `json:"signer,omitempty"`  // "": it is not signed, or nobody asks for it
	Service string    `json:"service,omitempty"` // where it was refused, or came into force
	Error   string    `json:"error,omitempty"`   // of what was refused
}

// Attrs are what an audit line says of it.
func (e *Event) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("at", e.At.UTC().Format(time.RFC3339Nano)),
		slog.String("action", e.Action.String()),
		slog.String("who", e.Who),
		slog.String("from", e.From),
		slog.String("comment", e.Comment),
		slog.String("before", e.Before),
		slog.String("after", e.After),
		slog.Uint64("serial", e.Serial),
		slog.String("signer", e.Signer),
		slog.String("service", e.Service),
		slog.String("error", e.Error),
	}
}

// Bounds of what people write about an activation, ours.
const (
	maxSaid  = 512
	maxError = 4096
)

// bounded keeps a text short, at the end of a letter.
func bounded(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := 0
	for i := range s { // starts of letters
		if i > most-len("…") {
			break
		}
		cut = i
	}
	return s[:cut] + "…"
}

// bounded keeps an event small: it is kept, and others say what is in it.
func (e *Event) bounded() Event {
	b := *e
	b.Who, b.From, b.Comment = bounded(e.Who, maxSaid), bounded(e.From, maxSaid), bounded(e.Comment, maxSaid)
	b.Error = bounded(e.Error, maxError)
	return b
}
