package pptp

import (
	"testing"
	"time"
)

func TestCallTable(t *testing.T) {
	tab := &callTable{}
	tab.setLimit(2)
	now := time.Unix(1_000_000, 0)
	a := new(session)
	ida, ok := tab.take(now)
	tab.put(ida, a)
	if !ok || ida == 0 || tab.at[ida].Load() != a {
		t.Fatalf("first call ID: %d, %v", ida, ok)
	}
	idb, ok := tab.take(now)
	if !ok || idb == ida {
		t.Fatalf("second call ID: %d, %v", idb, ok)
	}
	if _, ok := tab.take(now); ok {
		t.Fatal("a call over the limit was taken")
	}
	tab.free(ida, now)
	tab.free(ida, now) // twice is once
	if tab.at[ida].Load() != nil {
		t.Fatal("a freed call is found")
	}
	tab.setLimit(1 << 16)
	for range 1<<16 - 2 - 1 { // all but 0, idb and the resting ida
		id, ok := tab.take(now)
		if !ok || id == ida || id == idb || id == 0 {
			t.Fatalf("got %d, %v", id, ok)
		}
	}
	if _, ok := tab.take(now.Add(callRest - time.Second)); ok {
		t.Fatal("a resting ID was taken")
	}
	if id, ok := tab.take(now.Add(callRest)); !ok || id != ida {
		t.Fatalf("after its rest: %d, %v", id, ok)
	}
}

func TestAddrTable(t *testing.T) {
	tab := &addrTable{}
	a, b := new(session), new(session)
	x, y := [4]byte{10, 80, 0, 7}, [4]byte{10, 80, 0, 8}
	if tab.find(x) != nil || !tab.put(x, a) || !tab.put(x, a) || tab.find(x) != a || tab.find(y) != nil {
		t.Fatal("put and find")
	}
	if tab.put(x, b) {
		t.Fatal("an address in use was given away")
	}
	tab.remove(x, b)
	if tab.find(x) != a {
		t.Fatal("removed by a stranger")
	}
	tab.remove(x, a)
	if tab.find(x) != nil || !tab.put(x, b) {
		t.Fatal("remove")
	}
}
