package activation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State is what the store says of policies. It changes as a whole, see Desk.
type State struct {
	Serial    uint64 `json:"serial"`    // one more with each change
	Change    string `json:"change"`    // names this change: two alike at once are two
	Active    Pin    `json:"active"`    // zero: nothing was ever activated
	Candidate Pin    `json:"candidate"` // asked beside it; zero: none
	Source    string `json:"source"`    // what was found last where services look by themselves

	raw string // as it stands in the store
}

// Pin is a version that was chosen, by whom and why.
type Pin struct {
	Version string    `json:"version"`
	Sum     string    `json:"sum"`    // of the whole content: what the version is short for
	Serial  uint64    `json:"serial"` // of the state since which it is
	Before  string    `json:"before,omitempty"`
	Action  Action    `json:"action"`
	At      time.Time `json:"at"`
	Who     string    `json:"who,omitempty"`
	From    string    `json:"from,omitempty"`
	Comment string    `json:"comment,omitempty"`
}

// Set says whether there is one.
func (p *Pin) Set() bool { return p.Version != "" }

// event is what a pin's history line says.
func (p *Pin) event() Event {
	return Event{At: p.At, Action: p.Action, Who: p.Who, From: p.From, Comment: p.Comment, Before: p.Before, After: p.Version, Serial: p.Serial}
}

// kept is a version that can be gone back to.
type kept struct {
	Version string `json:"version"`
	Sum     string `json:"sum"`
	// Before is what was in force when it was activated: where to go back to from it.
	Before string `json:"before,omitempty"`
}

const (
	// keepVersions bounds how many can be gone back to, ours.
	keepVersions = 50
	maxState     = 64 << 10 // all that people say, each letter escaped
	maxKept      = 64 << 10
)

// parseState reads the store's value.
func parseState(raw string) (State, error) {
	var s State
	if err := strictly(raw, maxState, &s); err != nil {
		return State{}, fmt.Errorf("parse state of policies: %w", err)
	}
	for _, p := range []*Pin{&s.Active, &s.Candidate} {
		if p.Set() && (!hexadecimal(p.Version, versionLen) || !hexadecimal(p.Sum, sumLen)) {
			return State{}, errors.New("parse state of policies: not a version")
		}
	}
	s.raw = raw
	return s, nil
}

// encode is the other way round.
func (s *State) encode() string {
	text, _ := json.Marshal(s) // strings, numbers and times of this age: it cannot fail
	return string(text)
}

// parseKept reads the list of versions, newest first.
func parseKept(raw string) ([]kept, error) {
	if raw == "" {
		return nil, nil
	}
	var list []kept
	if err := strictly(raw, maxKept, &list); err != nil {
		return nil, fmt.Errorf("parse list of policies: %w", err)
	}
	for _, k := range list {
		if !hexadecimal(k.Version, versionLen) || !hexadecimal(k.Sum, sumLen) {
			return nil, errors.New("parse list of policies: not a version")
		}
	}
	return list, nil
}

func encodeKept(list []kept) string {
	text, _ := json.Marshal(list) // strings
	return string(text)
}

// keep puts a version in front of the list and says which ones it is too long for. Those
// in use stay, however old.
func keep(list []kept, k kept, inUse ...string) (now []kept, dropped []string) {
	now = append([]kept{k}, slices.DeleteFunc(slices.Clone(list), func(o kept) bool { return o.Version == k.Version })...)
	for i := len(now) - 1; i > 0 && len(now) > keepVersions; i-- {
		if !slices.Contains(inUse, now[i].Version) {
			dropped = append(dropped, now[i].Version)
			now = slices.Delete(now, i, i+1)
		}
	}
	return now, dropped
}

// Lengths in hexadecimal digits: policy.Policy.Version and Bundle.Sum.
const (
	versionLen = 16
	sumLen     = 64
)

func hexadecimal(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
