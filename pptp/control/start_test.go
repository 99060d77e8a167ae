package control

import "testing"

func TestStart(t *testing.T) { golden(t, "start.txt") }

func TestStartResult(t *testing.T) {
	enum(t, StartBadVersion, "unknown",
		"successful channel establishment", "general error", "command channel already exists",
		"requester not authorized", "protocol version not supported")
}
