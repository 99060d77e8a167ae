package failover

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// own is a package's error that says itself what it is.
type own struct{ away bool }

func (o own) Error() string { return "own" }
func (o own) Away() bool    { return o.away }

func TestIsAway(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{Away(nil), false},
		{errors.New("no"), false},
		{context.DeadlineExceeded, false}, // whose deadline it was is f's to say
		{Away(errors.New("silent")), true},
		{fmt.Errorf("doing: %w", Away(errors.New("silent"))), true},
		{fmt.Errorf("doing: %w", own{true}), true},
		{own{false}, false},
		{&NoAnswer{}, true},
	} {
		if got := IsAway(c.err); got != c.want {
			t.Errorf("IsAway(%v) = %v", c.err, got)
		}
	}
	if err := errors.New("silent"); !errors.Is(Away(err), err) || Away(err).Error() != "silent" {
		t.Error("Away hides its cause")
	}
}
