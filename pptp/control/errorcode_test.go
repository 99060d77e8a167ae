package control

import "testing"

// TestErrorCode checks the numbers of RFC 2637 §2.16 by their names.
func TestErrorCode(t *testing.T) {
	enum(t, ErrorPAC, "none", "not connected", "bad format", "bad value", "no resource",
		"bad call ID", "PAC error")
}
