package lockout

import (
	"fmt"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	m, now := newMemory(3), noon
	m.now = func() time.Time { return now }
	if !m.note("a", time.Second) || m.note("a", time.Hour) {
		t.Error("first and second")
	}
	now = noon.Add(longestRemembered - 1)
	if !m.has("a") || m.has("b") {
		t.Error("before the end")
	}
	now = noon.Add(longestRemembered)
	if m.has("a") || !m.note("a", time.Second) {
		t.Error("after the end")
	}
	for i := range 20 {
		m.note(fmt.Sprint(i), time.Hour)
	}
	if len(m.m) > 3 {
		t.Errorf("%d names", len(m.m))
	}
	m.forget("19")
	if m.has("19") {
		t.Error("forgotten, and there")
	}
}
