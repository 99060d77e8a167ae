package ppp

// Auth is an authentication method as LCP's option 3 names it (RFC 1661 §6.2).
//
// Handled in: authOptions, authNames.
type Auth uint8

const (
	AuthNone     Auth = iota // nothing agreed
	AuthOther                // something we do not know
	AuthMSCHAPv2             // CHAP, algorithm 0x81 (RFC 2759 §3)
	AuthEAP                  // RFC 3748; never offered unless configured
	AuthMSCHAPv1             // CHAP, algorithm 0x80: recognised so that logs can name it, never agreed
	AuthMD5                  // CHAP, algorithm 5: likewise
	AuthPAP                  // likewise
)

var authNames = [...]string{
	AuthNone: "none", AuthOther: "other", AuthMSCHAPv2: "MS-CHAPv2", AuthEAP: "EAP",
	AuthMSCHAPv1: "MS-CHAPv1", AuthMD5: "CHAP-MD5", AuthPAP: "PAP",
}

// String names the method for logs.
func (a Auth) String() string {
	if int(a) < len(authNames) {
		return authNames[a]
	}
	return authNames[AuthOther]
}

// authOptions are the option's values; nil cannot be written.
var authOptions = [...][]byte{
	AuthMSCHAPv2: {0xC2, 0x23, 0x81}, AuthEAP: {0xC2, 0x27},
	AuthMSCHAPv1: {0xC2, 0x23, 0x80}, AuthMD5: {0xC2, 0x23, 0x05}, AuthPAP: {0xC0, 0x23},
}

// strong tells the methods we ever agree to, whatever the configuration lists:
// MS-CHAPv1, CHAP-MD5 and PAP give the password away to whoever listens.
func (a Auth) strong() bool { return a == AuthMSCHAPv2 || a == AuthEAP }

// strongOnly copies list without what is not strong.
func strongOnly(list []Auth) []Auth {
	var out []Auth
	for _, a := range list {
		if a.strong() {
			out = append(out, a)
		}
	}
	return out
}

// parseAuth reads the option's value.
func parseAuth(v []byte) Auth {
	for a, w := range authOptions {
		if w != nil && string(v) == string(w) {
			return Auth(a)
		}
	}
	return AuthOther
}

// value is the option's value.
func (a Auth) value() []byte { return authOptions[a] }
