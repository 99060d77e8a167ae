package authz

import "postern/policy"

// Factor is the second factor a login had. The zero value is none.
//
// Handled in: factorNames, ParseFactor, meets; records of sessions and of remembered
// factors keep the names.
type Factor uint8

const (
	FactorNone       Factor = iota
	FactorCode              // a one-time code, however it came
	FactorRecovery          // a recovery code, in the portal
	FactorWebAuthn          // a key or a passkey, in the portal
	FactorRemembered        // one of these, given before from the same place
)

var factorNames = [...]string{
	FactorNone: "none", FactorCode: "code", FactorRecovery: "recovery", FactorWebAuthn: "webauthn", FactorRemembered: "remembered",
}

// String returns the factor as audit lines spell it.
func (f Factor) String() string {
	if int(f) < len(factorNames) {
		return factorNames[f]
	}
	return factorNames[FactorNone]
}

// ParseFactor reads what String wrote. What it does not know is none.
func ParseFactor(s string) Factor {
	for f, name := range factorNames {
		if name == s {
			return Factor(f)
		}
	}
	return FactorNone
}

// meets says whether a factor is what a rule demands; of a remembered one, kind says
// which it was.
func meets(f, kind Factor, demanded policy.Factor) bool {
	if f == FactorRemembered {
		f = kind
	}
	switch demanded {
	case policy.FactorNone:
		return true
	case policy.FactorWebAuthn:
		return f == FactorWebAuthn
	case policy.FactorCode:
	}
	return f == FactorCode || f == FactorRecovery || f == FactorWebAuthn
}
