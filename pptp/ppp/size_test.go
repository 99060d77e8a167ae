package ppp

import (
	"testing"
	"unsafe"
)

// A node holds 20,000 sessions: the three machines of one must stay within a
// kilobyte and a half. None of them holds a map, a channel or a goroutine.
func TestMachinesAreSmall(t *testing.T) {
	lcp, ccp, ipcp := unsafe.Sizeof(LCP{}), unsafe.Sizeof(CCP{}), unsafe.Sizeof(IPCP{})
	t.Logf("LCP %d, CCP %d, IPCP %d octets", lcp, ccp, ipcp)
	if sum := lcp + ccp + ipcp; sum > 1536 {
		t.Errorf("%d octets a session", sum)
	}
}
