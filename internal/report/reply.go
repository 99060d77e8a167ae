package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Reply is what the service says. Other fields than these may come from a newer one.
type Reply struct {
	Device  string    `json:"device,omitempty"` // whose report was taken, or who was enrolled
	User    string    `json:"user,omitempty"`   // whose the device is; to an enrolment only
	Refused Refusal   `json:"refused,omitzero"`
	Time    time.Time `json:"time"` // by the service's clock
}

// Append appends the reply as it travels.
func (r *Reply) Append(b []byte) []byte { return appendJSON(b, r) }

// ParseReply reads what the service says. It either names a device or refuses.
func ParseReply(b []byte) (*Reply, error) {
	if len(b) > MaxReply {
		return nil, fmt.Errorf("%w: %d octets", ErrMalformed, len(b))
	}
	r := new(Reply)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: no reply", ErrMalformed)
	}
	if (r.Refused == Taken) != ValidID(r.Device) {
		return nil, fmt.Errorf("%w: neither taken nor refused", ErrMalformed)
	}
	return r, nil
}

// Refusal is why the service did not take what a device sent.
//
// Handled in: refusalNames, Texts; the service's status codes (radiusd/portal/agents.go);
// its names label a metric and have rows in the runbook.
type Refusal uint8

const (
	Taken       Refusal = iota
	Malformed           // no report, no enrolment, or too long
	Unsupported         // of another version
	Rate                // too many in a minute
	Ticket              // no such ticket, or not any more
	Proof               // the key's proof is wrong
	Full                // the user has too many devices
	UnknownKey          // no such device, or not with this key
	Signature           // not signed with the device's key; told as UnknownKey
	Revoked             // the device was taken away
	Clock               // the device's clock is wrong
	Replayed            // this very report came before
	Order               // a later report came before
	Away                // the service cannot tell now
	other               // what a newer service says
)

var refusalNames = [...]string{
	Taken: "taken", Malformed: "malformed", Unsupported: "version", Rate: "rate", Ticket: "ticket", Proof: "proof", Full: "full",
	UnknownKey: "unknown", Signature: "signature", Revoked: "revoked", Clock: "clock", Replayed: "replayed", Order: "order",
	Away: "away", other: "other",
}

// Refusals are all that the service knows.
func Refusals() []Refusal {
	var all []Refusal
	for r := Malformed; r < other; r++ {
		all = append(all, r)
	}
	return all
}

func (r Refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return refusalNames[other]
}

// Told is what a device may learn: nobody finds out which devices there are.
func (r Refusal) Told() Refusal {
	if r == Signature {
		return UnknownKey
	}
	return r
}

// MarshalText implements encoding.TextMarshaler.
func (r Refusal) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; a word that is not known refuses.
func (r *Refusal) UnmarshalText(b []byte) error {
	*r = other
	if i := slices.Index(refusalNames[:], string(b)); i > 0 {
		*r = Refusal(i)
	}
	return nil
}

var texts = [...]string{
	Taken:       "the report was taken",
	Malformed:   "the service does not understand it",
	Unsupported: "the service is older than this agent",
	Rate:        "too many in a minute; try again later",
	Ticket:      "this ticket is not valid: it may have been used, or its time is over",
	Proof:       "the proof of the key is wrong",
	Full:        "the user has as many computers as are possible",
	UnknownKey:  "the service does not know this computer's key; enrol it with a new ticket",
	Signature:   "the service does not know this computer's key; enrol it with a new ticket",
	Revoked:     "this computer was taken away from its user; enrol it with a new ticket",
	Clock:       "the clock of this computer is wrong",
	Replayed:    "this very report came before",
	Order:       "a later report came before",
	Away:        "the service cannot answer now",
	other:       "the service refuses it",
}

// Text says it to people.
func (r Refusal) Text() string {
	if int(r) < len(texts) {
		return texts[r]
	}
	return texts[other]
}

// Again says whether a new report may be taken a moment later.
func (r Refusal) Again() bool { return r == Replayed || r == Order }
