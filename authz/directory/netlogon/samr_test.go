package netlogon

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestJudgeChange(t *testing.T) {
	cfg := &Config{Server: "dc1"}
	if err := judgeChange(cfg, nil); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		err          error
		rejected     bool
		alarm, final bool
	}{
		{StatusWrongPassword, true, false, false},
		{StatusPasswordRestriction, true, false, false},
		{StatusAccountLockedOut, true, false, false},
		{StatusAccessDenied, true, false, false}, // the user may not change it
		{StatusNotSupported, false, true, false}, // the DC's policy forbids this call
		{StatusNTLMBlocked, false, true, false},
		{StatusInsufficientResources, false, false, false},
		{Status(0xC0001234), false, false, true},
		{misconfigured{faultAccessDenied}, false, true, false},
		{io.EOF, false, false, false},
	} {
		got := judgeChange(cfg, fmt.Errorf("x: %w", c.err))
		if !errors.Is(got, c.err) && !errors.As(got, new(misconfigured)) {
			t.Errorf("%v hides its cause: %v", c.err, got)
		}
		var r *Rejected
		if errors.As(got, &r) != c.rejected {
			t.Errorf("%v: %v", c.err, got)
		}
		var u *Unavailable
		if errors.As(got, &u) == c.rejected || u != nil && (u.Alarm != c.alarm || u.Final != c.final) {
			t.Errorf("%v: %+v", c.err, u)
		}
	}
}

func TestRefusedBind(t *testing.T) {
	for _, f := range []fault{faultSecurity, faultAccessDenied, faultLogonFailure} {
		u := unavailable("dc1", "connect", refusedBind(explain(f)))
		if !u.Alarm || !errors.Is(u, StatusAccessDenied) || !errors.Is(u, f) {
			t.Errorf("%v: %+v", f, u)
		}
	}
	if u := unavailable("dc1", "connect", refusedBind(io.EOF)); u.Alarm || !errors.Is(u, io.EOF) {
		t.Errorf("%+v", u)
	}
}

func TestChangeNeedsAMachine(t *testing.T) {
	var u *Unavailable
	if err := ChangePassword(t.Context(), Config{Server: "dc1"}, "alice", new([516]byte), new([16]byte)); !errors.As(err, &u) || !u.Alarm {
		t.Error(err)
	}
}
