package directory

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestErrors(t *testing.T) {
	rejected := fmt.Errorf("realm x: %w", Rejected{Reason: AccountState, State: Locked})
	if r, ok := IsRejected(rejected); !ok || r.State != Locked || r.Error() != "rejected: account locked" {
		t.Errorf("%v, %v", r, ok)
	}
	away := Unavailable{"dial", io.EOF}
	if _, ok := IsRejected(away); ok || !errors.Is(away, io.EOF) || away.Error() != "directory unavailable: dial: EOF" {
		t.Errorf("%v counts as rejected", away)
	}
	if (State(0)).String() != "unknown" || State(99).String() != "unknown" || Reason(99).String() != "unknown" {
		t.Error("values out of range")
	}
}
