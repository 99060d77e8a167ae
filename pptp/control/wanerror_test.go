package control

import "testing"

func TestWANError(t *testing.T) { golden(t, "wanerror.txt") }
