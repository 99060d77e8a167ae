package ad

import "postern/authz/directory"

// subCodes are what AD writes behind "data" into the text of a refused bind: Win32
// error codes in hex ([MS-ERREF] §2.2), which it knows more of than LDAP
// (RFC 4511 §4.2.2).
var subCodes = map[string]directory.Rejected{
	"525": {Reason: directory.NoSuchUser},
	"52e": {Reason: directory.WrongPassword},
	"52f": state(directory.Restricted),
	"530": state(directory.OutsideHours),
	"531": state(directory.NotFromHere),
	"532": state(directory.PasswordExpired),
	"533": state(directory.Disabled),
	"701": state(directory.Expired),
	"773": state(directory.PasswordMustChange),
	"775": state(directory.Locked),
}

func state(s directory.State) directory.Rejected {
	return directory.Rejected{Reason: directory.AccountState, State: s}
}

// bindRefused is what a refused bind says about the person. A code that we do not
// know is a no as well.
func bindRefused(code string) directory.Rejected {
	r, known := subCodes[code]
	if !known {
		r.Reason = directory.WrongPassword
	}
	r.Detail = "bind refused"
	if code != "" {
		r.Detail += ", data " + code
	}
	return r
}
