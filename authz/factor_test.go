package authz

import (
	"testing"

	"postern/policy"
)

func TestMeets(t *testing.T) {
	const code, webauthn, none = policy.FactorCode, policy.FactorWebAuthn, policy.FactorNone
	for _, tt := range []struct {
		factor, kind          Factor
		code, webauthn, given bool
	}{
		{FactorNone, FactorNone, false, false, true},
		{FactorCode, FactorNone, true, false, true},
		{FactorRecovery, FactorNone, true, false, true},
		{FactorWebAuthn, FactorNone, true, true, true},
		{FactorRemembered, FactorCode, true, false, true},
		{FactorRemembered, FactorRecovery, true, false, true},
		{FactorRemembered, FactorWebAuthn, true, true, true},
		// What was remembered must be known, and is never a remembrance itself.
		{FactorRemembered, FactorNone, false, false, true},
		{FactorRemembered, FactorRemembered, false, false, true},
		{FactorNone, FactorWebAuthn, false, false, true},
		{Factor(9), FactorCode, false, false, true},
	} {
		if meets(tt.factor, tt.kind, code) != tt.code || meets(tt.factor, tt.kind, webauthn) != tt.webauthn || meets(tt.factor, tt.kind, none) != tt.given {
			t.Errorf("%v of %v", tt.factor, tt.kind)
		}
	}
	if meets(FactorRecovery, FactorNone, policy.Factor(9)) != true || meets(FactorNone, FactorNone, policy.Factor(9)) {
		t.Error("a demand that nobody knows is one for a code")
	}
}

func TestParseFactor(t *testing.T) {
	for f := range Factor(len(factorNames)) {
		if got := ParseFactor(f.String()); got != f {
			t.Errorf("%v becomes %v", f, got)
		}
	}
	if ParseFactor("fingerprint") != FactorNone || ParseFactor("") != FactorNone {
		t.Error("something unknown is a factor")
	}
}
