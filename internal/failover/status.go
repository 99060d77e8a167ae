package failover

import "time"

// State is how a server is treated.
//
// Handled in: stateNames.
type State uint8

const (
	StateUnknown State = iota // never asked
	Up                        // asked in its turn
	PassedOver                // asked when no other is left
	OnProbation               // its pause is over; the next request tries it, or one is trying it
)

var stateNames = [...]string{StateUnknown: "unknown", Up: "up", PassedOver: "passed over", OnProbation: "on probation"}

// String returns the state in words.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[StateUnknown]
}

// ServerState is what is known of one server.
type ServerState struct {
	Server   string
	State    State
	Failures int       // in a row
	Asked    uint64    // requests
	Failed   uint64    // of these, without an answer
	Since    time.Time // of the last change between up and passed over; zero: none yet
	Until    time.Time // PassedOver: until then
	Last     error     // why it was away the last time; nil: never was
}

// Status returns the servers in their order.
func (g *Group) Status() []ServerState {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	all := make([]ServerState, 0, len(g.list.servers))
	for _, s := range g.list.servers {
		b := &s.breaker
		state := ServerState{
			Server: s.name, Failures: b.failures, Asked: s.asked, Failed: s.failed, Since: b.since, Last: s.last,
		}
		switch {
		case b.open && now.Before(b.until):
			state.State, state.Until = PassedOver, b.until
		case b.open:
			state.State = OnProbation
		case s.asked > 0:
			state.State = Up
		}
		all = append(all, state)
	}
	return all
}
