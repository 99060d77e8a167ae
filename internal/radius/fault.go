package radius

// Fault says why a packet was not believed. It is an error, and a metric's label.
//
// Handled in: faultNames.
type Fault uint8

const (
	FaultUnknown       Fault = iota
	FaultShort               // fewer octets than a header
	FaultLength              // the Length field is wrong for what arrived
	FaultAttribute           // an attribute runs over the end, or there are too many
	FaultCode                // not a code that belongs here
	FaultUnsigned            // Message-Authenticator is missing where it is required
	FaultSignature           // Message-Authenticator is wrong, repeated or misshapen
	FaultAuthenticator       // Request or Response Authenticator is wrong
	FaultUnexpected          // answers nothing we asked, or came too late
	FaultNoSecret            // there is no secret to check with
)

var faultNames = [...]string{
	FaultUnknown:       "unknown",
	FaultShort:         "short",
	FaultLength:        "length",
	FaultAttribute:     "attribute",
	FaultCode:          "code",
	FaultUnsigned:      "unsigned",
	FaultSignature:     "signature",
	FaultAuthenticator: "authenticator",
	FaultUnexpected:    "unexpected",
	FaultNoSecret:      "no_secret",
}

// Faults lists every value, for whoever registers a metric by them.
func Faults() []Fault {
	all := make([]Fault, len(faultNames))
	for i := range all {
		all[i] = Fault(i)
	}
	return all
}

// String returns the fault as metrics spell it.
func (f Fault) String() string {
	if int(f) < len(faultNames) {
		return faultNames[f]
	}
	return faultNames[FaultUnknown]
}

func (f Fault) Error() string { return "radius: packet not believed: " + f.String() }
