package session

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// State of a session. The zero value is none.
type State uint8

const (
	StateUnknown State = iota
	Pending            // accepted; the NAS has not reported it yet
	Active             // reported
	Closed             // ended; only history events show it
)

var stateNames = [...]string{StateUnknown: "unknown", Pending: "pending", Active: "active", Closed: "closed"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[StateUnknown]
}

// MarshalText and UnmarshalText spell a state in records and output.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *State) UnmarshalText(b []byte) error {
	i := slices.Index(stateNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("parse session state %q", b)
	}
	*s = State(i)
	return nil
}

// Cause says why a session ended: Acct-Terminate-Cause (RFC 2866 §5.10). Values
// beyond the table come from a NAS and are kept as they are.
type Cause uint32

// The causes that we give ourselves.
const (
	LostCarrier Cause = 2  // silent for too long
	NASReboot   Cause = 11 // Accounting-On, or -Off
)

var causeNames = [...]string{
	"unknown", "user-request", "lost-carrier", "lost-service", "idle-timeout", "session-timeout", "admin-reset",
	"admin-reboot", "port-error", "nas-error", "nas-request", "nas-reboot", "port-unneeded", "port-preempted",
	"port-suspended", "service-unavailable", "callback", "user-error", "host-request",
	"supplicant-restart", "reauthentication-failure", "port-reinitialized", "port-disabled", // RFC 3580 §2.5
}

func (c Cause) String() string {
	if int64(c) < int64(len(causeNames)) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause-%d", uint32(c))
}

// Record is one session. Times are the store's, but for those of history.
type Record struct {
	ID      string     `json:"id"` // see ID
	Node    string     `json:"node"`
	Acct    string     `json:"acct"`          // Acct-Session-Id
	Attempt string     `json:"-"`             // the login's, whichever service decides it; "": not known
	Via     string     `json:"via,omitempty"` // the RADIUS client it came through, which can be asked to end it
	User    string     `json:"user"`          // canonical
	SID     string     `json:"sid,omitempty"`
	Realm   string     `json:"realm,omitempty"` // as the policy saw it
	Source  netip.Addr `json:"src"`
	Addr    netip.Addr `json:"addr"`             // static, or leased as reported
	Pool    string     `json:"pool,omitempty"`   // "" for a static address
	Client  string     `json:"client,omitempty"` // MS-RAS-Client-Name
	NASID   string     `json:"nas_id,omitempty"` // NAS-Identifier; Node may be made of something else
	NASAddr netip.Addr `json:"nas_addr,omitzero"`
	Tunnel  string     `json:"tunnel,omitempty"`
	Version string     `json:"client_version,omitempty"` // MS-RAS-Client-Version
	Key     string     `json:"key,omitempty"`            // policy.KeyGrade's name
	OurNode bool       `json:"our_node,omitempty"`       // its NAS is a node of ours
	Device  string     `json:"device,omitempty"`         // of package posture
	Join    string     `json:"join,omitempty"`           // how it was found, one of policy.Joins

	Decision   string    `json:"decision,omitempty"` // decision ID, as Class carries it
	Rule       string    `json:"rule,omitempty"`
	Factor     string    `json:"factor,omitempty"`     // second factor used
	Remembered string    `json:"remembered,omitempty"` // which it was, of a factor given before
	Quarantine time.Time `json:"quarantine,omitzero"`  // until then it waits for its factor; zero: not held back
	Demands    string    `json:"demands,omitempty"`    // the factor that it waits for
	Isolated   bool      `json:"isolated,omitempty"`   // it is in quarantine because the rule isolates it
	Released   string    `json:"released,omitempty"`   // by which call of Release

	// What was counted when it was opened: of its user's, its source's and the source's
	// users' failures, of its user's wrong codes, and when the user got in before.
	Failures [4]int    `json:"failures,omitzero"`
	Before   time.Time `json:"before,omitzero"`

	// What a look at a running session needs to know of what it was granted.
	Policy   string    `json:"policy,omitempty"`   // version of the policy that granted it
	Granted  string    `json:"granted,omitempty"`  // digest of the obligations that its NAS enforces
	Grant    string    `json:"grant,omitempty"`    // ID of the remembered factor that let it in
	GrantEnd time.Time `json:"grant_end,omitzero"` // when that lapses by itself
	Banner   string    `json:"banner,omitempty"`   // what the portal tells its user
	Due      time.Time `json:"due,omitzero"`       // when it is to be looked at again at the latest; zero: when something changes
	Settled  string    `json:"settled,omitempty"`  // by which call of Settle

	Joined  bool      `json:"joined,omitempty"` // two services have let the same attempt in
	State   State     `json:"state"`
	Opened  time.Time `json:"opened"`
	Started time.Time `json:"started,omitzero"`
	Touched time.Time `json:"touched,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Usage   Usage     `json:"usage,omitzero"`
	Cause   Cause     `json:"cause,omitempty"`
	// Why it was to end, and more of it, where one of us wished so: a Reason of authz.
	Why       string `json:"why,omitempty"`
	WhyDetail string `json:"why_detail,omitempty"`
	// Disconnect is what a node of ours says of the cause besides.
	Disconnect Disconnect `json:"disconnect,omitempty"`
}

// ID names a session in the whole installation: Acct-Session-Id is unique within
// its NAS only (RFC 2866 §5.5).
func ID(node, acct string) string { return node + "/" + acct }

func (r Record) marshal() string {
	b, err := json.Marshal(r)
	if err != nil { // no field of ours can fail
		return "{}"
	}
	return string(b)
}

func parseRecord(s string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(s), &r); err != nil {
		return Record{}, fmt.Errorf("parse session record: %w", err)
	}
	return r, nil
}

// EventKind is what a history event tells.
type EventKind string

// There is one EventStart and one EventStop of every session that ever started.
const (
	EventStart EventKind = "start"
	EventStop  EventKind = "stop"
)

// Event is one line of the history: the session as it was then.
type Event struct {
	Kind EventKind `json:"kind"`
	At   time.Time `json:"at"`
	Record
}

func (e Event) marshal() string {
	b, err := json.Marshal(e)
	if err != nil {
		return "{}"
	}
	return string(b)
}

func parseEvent(s string) (Event, error) {
	var e Event
	if err := json.Unmarshal([]byte(s), &e); err != nil {
		return Event{}, fmt.Errorf("parse history event: %w", err)
	}
	return e, nil
}
