package control

import "testing"

func TestLinkInfo(t *testing.T) { golden(t, "linkinfo.txt") }
