package control

import "testing"

func TestClear(t *testing.T) { golden(t, "clear.txt") }

func TestDisconnectResult(t *testing.T) {
	enum(t, DisconnectRequest, "unknown", "lost carrier", "general error", "admin shutdown", "request")
}
