package control

// Step is the outcome of one input: octets for the peer, then what happened,
// in order. With Close the owner writes Send and closes the TCP connection; all
// calls are gone with it and get no event of their own.
type Step struct {
	Send   []byte
	Events []Event
	Close  bool
	Why    Cause // set with Close
}

// Event is one of the structs below.
type Event interface{ event() }

// Started tells that the control connection is established.
type Started struct {
	Version uint16
	Identity
}

// Refused tells a client that the server will have no control connection with
// it.
type Refused struct {
	Result StartResult
	Error  ErrorCode
}

// CallRequest asks a server for a call; AcceptCall or RefuseCall answers it.
type CallRequest struct {
	PeerCallID     uint16
	Serial         uint16
	MinBPS, MaxBPS uint32
	Bearer         Bearer
	Framing        Framing
	Window         uint16
	Delay          uint16 // tenths of a second
	Phone          string
	Subaddress     string
}

// CallReply answers a client's call. Only CallConnected is a yes. A reply with
// ErrorNotConnected, ErrorBadCallID or ErrorNoResource may be our own, when the
// call could not even be asked for.
type CallReply struct {
	CallID     uint16 // ours
	PeerCallID uint16 // 0 unless connected
	Result     CallResult
	Error      ErrorCode
	Cause      uint16
	Speed      uint32
	Window     uint16
	Delay      uint16
	Channel    uint32
}

// IncomingCall tells that the peer announced an incoming call, which has been
// refused already.
type IncomingCall struct {
	PeerCallID      uint16
	Dialed, Dialing string
}

// CallClear tells that the peer ended a call; it has been confirmed and its
// call IDs are free.
type CallClear struct {
	PeerCallID uint16
	CallID     uint16 // 0 unless Answered
	Answered   bool   // AcceptCall had been called
}

// CallDisconnect tells that the peer reported a call as ended; its call IDs
// are free.
type CallDisconnect struct {
	PeerCallID uint16
	CallID     uint16
	Result     DisconnectResult
	Error      ErrorCode
	Cause      uint16
	Statistics string
}

// LinkInfo passes on a Set-Link-Info.
type LinkInfo struct {
	CallID             uint16 // ours
	SendACCM, RecvACCM uint32
}

// WANError passes on a WAN-Error-Notify.
type WANError struct {
	CallID uint16 // ours
	WANErrors
}

// Stopped tells that the peer stopped the control connection, and all calls
// with it.
type Stopped struct{ Reason StopReason }

// Ignored tells of a message without effect on the connection, for a counter
// and a debug line. What could be answered has been.
type Ignored struct {
	Type Type
	Why  Oddity
}

func (Started) event()        {}
func (Refused) event()        {}
func (CallRequest) event()    {}
func (CallReply) event()      {}
func (IncomingCall) event()   {}
func (CallClear) event()      {}
func (CallDisconnect) event() {}
func (LinkInfo) event()       {}
func (WANError) event()       {}
func (Stopped) event()        {}
func (Ignored) event()        {}

// Oddity says what was wrong with an ignored message.
type Oddity uint8

// The oddities.
const (
	OddityUnknown Oddity = iota // never reported
	OutOfState                  // right message, wrong time
	WrongRole                   // only the other role may send it
	UnknownCall                 // no call has this ID
	DuplicateCall               // a call with this ID is there already
	TooManyCalls                // Config.MaxCalls reached
	BadValue                    // a field is out of range
	BadEcho                     // an Echo-Reply that answers nothing of ours, or says no
	NotDefined                  // control message type not in the RFC
	NotControl                  // a management message
)

var oddityNames = [...]string{
	OddityUnknown: "unknown",
	OutOfState:    "out of state",
	WrongRole:     "wrong role",
	UnknownCall:   "unknown call",
	DuplicateCall: "duplicate call",
	TooManyCalls:  "too many calls",
	BadValue:      "bad value",
	BadEcho:       "bad echo",
	NotDefined:    "not defined",
	NotControl:    "not control",
}

// String returns the oddity as the metric label spells it.
func (o Oddity) String() string { return enumName(oddityNames[:], int(o)) }

// Cause says why a control connection is to be closed.
type Cause uint8

// The causes.
const (
	CauseNone         Cause = iota // not closed
	CausePeerStopped               // Stop-Control-Connection-Request came
	CauseStopped                   // Stop was called
	CauseRefused                   // Refuse was called
	CausePeerRefused               // the server refused us
	CauseVersion                   // no protocol version in common
	CauseNotStarted                // a message before the connection had started
	CauseMalformed                 // the stream cannot be read on
	CauseStartTimeout              // never started
	CauseEchoTimeout               // the peer has gone silent
	CauseIdle                      // no call for too long
)

var causeNames = [...]string{
	CauseNone:         "none",
	CausePeerStopped:  "stopped by peer",
	CauseStopped:      "stopped",
	CauseRefused:      "refused",
	CausePeerRefused:  "refused by peer",
	CauseVersion:      "version",
	CauseNotStarted:   "not started",
	CauseMalformed:    "malformed",
	CauseStartTimeout: "start time-out",
	CauseEchoTimeout:  "echo time-out",
	CauseIdle:         "idle",
}

// String returns the cause as logs and the metric label spell it.
func (c Cause) String() string { return enumName(causeNames[:], int(c)) }
