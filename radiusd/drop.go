package radiusd

// drop says why a request got no answer, besides the faults of package radius.
//
// Handled in: dropNames.
type drop uint8

const (
	dropUnknown     drop = iota
	dropNoClient         // not a client's address or certificate
	dropPort             // access on the accounting port, or the other way round
	dropProxyState       // unsigned with Proxy-State, or with more of it than a reply could carry back
	dropInFlight         // a repetition of a request that is being answered
	dropOverload         // no room in the queue
	dropLate             // waited in the queue until nobody waited for the answer
	dropSuperseded       // its Identifier was used for another request while it waited
	dropGone             // its connection was lost while it waited
	dropRecord           // accounting without a status we know, or a session
	dropUndecided        // the Decider does not know and keeps silent
	dropNotStored        // the Accounter could not store it
	dropUnencodable      // the answer does not fit into a packet
	dropPanic            // our own fault
	dropStopped          // the server is stopping
	dropSlowReader       // a RadSec client that does not read its answers
	dropWriteFailed      // the answer could not be sent
)

var dropNames = [...]string{
	dropUnknown:     "unknown",
	dropNoClient:    "unknown_client",
	dropPort:        "wrong_port",
	dropProxyState:  "proxy_state",
	dropInFlight:    "in_flight",
	dropOverload:    "overload",
	dropLate:        "late",
	dropSuperseded:  "superseded",
	dropGone:        "gone",
	dropRecord:      "unusable_record",
	dropUndecided:   "undecided",
	dropNotStored:   "not_stored",
	dropUnencodable: "unencodable",
	dropPanic:       "panic",
	dropStopped:     "stopped",
	dropSlowReader:  "slow_reader",
	dropWriteFailed: "write_failed",
}

// String returns the reason as metrics spell it.
func (d drop) String() string {
	if int(d) < len(dropNames) {
		return dropNames[d]
	}
	return dropNames[dropUnknown]
}

func (d drop) Error() string { return "radiusd: request dropped: " + d.String() }
