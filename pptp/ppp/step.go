package ppp

// Step is what a machine wants done. The caller acts in this order:
//
//  1. if Down() is true, stop using what the layer had agreed (for CCP: forget both
//     ciphers, the next agreement starts again from the session's start keys);
//  2. if RecvReady is not zero, arm the decryptor with it, unless it is armed with
//     the same bits since the last Down;
//  3. send Send, in order;
//  4. handle Events, in order.
type Step struct {
	Send   []Packet
	Events []Event

	// RecvReady is CCP's: what the peer may encrypt with from the moment it reads
	// the packets of this Step. It is set in the very Step that carries our
	// Configure-Ack (or a new request while that Ack stands), because the peer's
	// first encrypted packet may overtake the peer's own Ack. A tunnel whose
	// decryptor is armed later comes up dead now and then.
	RecvReady MPPEBits

	// Err tells why the input was dropped without an answer: for a counter.
	Err error
}

// Down reports whether the layer left Opened in this Step.
func (s *Step) Down() bool {
	for i := range s.Events {
		if s.Events[i].Kind == Down {
			return true
		}
	}
	return false
}

func (s *Step) tell(e Event) { s.Events = append(s.Events, e) }

// Event is something the session should know. Which fields are set follows from Kind.
type Event struct {
	Kind    EventKind
	Reason  Reason // Finished, Refused, Dead
	Proto   Proto  // PeerProtocolReject
	Seconds uint32 // PeerTimeRemaining
	Text    string // what the peer said, made printable: PeerIdentification, PeerTimeRemaining, PeerTerminate
}

// EventKind says what happened.
//
// Handled in: eventKindNames; the session.
type EventKind uint8

const (
	EventUnknown       EventKind = iota
	Up                           // the layer has opened; Results are final
	Down                         // the layer has left Opened
	Finished                     // the layer needs the one below no more; Reason says why
	Dead                         // LCP: the peer answers no echoes
	LoopDetected                 // LCP: we hear ourselves
	PeerIdentification           // LCP: Text
	PeerTimeRemaining            // LCP: Seconds, Text
	PeerProtocolReject           // LCP: the peer does not speak Proto; tell its machine
	PeerTerminate                // the peer asks to end the layer, Text says why; Down or Finished follow as the state has it
	Refused                      // the peer will not do what we require; end the session, Reason says why
	ResetRequest                 // CCP: the peer lost step; the sealer's next packet must be flushed
	RepeatedRequest              // the peer asked again for what it has; acknowledged, nothing changes
)

var eventKindNames = [...]string{
	EventUnknown: "unknown", Up: "up", Down: "down", Finished: "finished", Dead: "dead",
	LoopDetected: "loop detected", PeerIdentification: "peer identification",
	PeerTimeRemaining: "peer time remaining", PeerProtocolReject: "peer protocol reject",
	PeerTerminate: "peer terminate", Refused: "refused", ResetRequest: "reset request",
	RepeatedRequest: "repeated request",
}

// String names the event for logs.
func (k EventKind) String() string {
	if int(k) < len(eventKindNames) {
		return eventKindNames[k]
	}
	return eventKindNames[EventUnknown]
}

// Reason is why a layer ended. The session maps it to its own reasons.
//
// Handled in: reasonNames; the session's disconnect causes.
type Reason uint8

const (
	ReasonUnknown     Reason = iota
	ClosedByUs               // Close was called
	NoAnswer                 // our requests stayed unanswered
	PeerTerminated           // the peer sent a Terminate-Request
	PeerRejected             // the peer rejects the protocol or one of its basic codes
	NotConverging            // too many rounds without agreement
	AuthRefused              // the peer offers nothing as strong as what we demand
	AuthDemanded             // the peer demands an authentication we do not do
	EncryptionRefused        // the peer will not encrypt as the policy requires
	AddressRefused           // the peer will not take the address it was given, or gives us none
	Looped                   // the link brings back what we send
	PeerSilent               // echoes stayed unanswered
)

var reasonNames = [...]string{
	ReasonUnknown: "unknown", ClosedByUs: "closed by us", NoAnswer: "no answer",
	PeerTerminated: "peer terminated", PeerRejected: "peer rejected the protocol",
	NotConverging: "negotiation does not converge", AuthRefused: "peer refused authentication",
	AuthDemanded: "peer demanded authentication", EncryptionRefused: "peer refused encryption",
	AddressRefused: "peer refused address", Looped: "looped link", PeerSilent: "peer silent",
}

// String names the reason for logs and metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[ReasonUnknown]
}
