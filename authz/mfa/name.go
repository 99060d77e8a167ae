package mfa

import "strings"

// DefaultSeparator stands between name and code. Active Directory forbids it in
// account names, and phones and old clients can type it.
const DefaultSeparator = '+'

// Codes have 6 to 8 digits (RFC 4226 §5.3).
const minDigits, maxDigits = 6, 8

// Name is a user name as typed, taken apart.
type Name struct {
	Typed   string // what the peer's hashes cover (RFC 2759 §8.2)
	Name    string // Typed without the code: CORP\alice, alice@corp.example
	Account string // the bare account: alice
	Domain  string // CORP, corp.example, or ""
	Code    string // 6 to 8 digits, or ""
	Device  string // the tag of a device, or ""; see Tagged
}

// DefaultTag stands between name and device. It may be part of an account's name; where
// any is, another one, or none, is to be configured.
const DefaultTag = '%'

// maxTag is the longest tag (package posture, ValidID).
const maxTag = 64

// Tagged takes the tag of a device out of a name: what stands behind sep, at the end of
// the account or of the whole. With sep 0 there are no tags.
//
//	alice%LT-0231   CORP\alice%LT-0231   alice%LT-0231@corp.example   alice@corp.example%LT-0231
//
// The code stands behind the tag. Anything that is no tag is part of the name.
func (n Name) Tagged(sep byte) Name {
	if sep == 0 {
		return n
	}
	if account, tag, ok := cutTag(n.Account, sep); ok {
		// The account stands in Name as it is, behind a domain or before one.
		at := strings.LastIndex(n.Name, n.Account)
		n.Name = n.Name[:at] + account + n.Name[at+len(n.Account):]
		n.Account, n.Device = account, tag
		return n
	}
	if domain, tag, ok := cutTag(n.Domain, sep); ok && strings.HasSuffix(n.Name, n.Domain) {
		n.Name, n.Domain, n.Device = strings.TrimSuffix(n.Name, n.Domain)+domain, domain, tag
	}
	return n
}

// cutTag takes a separator and a tag off the end of s, never leaving nothing.
func cutTag(s string, sep byte) (rest, tag string, ok bool) {
	rest, tag, found := cutLast(s, sep)
	if !found || len(tag) > maxTag {
		return s, "", false
	}
	for _, c := range []byte(tag) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' {
			return s, "", false
		}
	}
	return rest, tag, true
}

// SplitCode takes a typed name apart. A code stands behind the account or behind
// the whole:
//
//	alice+123456   CORP\alice+123456   alice+123456@corp.example   alice@corp.example+123456
//
// Anything else behind a separator is part of the name: it is total, and no name
// is an error. A sep of 0 is DefaultSeparator.
func SplitCode(typed string, sep byte) Name {
	if sep == 0 {
		sep = DefaultSeparator
	}
	n := Name{Typed: typed}
	domain, rest, down := strings.Cut(typed, `\`) // down-level logon name
	if !down || rest == "" {
		domain, rest, down = "", typed, false
	}
	rest, n.Code = cutCode(rest, sep)
	account, suffix, upn := cutLast(rest, '@')
	if upn && n.Code == "" {
		account, n.Code = cutCode(account, sep)
	}
	n.Account = account
	switch {
	case down:
		n.Domain = domain
		n.Name = domain + `\` + account
		if upn { // CORP\alice@x: the account is alice@x in CORP
			n.Account += "@" + suffix
			n.Name += "@" + suffix
		}
	case upn:
		n.Domain = suffix
		n.Name = account + "@" + suffix
	default:
		n.Name = account
	}
	return n
}

// cutCode takes a separator and a code off the end of s, never leaving nothing.
func cutCode(s string, sep byte) (rest, code string) {
	rest, code, found := cutLast(s, sep)
	if !found || len(code) < minDigits || len(code) > maxDigits {
		return s, ""
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return s, ""
		}
	}
	return rest, code
}

// cutLast cuts around the last sep where both sides are something.
func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i <= 0 || i == len(s)-1 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
