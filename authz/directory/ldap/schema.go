package ldap

import (
	"fmt"
	"strings"
)

// HashForm is how an NT hash is written. The zero value is refused.
//
// Handled in: parseHash.
type HashForm uint8

const (
	HashUnknown HashForm = iota
	HashHex
	HashBinary
)

// Schema says which attributes hold what.
type Schema struct {
	User   string // attribute of the name
	Hash   string // of the NT hash
	Form   HashForm
	People string // filter that accounts match; "": none

	Group  string // attribute of a group's name
	Member string // of a group's members, by DN
	// Posix groups have members by name (memberUid, RFC 2307 §4), and people a first
	// group (gidNumber).
	Posix  bool
	Groups string // filter that groups match; "": all entries are looked through
}

// Samba is OpenLDAP, or another server, with the schema of Samba 3.
var Samba = Schema{
	User: "uid", Hash: "sambaNTPassword", Form: HashHex,
	Group: "cn", Member: "member", Posix: true, Groups: "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
}

// FreeIPA keeps copies of its people and groups under cn=compat for old clients;
// the filters leave those out.
var FreeIPA = Schema{
	User: "uid", Hash: "ipaNTHash", Form: HashBinary, People: "(objectClass=person)",
	Group: "cn", Member: "member", Groups: "(objectClass=ipaUserGroup)",
}

func (s *Schema) check() error {
	for _, a := range []struct{ what, name string }{
		{"user", s.User}, {"hash", s.Hash}, {"group", s.Group}, {"member", s.Member},
	} {
		if !isAttribute(a.name) {
			return fmt.Errorf("%s attribute: %q is no attribute's name", a.what, a.name)
		}
	}
	if s.Form != HashHex && s.Form != HashBinary {
		return fmt.Errorf("the form of %s is not said", s.Hash)
	}
	return nil
}

// isAttribute says whether s is an attribute description (RFC 4512 §2.5), so that it
// can stand in a filter as it is.
func isAttribute(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == ';')
	})
}
