package client

import (
	"errors"
	"fmt"

	"postern/internal/mschap"
	"postern/pptp/control"
	"postern/pptp/ppp"
)

// Why there is no session, or none any more. What else there is to know stands in
// the error's text.
var (
	ErrClosed     = errors.New("closed by us")
	ErrServerGone = errors.New("no control connection to the server")
	ErrNoPPP      = errors.New("no PPP answer through the tunnel (GRE may be blocked)")
	ErrSilent     = errors.New("server answers no echoes")
	ErrEncryption = errors.New("server will not encrypt as required")
	ErrImpostor   = errors.New("server does not know the password")
	ErrAuthMethod = errors.New("server does not ask for MS-CHAPv2")
	ErrAddress    = errors.New("server gives no address")
	ErrLink       = errors.New("PPP negotiation failed")
)

// Why Send and Ping refuse a packet; the session goes on.
var (
	ErrNotUp   = errors.New("session is not up")
	ErrTooBig  = errors.New("packet larger than the tunnel takes")
	ErrNotIPv4 = errors.New("not an IPv4 packet")
	ErrUnsent  = errors.New("the network did not take the packet")
	ErrPayload = errors.New("echo reply with another payload")
)

// RefusedError is the server's word that the login is refused (RFC 2759 §6).
type RefusedError struct {
	Verdict mschap.Error // as far as Text could be read
	Text    string       // as the server sent it; holds a challenge, so it is not for logs
}

func (e *RefusedError) Error() string {
	if e.Verdict.Code == 0 {
		return "login refused, for no readable reason"
	}
	if e.Verdict.Message == "" {
		return fmt.Sprintf("login refused: %d", e.Verdict.Code)
	}
	return fmt.Sprintf("login refused: %d %s", e.Verdict.Code, e.Verdict.Message)
}

// ConnectionRefusedError is a server that wants no control connection (RFC 2637 §2.2).
type ConnectionRefusedError struct {
	Result control.StartResult
	Code   control.ErrorCode
}

func (e *ConnectionRefusedError) Error() string {
	return withCode("control connection refused: "+e.Result.String(), e.Code)
}

// CallRefusedError is a server that wants no call (RFC 2637 §2.8).
type CallRefusedError struct {
	Result control.CallResult
	Code   control.ErrorCode
}

func (e *CallRefusedError) Error() string {
	return withCode("call refused: "+e.Result.String(), e.Code)
}

func withCode(text string, code control.ErrorCode) string {
	if code == control.ErrorNone {
		return text
	}
	return text + ", " + code.String()
}

// End is how a server ended a session.
//
// Handled in: endNames, EndedError.Error.
type End uint8

const (
	EndUnknown      End = iota
	EndTerminated       // LCP Terminate-Request
	EndDisconnected     // Call-Disconnect-Notify
	EndStopped          // Stop-Control-Connection-Request
	EndRenegotiated     // LCP began anew, after the login
)

var endNames = [...]string{
	EndUnknown: "unknown", EndTerminated: "link terminated", EndDisconnected: "call disconnected",
	EndStopped: "control connection stopped", EndRenegotiated: "link renegotiated",
}

// String returns the words for logs.
func (e End) String() string { return name(endNames[:], int(e)) }

// EndedError is the server's end of a session.
type EndedError struct {
	How    End
	Text   string                   // EndTerminated: what the server said
	Result control.DisconnectResult // EndDisconnected
	Code   control.ErrorCode        // EndDisconnected
	Stop   control.StopReason       // EndStopped
}

func (e *EndedError) Error() string {
	text := "ended by the server: " + e.How.String()
	switch e.How {
	case EndTerminated:
		if e.Text != "" {
			text += ": " + e.Text
		}
	case EndDisconnected:
		text = withCode(text+": "+e.Result.String(), e.Code)
	case EndStopped:
		text += ": " + e.Stop.String()
	case EndUnknown, EndRenegotiated:
	}
	return text
}

// linkError is the error of a layer that ended.
func linkError(layer ppp.Proto, why ppp.Reason) error {
	switch why {
	case ppp.EncryptionRefused:
		return ErrEncryption
	case ppp.AddressRefused:
		return ErrAddress
	case ppp.AuthDemanded, ppp.AuthRefused:
		return ErrAuthMethod
	case ppp.PeerSilent:
		return ErrSilent
	case ppp.PeerTerminated:
		return &EndedError{How: EndTerminated}
	case ppp.NoAnswer:
		if layer == ppp.ProtoLCP {
			return ErrNoPPP
		}
	case ppp.ReasonUnknown, ppp.ClosedByUs, ppp.PeerRejected, ppp.NotConverging, ppp.Looped:
	}
	return fmt.Errorf("%w: %s: %s", ErrLink, layer, why)
}
