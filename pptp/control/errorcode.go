package control

// ErrorCode is the general error code of RFC 2637 §2.16. It says why, where a
// result says "general error"; with any other result it is ErrorNone.
type ErrorCode uint8

// The general error codes.
const (
	ErrorNone         ErrorCode = iota // no general error
	ErrorNotConnected                  // no control connection exists yet for this pair
	ErrorBadFormat                     // length or magic cookie is wrong
	ErrorBadValue                      // a field is out of range
	ErrorNoResource                    // not enough resources for this now
	ErrorBadCallID                     // the call ID is invalid in this context
	ErrorPAC                           // vendor-specific error in the PAC
)

var errorCodeNames = [...]string{
	ErrorNone:         "none",
	ErrorNotConnected: "not connected",
	ErrorBadFormat:    "bad format",
	ErrorBadValue:     "bad value",
	ErrorNoResource:   "no resource",
	ErrorBadCallID:    "bad call ID",
	ErrorPAC:          "PAC error",
}

// String returns the RFC's name of the code.
func (e ErrorCode) String() string { return enumName(errorCodeNames[:], int(e)) }

// orPAC gives a general error the code that RFC 2637 demands with it; "none"
// would leave the peer with an error and no reason.
func (e ErrorCode) orPAC() ErrorCode {
	if e == ErrorNone {
		return ErrorPAC
	}
	return e
}
