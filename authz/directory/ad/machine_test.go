package ad

import (
	"bytes"
	"strings"
	"testing"
)

func TestMachinePassword(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p := newMachinePassword()
		if len(p) != 64 || seen[string(p)] || bytes.ContainsAny(p, `"`) {
			t.Fatalf("%d octets, seen %v", len(p), seen[string(p)])
		}
		seen[string(p)] = true
	}
}

func TestUnicodePwd(t *testing.T) {
	if got := unicodePwd([]byte("ä😀")); got != "\x22\x00\xe4\x00\x3d\xd8\x00\xde\x22\x00" {
		t.Errorf("%q", got)
	}
}

func TestCheckMachine(t *testing.T) {
	for _, ok := range []string{"RGW", "rgw-1", strings.Repeat("x", 15)} {
		if err := checkMachine(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "RGW$", "a b", "a,b", "ä", strings.Repeat("x", 16), "a\\b"} {
		if checkMachine(bad) == nil {
			t.Errorf("%q is a machine's name", bad)
		}
	}
}
