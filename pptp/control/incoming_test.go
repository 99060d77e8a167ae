package control

import "testing"

func TestIncoming(t *testing.T) { golden(t, "incoming.txt") }

func TestIncomingResult(t *testing.T) {
	enum(t, IncomingDoNotAccept, "unknown", "connect", "general error", "do not accept")
}
