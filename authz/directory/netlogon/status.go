package netlogon

import "fmt"

// Status is an NTSTATUS (MS-ERREF §2.3.1) as an error.
//
// Handled in: statuses; authz/directory/ad maps those of ClassUser to reasons.
type Status uint32

// What SamLogonEx, ServerAuthenticate3 and UnicodeChangePasswordUser2 are known to
// answer.
const (
	StatusOK                      Status = 0
	StatusUnsuccessful            Status = 0xC0000001
	StatusInvalidInfoClass        Status = 0xC0000003 // the DC does not know validation level 6
	StatusInvalidParameter        Status = 0xC000000D
	StatusNoMemory                Status = 0xC0000017
	StatusAccessDenied            Status = 0xC0000022 // Authenticate3: wrong machine password
	StatusNoLogonServers          Status = 0xC000005E // of that domain; Samba says so of unknown domains too
	StatusNoSuchUser              Status = 0xC0000064
	StatusWrongPassword           Status = 0xC000006A // also: the DC does not take MS-CHAPv2, see Pool
	StatusIllFormedPassword       Status = 0xC000006B
	StatusPasswordRestriction     Status = 0xC000006C // the new one is not good enough
	StatusLogonFailure            Status = 0xC000006D
	StatusAccountRestriction      Status = 0xC000006E // Protected Users, authentication policies
	StatusInvalidLogonHours       Status = 0xC000006F
	StatusInvalidWorkstation      Status = 0xC0000070
	StatusPasswordExpired         Status = 0xC0000071
	StatusAccountDisabled         Status = 0xC0000072
	StatusInsufficientResources   Status = 0xC000009A
	StatusIOTimeout               Status = 0xC00000B5
	StatusNotSupported            Status = 0xC00000BB
	StatusInvalidServerState      Status = 0xC00000DC
	StatusInvalidDomainState      Status = 0xC00000DD
	StatusInvalidDomainRole       Status = 0xC00000DE // not a DC
	StatusNoSuchDomain            Status = 0xC00000DF
	StatusInternalError           Status = 0xC00000E5
	StatusInvalidComputerName     Status = 0xC0000122
	StatusLogonNotGranted         Status = 0xC0000155
	StatusLogonTypeNotGranted     Status = 0xC000015B
	StatusNoTrustLSASecret        Status = 0xC000018A
	StatusNoTrustSAMAccount       Status = 0xC000018B // no machine account, or it has no password
	StatusTrustedDomainFailure    Status = 0xC000018C
	StatusTrustedRelationFailure  Status = 0xC000018D
	StatusTrustFailure            Status = 0xC0000190
	StatusNetlogonNotStarted      Status = 0xC0000192
	StatusAccountExpired          Status = 0xC0000193
	StatusInterdomainTrustAccount Status = 0xC0000198
	StatusWorkstationTrustAccount Status = 0xC0000199
	StatusServerTrustAccount      Status = 0xC000019A
	StatusInsuffServerResources   Status = 0xC0000205
	StatusPasswordMustChange      Status = 0xC0000224
	StatusDCNotFound              Status = 0xC0000233 // of that domain
	StatusAccountLockedOut        Status = 0xC0000234
	StatusInsufficientLogonInfo   Status = 0xC0000250
	StatusSmartcardRequired       Status = 0xC00002FA
	StatusDowngradeDetected       Status = 0xC0000388 // the DC wanted more than was negotiated
	StatusAuthFirewallFailed      Status = 0xC0000413 // selective authentication across a trust
	StatusNTLMBlocked             Status = 0xC0000418
)

// Class says whose affair a Status is. The zero value stands for answers that
// nobody foresaw: they are no word about the user.
//
// Handled in: classNames, and Pool.judge and judgeChange.
type Class uint8

const (
	ClassUnknown       Class = iota
	ClassUser                // about the user or the password
	ClassConfiguration       // ours or the DC's: nobody can log on until it is mended
	ClassBusy                // the DC cannot at the moment; another may
	ClassDomain              // the user's domain cannot be asked, or is not known
)

var classNames = [...]string{
	ClassUnknown: "unknown", ClassUser: "user", ClassConfiguration: "configuration", ClassBusy: "busy", ClassDomain: "domain",
}

// String returns the class in a word.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return classNames[ClassUnknown]
}

