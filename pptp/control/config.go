package control

import "time"

// Times and counts, each used where Config says zero. RFC 2637 §3.1.4 asks for
// 60 s three times: before the first echo, for its answer, and for a start that
// does not come.
const (
	DefaultEchoInterval = 60 * time.Second // §3.1.4
	DefaultEchoTimeout  = 60 * time.Second // §3.1.4

	// Ours, not the RFC's.

	// [MS-PTPT] 3.1.2: Windows gives a connection 30 s, not 60, to start; a
	// half-open connection is all that a stranger can cost us.
	DefaultStartTimeout = 30 * time.Second
	// A started connection without a call is worth no more than a half-open one.
	DefaultIdleTimeout = 30 * time.Second
	// For the answer to our Stop-Control-Connection-Request: a round trip on a
	// bad line. The RFC's 60 s would hold up every shutdown.
	DefaultStopTimeout = 3 * time.Second
	// Packets we say we buffer. Kernel clients announce 64 and more.
	DefaultWindow = 64
	// Calls on one connection. One host rarely dials twice; hosts behind one NAT
	// address have a connection each.
	DefaultMaxCalls = 16
	// What the client says of its line; pptp-linux sends the same range.
	defaultMinBPS = 2400
	defaultMaxBPS = 1_000_000_000
)

// Config is what the connections of one node or one client have in common;
// they share it, so it must not change once the first one has it. The zero
// Config works. A negative duration turns its timer off.
type Config struct {
	HostName    string
	Vendor      string
	Firmware    uint16
	MaxChannels uint16

	Window   uint16 // announced by AcceptCall and Call when theirs is 0
	MaxCalls int    // on one connection, unanswered ones included

	EchoInterval time.Duration // silence before our Echo-Request
	EchoTimeout  time.Duration // and from it until we give up
	StartTimeout time.Duration // until the connection has started
	IdleTimeout  time.Duration // without a call
	StopTimeout  time.Duration // for the answer to our stop

	// Rewrite, if set, sees every message before it is encoded and returns what
	// to send instead; nil sends nothing. With it a dialling client imitates the
	// fields and the faults of known clients.
	Rewrite func(Message) Message
}

// identity is what we say of ourselves.
func (c *Config) identity() Identity {
	return Identity{
		Framing:     FramingAny,
		Bearer:      BearerAny,
		MaxChannels: c.MaxChannels,
		Firmware:    c.Firmware,
		HostName:    c.HostName,
		Vendor:      c.Vendor,
	}
}

func (c *Config) window(asked uint16) uint16 {
	switch {
	case asked != 0:
		return asked
	case c.Window != 0:
		return c.Window
	}
	return DefaultWindow
}

func (c *Config) maxCalls() int {
	if c.MaxCalls > 0 {
		return c.MaxCalls
	}
	return DefaultMaxCalls
}

// after is the moment d past t, 0 where the timer is off.
func after(t, d, standard time.Duration) time.Duration {
	switch {
	case d < 0:
		return 0
	case d == 0:
		d = standard
	}
	return t + d
}
