package control

import "testing"

func TestOutgoing(t *testing.T) { golden(t, "outgoing.txt") }

func TestCallResult(t *testing.T) {
	enum(t, CallDoNotAccept, "unknown", "connected", "general error", "no carrier", "busy",
		"no dial tone", "time-out", "do not accept")
}