var statuses = map[Status]struct {
	name  string
	class Class
}{
	StatusOK:                      {"OK", ClassUnknown},
	StatusUnsuccessful:            {"UNSUCCESSFUL", ClassBusy},
	StatusInvalidInfoClass:        {"INVALID_INFO_CLASS", ClassConfiguration},
	StatusInvalidParameter:        {"INVALID_PARAMETER", ClassConfiguration},
	StatusNoMemory:                {"NO_MEMORY", ClassBusy},
	StatusAccessDenied:            {"ACCESS_DENIED", ClassConfiguration},
	StatusNoLogonServers:          {"NO_LOGON_SERVERS", ClassDomain},
	StatusNoSuchUser:              {"NO_SUCH_USER", ClassUser},
	StatusWrongPassword:           {"WRONG_PASSWORD", ClassUser},
	StatusIllFormedPassword:       {"ILL_FORMED_PASSWORD", ClassUser},
	StatusPasswordRestriction:     {"PASSWORD_RESTRICTION", ClassUser},
	StatusLogonFailure:            {"LOGON_FAILURE", ClassUser},
	StatusAccountRestriction:      {"ACCOUNT_RESTRICTION", ClassUser},
	StatusInvalidLogonHours:       {"INVALID_LOGON_HOURS", ClassUser},
	StatusInvalidWorkstation:      {"INVALID_WORKSTATION", ClassUser},
	StatusPasswordExpired:         {"PASSWORD_EXPIRED", ClassUser},
	StatusAccountDisabled:         {"ACCOUNT_DISABLED", ClassUser},
	StatusInsufficientResources:   {"INSUFFICIENT_RESOURCES", ClassBusy},
	StatusIOTimeout:               {"IO_TIMEOUT", ClassBusy},
	StatusNotSupported:            {"NOT_SUPPORTED", ClassConfiguration},
	StatusInvalidServerState:      {"INVALID_SERVER_STATE", ClassBusy},
	StatusInvalidDomainState:      {"INVALID_DOMAIN_STATE", ClassBusy},
	StatusInvalidDomainRole:       {"INVALID_DOMAIN_ROLE", ClassConfiguration},
	StatusNoSuchDomain:            {"NO_SUCH_DOMAIN", ClassDomain},
	StatusInternalError:           {"INTERNAL_ERROR", ClassBusy},
	StatusInvalidComputerName:     {"INVALID_COMPUTER_NAME", ClassConfiguration},
	StatusLogonNotGranted:         {"LOGON_NOT_GRANTED", ClassUser},
	StatusLogonTypeNotGranted:     {"LOGON_TYPE_NOT_GRANTED", ClassUser},
	StatusNoTrustLSASecret:        {"NO_TRUST_LSA_SECRET", ClassConfiguration},
	StatusNoTrustSAMAccount:       {"NO_TRUST_SAM_ACCOUNT", ClassConfiguration},
	StatusTrustedDomainFailure:    {"TRUSTED_DOMAIN_FAILURE", ClassDomain},
	StatusTrustedRelationFailure:  {"TRUSTED_RELATIONSHIP_FAILURE", ClassDomain},
	StatusTrustFailure:            {"TRUST_FAILURE", ClassDomain},
	StatusNetlogonNotStarted:      {"NETLOGON_NOT_STARTED", ClassBusy},
	StatusAccountExpired:          {"ACCOUNT_EXPIRED", ClassUser},
	StatusInterdomainTrustAccount: {"NOLOGON_INTERDOMAIN_TRUST_ACCOUNT", ClassUser},
	StatusWorkstationTrustAccount: {"NOLOGON_WORKSTATION_TRUST_ACCOUNT", ClassUser},
	StatusServerTrustAccount:      {"NOLOGON_SERVER_TRUST_ACCOUNT", ClassUser},
	StatusInsuffServerResources:   {"INSUFF_SERVER_RESOURCES", ClassBusy},
	StatusPasswordMustChange:      {"PASSWORD_MUST_CHANGE", ClassUser},
	StatusDCNotFound:              {"DOMAIN_CONTROLLER_NOT_FOUND", ClassDomain},
	StatusAccountLockedOut:        {"ACCOUNT_LOCKED_OUT", ClassUser},
	StatusInsufficientLogonInfo:   {"INSUFFICIENT_LOGON_INFO", ClassUser},
	StatusSmartcardRequired:       {"SMARTCARD_LOGON_REQUIRED", ClassUser},
	StatusDowngradeDetected:       {"DOWNGRADE_DETECTED", ClassConfiguration},
	StatusAuthFirewallFailed:      {"AUTHENTICATION_FIREWALL_FAILED", ClassUser},
	StatusNTLMBlocked:             {"NTLM_BLOCKED", ClassConfiguration},
}

// String returns Windows' name without the prefix, "WRONG_PASSWORD", or the number
// of one that has none here.
func (s Status) String() string {
	if known, ok := statuses[s]; ok {
		return known.name
	}
	return fmt.Sprintf("0x%08X", uint32(s))
}

// Error implements error.
func (s Status) Error() string {
	if known, ok := statuses[s]; ok {
		return fmt.Sprintf("%s (0x%08X)", known.name, uint32(s))
	}
	return fmt.Sprintf("NTSTATUS 0x%08X", uint32(s))
}

// Class says whose affair it is.
func (s Status) Class() Class { return statuses[s].class }

// IsConfiguration says that nobody can log on until somebody has mended something.
func (s Status) IsConfiguration() bool { return s.Class() == ClassConfiguration }
