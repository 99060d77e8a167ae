package client

import "time"

// Milestone is how far a dial has come. Each is reached once in a dial, in this order.
type Milestone uint8

const (
	MilestoneNone Milestone = iota
	Connected               // TCP; not of DialCall, which has a connection
	Called                  // the server took control connection and call (RFC 2637 §2.2, §2.8)
	Linked                  // LCP is open
	LoggedIn                // the server took our proof and gave its own (RFC 2759 §5)
	Up                      // IP passes: IPCP is open, and CCP where it is wanted
)

var milestoneNames = [...]string{
	MilestoneNone: "none", Connected: "connected", Called: "called", Linked: "linked", LoggedIn: "logged in", Up: "up",
}

// String returns the words for people.
func (m Milestone) String() string { return name(milestoneNames[:], int(m)) }

// reached tells whoever wants to know.
func (c *Config) reached(m Milestone, now time.Time) {
	if c.Reached != nil {
		c.Reached(m, now)
	}
}
