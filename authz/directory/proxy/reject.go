package proxy

import (
	"fmt"
	"strconv"
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
	code, message, ok := readError(text)
	if !ok {
		return directory.Rejected{Reason: directory.WrongPassword, Detail: "Access-Reject from upstream with an unreadable MS-CHAP-Error"}
	}
	r := directory.Rejected{Reason: directory.AccountState, Detail: fmt.Sprintf("E=%d from upstream", code)}
	if message != "" {
		r.Detail += fmt.Sprintf(": %q", message)
	}
	switch code {
	case mschap.ErrorRestrictedLogonHours:
		r.State = directory.OutsideHours
	case mschap.ErrorAccountDisabled:
		r.State = directory.Disabled
		if strings.Contains(strings.ToLower(message), "lock") { // FreeRADIUS: "Account locked out"
			r.State = directory.Locked
		}
	case mschap.ErrorPasswordExpired:
		r.State = directory.PasswordExpired
	case mschap.ErrorNoDialinPermission:
		r.State = directory.NoDialin
	default:
		// 691, and what RFC 2759 §6 does not know. FreeRADIUS says it of disabled accounts,
		// too, for that the detail has its words: it has not looked at the password then.
		r.Reason = directory.WrongPassword
	}
	return r
}

// readError takes code and words out of the text of MS-CHAP-Error, of RFC 2759 §6 or,
// where the request had the form of MS-CHAPv1, RFC 2433 §5: there C= is shorter and
// there are no words. Nothing else in it is of use here.
func readError(text string) (code int, message string, ok bool) {
	head, message, _ := strings.Cut(text, " M=")
	for word := range strings.FieldsSeq(head) {
		if digits, is := strings.CutPrefix(word, "E="); is {
			n, err := strconv.ParseUint(digits, 10, 31)
			return int(n), message, err == nil
		}
	}
	return 0, "", false
}
