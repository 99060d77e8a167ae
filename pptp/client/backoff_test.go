package client

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b Backoff
	for i, seconds := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
		most := time.Duration(seconds) * time.Second
		if d := b.Next(); d < most/2 || d >= most {
			t.Errorf("wait %d is %v, want %v to %v", i, d, most/2, most)
		}
	}
	b.tries = 1 << 20
	if d := b.Next(); d >= backoffMax {
		t.Error(d)
	}
	if d := Settle(); d < 0 || d >= time.Second {
		t.Error(d)
	}
}
