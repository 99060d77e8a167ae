package control

import "testing"

func TestStop(t *testing.T) { golden(t, "stop.txt") }

func TestStopReason(t *testing.T) {
	enum(t, StopShutdown, "unknown", "general", "protocol", "local shutdown")
}

func TestStopResult(t *testing.T) { enum(t, StopError, "unknown", "ok", "general error") }
