package radius

import "fmt"

// ErrorCause is why a NAS refused a request of RFC 5176 (§3.5). It is an error. Values
// without a name come from a NAS and are kept as they are.
//
// Handled in: causeNames; radiusd maps the causes of others to what it does next.
type ErrorCause uint32

// The causes we give, and those we tell apart.
const (
	CauseUnknown               ErrorCause = 0
	CauseUnsupportedAttribute  ErrorCause = 401
	CauseMissingAttribute      ErrorCause = 402
	CauseNASMismatch           ErrorCause = 403
	CauseInvalidRequest        ErrorCause = 404
	CauseUnsupportedService    ErrorCause = 405
	CauseUnsupportedExtension  ErrorCause = 406
	CauseInvalidValue          ErrorCause = 407
	CauseProhibited            ErrorCause = 501
	CauseNotRoutable           ErrorCause = 502
	CauseSessionNotFound       ErrorCause = 503
	CauseSessionNotRemovable   ErrorCause = 504
	CauseProxyError            ErrorCause = 505
	CauseResourcesUnavailable  ErrorCause = 506
	CauseRequestInitiated      ErrorCause = 507
	CauseSelectionNotSupported ErrorCause = 508
)

var causeNames = map[ErrorCause]string{
	CauseUnknown:               "unknown",
	CauseUnsupportedAttribute:  "unsupported_attribute",
	CauseMissingAttribute:      "missing_attribute",
	CauseNASMismatch:           "nas_mismatch",
	CauseInvalidRequest:        "invalid_request",
	CauseUnsupportedService:    "unsupported_service",
	CauseUnsupportedExtension:  "unsupported_extension",
	CauseInvalidValue:          "invalid_value",
	CauseProhibited:            "prohibited",
	CauseNotRoutable:           "not_routable",
	CauseSessionNotFound:       "session_not_found",
	CauseSessionNotRemovable:   "session_not_removable",
	CauseProxyError:            "proxy_error",
	CauseResourcesUnavailable:  "resources_unavailable",
	CauseRequestInitiated:      "request_initiated",
	CauseSelectionNotSupported: "selection_not_supported",
}

// String returns the cause as metrics spell it.
func (c ErrorCause) String() string {
	if name, ok := causeNames[c]; ok {
		return name
	}
	return causeNames[CauseUnknown]
}

func (c ErrorCause) Error() string {
	return fmt.Sprintf("refused by the NAS: %d (%s)", uint32(c), c.String())
}
