package ad

import (
	"testing"

	"postern/authz/directory"
)

func TestBindRefused(t *testing.T) {
	for code, want := range map[string]directory.Rejected{
		"52e": {Reason: directory.WrongPassword, Detail: "bind refused, data 52e"},
		"525": {Reason: directory.NoSuchUser, Detail: "bind refused, data 525"},
		"775": {Reason: directory.AccountState, State: directory.Locked, Detail: "bind refused, data 775"},
		"773": {Reason: directory.AccountState, State: directory.PasswordMustChange, Detail: "bind refused, data 773"},
		"999": {Reason: directory.WrongPassword, Detail: "bind refused, data 999"},
		"":    {Reason: directory.WrongPassword, Detail: "bind refused"},
	} {
		if got := bindRefused(code); got != want {
			t.Errorf("%q: %+v, want %+v", code, got, want)
		}
	}
	for code, r := range subCodes {
		if (r.Reason == directory.AccountState) != (r.State != directory.StateUnknown) {
			t.Errorf("%s: %+v", code, r)
		}
	}
}
