package ldapc

import "strings"

// SubCode is what AD writes into the text of a refused bind, behind "data": a Win32
// error in hex, "52e" for one, which says more than LDAP's result code can.
//
//	80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data 52e, v4563
func SubCode(err error) (string, bool) {
	e, ok := resultOf(err)
	if !ok || e.Err == nil {
		return "", false
	}
	return parseSubCode(e.Err.Error())
}

const (
	subCodeMark = ", data "
	maxSubCode  = 8 // digits of 32 bits
)

// parseSubCode returns the code in lower case. Texts of other shapes have none.
func parseSubCode(text string) (string, bool) {
	_, rest, found := strings.Cut(text, subCodeMark)
	if !found {
		return "", false
	}
	n := 0
	for n < len(rest) && n <= maxSubCode && isHex(rest[n]) {
		n++
	}
	if n == 0 || n > maxSubCode || n < len(rest) && rest[n] != ',' {
		return "", false
	}
	return strings.ToLower(rest[:n]), true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
