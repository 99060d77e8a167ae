package netlogon

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStatuses(t *testing.T) {
	names := map[string]Status{}
	for s, known := range statuses {
		if other, twice := names[known.name]; twice {
			t.Errorf("%08X and %08X are both %s", uint32(s), uint32(other), known.name)
		}
		names[known.name] = s
		if s.String() != known.name || known.name != strings.ToUpper(known.name) {
			t.Errorf("%08X is %q", uint32(s), s)
		}
		if s == StatusOK {
			continue
		}
		if s>>30 != 3 {
			t.Errorf("%s is no error by its number", s)
		}
		if known.class == ClassUnknown {
			t.Errorf("%s: whose affair is it?", s)
		}
		if want := fmt.Sprintf("%s (0x%08X)", known.name, uint32(s)); s.Error() != want {
			t.Errorf("%q, want %q", s.Error(), want)
		}
	}
	for s, class := range map[Status]Class{
		StatusWrongPassword: ClassUser, StatusAccountLockedOut: ClassUser, StatusNTLMBlocked: ClassConfiguration,
		StatusAccessDenied: ClassConfiguration, StatusNoTrustSAMAccount: ClassConfiguration,
		StatusNoLogonServers: ClassDomain, StatusInsufficientResources: ClassBusy, 0xC0001234: ClassUnknown,
	} {
		if s.Class() != class || s.IsConfiguration() != (class == ClassConfiguration) {
			t.Errorf("%s is %s, want %s", s, s.Class(), class)
		}
	}
	if s := Status(0xC0001234); s.String() != "0xC0001234" || s.Error() != "NTSTATUS 0xC0001234" {
		t.Errorf("%s, %v", s, error(s))
	}
	for c := ClassUnknown; c <= ClassDomain; c++ {
		if c.String() == "" || c != ClassUnknown && c.String() == "unknown" {
			t.Errorf("class %d has no name", c)
		}
	}
	if Class(99).String() != "unknown" {
		t.Error(Class(99))
	}
}

func TestErrorsKeepTheirStatus(t *testing.T) {
	for _, err := range []error{
		&Rejected{StatusWrongPassword},
		&Unavailable{Server: "dc1", Doing: "log on", Err: fmt.Errorf("authenticate: %w", StatusWrongPassword)},
	} {
		var s Status
		if !errors.As(fmt.Errorf("x: %w", err), &s) || s != StatusWrongPassword {
			t.Errorf("%v: %v", err, s)
		}
	}
	if got := (&Rejected{StatusWrongPassword}).Error(); got != "rejected: WRONG_PASSWORD (0xC000006A)" {
		t.Error(got)
	}
	if got := unavailable("dc1", "log on", ErrBusy).Error(); got != "domain controller dc1: log on: every channel is busy" {
		t.Error(got)
	}
}
