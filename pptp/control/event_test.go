package control

import "testing"

func TestOddity(t *testing.T) {
	enum(t, NotControl, "unknown", "out of state", "wrong role", "unknown call", "duplicate call",
		"too many calls", "bad value", "bad echo", "not defined", "not control")
}

func TestCause(t *testing.T) {
	enum(t, CauseIdle, "none", "stopped by peer", "stopped", "refused", "refused by peer", "version",
		"not started", "malformed", "start time-out", "echo time-out", "idle")
}
