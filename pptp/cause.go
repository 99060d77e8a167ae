package pptp

import (
	"layeh.com/radius/rfc2866"

	"postern/pptp/control"
)

// Cause says why a session ended. It feeds the log line, the metric, the
// accounting Stop and the control connection's Call-Disconnect-Notify.
//
// Handled in: causes below.
type Cause uint8

const (
	CauseUnknown       Cause = iota // not ended
	PeerTerminated                  // LCP Terminate-Request
	PeerCleared                     // Call-Clear-Request or Call-Disconnect-Notify
	PeerStopped                     // Stop-Control-Connection-Request
	LostControl                     // the TCP connection broke or fell silent
	PeerSilent                      // LCP echoes stayed unanswered
	LinkFailed                      // LCP does not converge
	LinkLooped                      // LCP hears itself
	LinkRenegotiated                // LCP left Opened after the login: no login is carried over
	AuthFailed                      // the service refused
	AuthRefused                     // the peer offers nothing we may take
	AuthSilent                      // the peer never answered the challenge
	ServiceUnavailable              // no RADIUS service answered
	ServiceFault                    // the service's Accept cannot be used
	FilterFailed                    // the filter or quarantine that the session needs is not in force
	EncryptionRefused               // the peer will not encrypt
	Cleartext                       // unencrypted IP after encryption was agreed
	AddressRefused                  // IPCP does not converge
	LoginTimeout                    // no address in time
	IdleTimeout                     // Idle-Timeout
	SessionTimeout                  // Session-Timeout
	QuarantineTimeout               // no second factor in time
	AdminReset                      // an operator or the service ended it
	NodeShutdown                    // the node goes down
	NodeDrained                     // it was the session's turn, at a node that drains
)

// causeInfo is what a cause looks like to each reader.
type causeInfo struct {
	name      string
	ppp       uint16                     // RFC 3145 §3 disconnect code
	terminate rfc2866.AcctTerminateCause // RFC 2866 §5.10
	result    control.DisconnectResult   // RFC 2637 §2.13
	text      string                     // LCP Terminate-Request's data: what a client's log shows
}

var causes = [...]causeInfo{
	CauseUnknown:       {"unknown", 0, rfc2866.AcctTerminateCause_Value_NASError, control.DisconnectGeneralError, ""},
	PeerTerminated:     {"peer terminated", 3, rfc2866.AcctTerminateCause_Value_UserRequest, control.DisconnectRequest, ""},
	PeerCleared:        {"peer cleared the call", 3, rfc2866.AcctTerminateCause_Value_UserRequest, control.DisconnectRequest, ""},
	PeerStopped:        {"peer stopped the control connection", 3, rfc2866.AcctTerminateCause_Value_UserRequest, control.DisconnectRequest, ""},
	LostControl:        {"control connection lost", 0, rfc2866.AcctTerminateCause_Value_LostCarrier, control.DisconnectLostCarrier, "control connection lost"},
	PeerSilent:         {"peer silent", 8, rfc2866.AcctTerminateCause_Value_LostCarrier, control.DisconnectLostCarrier, "no answer to echo requests"},
	LinkFailed:         {"link negotiation failed", 5, rfc2866.AcctTerminateCause_Value_PortError, control.DisconnectGeneralError, "link negotiation failed"},
	LinkLooped:         {"looped link", 7, rfc2866.AcctTerminateCause_Value_PortError, control.DisconnectGeneralError, "link is looped back"},
	LinkRenegotiated:   {"link renegotiated", 2, rfc2866.AcctTerminateCause_Value_PortError, control.DisconnectGeneralError, "renegotiation is not allowed"},
	AuthFailed:         {"login refused", 16, rfc2866.AcctTerminateCause_Value_UserError, control.DisconnectAdminShutdown, "login refused"},
	AuthRefused:        {"peer refused authentication", 15, rfc2866.AcctTerminateCause_Value_UserError, control.DisconnectAdminShutdown, "MS-CHAP-V2 is required"},
	AuthSilent:         {"no answer to the challenge", 13, rfc2866.AcctTerminateCause_Value_LostCarrier, control.DisconnectLostCarrier, "no answer to the challenge"},
	ServiceUnavailable: {"authentication service unavailable", 13, rfc2866.AcctTerminateCause_Value_NASError, control.DisconnectGeneralError, "authentication service unavailable"},
	ServiceFault:       {"unusable grant", 20, rfc2866.AcctTerminateCause_Value_NASError, control.DisconnectGeneralError, "internal error"},
	FilterFailed:       {"filter not in force", 20, rfc2866.AcctTerminateCause_Value_NASError, control.DisconnectGeneralError, "access rules cannot be enforced"},
	EncryptionRefused:  {"peer refused encryption", 4, rfc2866.AcctTerminateCause_Value_UserError, control.DisconnectAdminShutdown, "encryption (MPPE) is required"},
	Cleartext:          {"cleartext after encryption", 4, rfc2866.AcctTerminateCause_Value_UserError, control.DisconnectAdminShutdown, "unencrypted data received"},
	AddressRefused:     {"address negotiation failed", 19, rfc2866.AcctTerminateCause_Value_PortError, control.DisconnectGeneralError, "address negotiation failed"},
	LoginTimeout:       {"login timed out", 17, rfc2866.AcctTerminateCause_Value_PortError, control.DisconnectGeneralError, "login timed out"},
	IdleTimeout:        {"idle timeout", 3, rfc2866.AcctTerminateCause_Value_IdleTimeout, control.DisconnectAdminShutdown, "idle timeout"},
	SessionTimeout:     {"session timeout", 3, rfc2866.AcctTerminateCause_Value_SessionTimeout, control.DisconnectAdminShutdown, "session timeout"},
	// MS-Quarantine-Session-Timeout is a session's limit like any other (RFC 2866 §5.10:
	// "Maximum session length timer expired").
	QuarantineTimeout: {"second factor not given in time", 3, rfc2866.AcctTerminateCause_Value_SessionTimeout, control.DisconnectAdminShutdown, "second factor not given in time"},
	AdminReset:        {"ended by administrator", 1, rfc2866.AcctTerminateCause_Value_AdminReset, control.DisconnectAdminShutdown, "ended by administrator"},
	NodeShutdown:      {"node shutting down", 1, rfc2866.AcctTerminateCause_Value_AdminReboot, control.DisconnectAdminShutdown, "server is shutting down"},
	NodeDrained:       {"node drained", 1, rfc2866.AcctTerminateCause_Value_NASRequest, control.DisconnectAdminShutdown, "server is being emptied, please dial again"},
}

func (c Cause) info() *causeInfo {
	if int(c) < len(causes) {
		return &causes[c]
	}
	return &causes[CauseUnknown]
}

// String returns the cause as the log and the metric label spell it.
func (c Cause) String() string { return c.info().name }

// polite tells whether the peer is still there to be told by LCP.
func (c Cause) polite() bool {
	switch c {
	case PeerCleared, PeerStopped, LostControl, PeerSilent:
		return false
	default:
		return true
	}
}
