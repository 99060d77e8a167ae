package proxy

import (
	"fmt"
	"strings"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/mschap"
	"postern/internal/radius"
)

// rejected reads an Access-Reject. A server need not say more than that, and does
// not for PAP, or where no policy of its own fits the request: then the password is
// taken for wrong. The retry and the challenge that MS-CHAP-Error may offer are not
// passed on: what a peer may do is decided here.
func rejected(reply *radius.Packet) directory.Rejected {
	_, text, said := radius.GetMSCHAPError(reply)
	if !said {
		r := directory.Rejected{Reason: directory.WrongPassword, Detail: "Access-Reject from upstream"}
		if m := rfc2865.ReplyMessage_GetString(reply); m != "" {
			r.Detail += fmt.Sprintf(": %q", m)
		}
		return r
	}
	e, err := mschap.ParseError(text)
	if err != nil {
		return directory.Rejected{Reason: directory.WrongPassword, Detail: "Access-Reject from upstream with an unreadable MS-CHAP-Error"}
	}
	r := directory.Rejected{Reason: directory.AccountState, Detail: fmt.Sprintf("E=%d from upstream", e.Code)}
	if e.Message != "" {
		r.Detail += fmt.Sprintf(": %q", e.Message)
	}
	switch e.Code {
	case mschap.ErrorRestrictedLogonHours:
		r.State = directory.OutsideHours
	case mschap.ErrorAccountDisabled:
		r.State = directory.Disabled
		if strings.Contains(strings.ToLower(e.Message), "lock") { // FreeRADIUS: "Account locked out"
			r.State = directory.Locked
		}
	case mschap.ErrorPasswordExpired:
		r.State = directory.PasswordExpired
	case mschap.ErrorNoDialinPermission:
		r.State = directory.NoDialin
	default: // 691, and what RFC 2759 §6 does not know
		r.Reason = directory.WrongPassword
	}
	return r
}
