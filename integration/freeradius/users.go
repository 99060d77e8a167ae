package freeradius

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mschap"
)

// user is a line of the fixture.
type user struct {
	name    string
	hashed  bool     // the server has the NT hash only
	control []string // how the server treats the account
	reply   []string
}

// users are the fixture: an account for each answer that FreeRADIUS has. Class and
// Filter-Id tell the groups; what else may stand in them is there, too.
//
// The letters of SMB-Account-CTRL-TEXT are smbpasswd's, and FreeRADIUS' own "e" for
// an expired password. It looks at them once the password is right. FreeRADIUS has no
// words for the other two codes: an administrator's policy writes them.
var users = []user{
	{name: "alice", reply: []string{
		`Class = "group=vpn-users"`, `Class += "group=Staff"`, `Class += 0x0001ff`,
		`Filter-Id = "vpn-users"`, `Filter-Id += "Enterasys:version=1:policy=x"`,
	}},
	{name: "bob", reply: []string{`Class = "group=staff"`}},
	{name: "carol"}, // without groups
	{name: "jürgen", reply: []string{`Class = "group=vpn-users"`}},
	{name: "emoji"},
	{name: "hashed", hashed: true},
	{name: "expired", control: []string{`SMB-Account-CTRL-TEXT := "[eU         ]"`}},
	{name: "disabled", control: []string{`SMB-Account-CTRL-TEXT := "[DU         ]"`}},
	{name: "locked", control: []string{`SMB-Account-CTRL-TEXT := "[LU         ]"`}},
	{name: "hours", control: []string{"Auth-Type := Reject"}, reply: []string{`MS-CHAP-Error = "\001E=646 R=0 V=3 M=Logon hours"`}},
	{name: "nodialin", control: []string{"Auth-Type := Reject"}, reply: []string{`MS-CHAP-Error = "\001E=649 R=0 V=3 M=No dial-in"`}},
	{name: "challenged", control: []string{"Response-Packet-Type := Access-Challenge"}, reply: []string{`State = 0x01`, `Reply-Message = "Second factor?"`}},
}

// Password is the password of a user of the fixture.
func Password(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	p := string(unicode.ToUpper(first)) + name[size:] + "-Pass1"
	switch name {
	case "jürgen":
		return "Pässwörd-€"
	case "emoji", "hashed": // beyond U+FFFF FreeRADIUS makes a wrong NT hash or none
		return p + "-😀"
	}
	return p
}

// usersFile is the fixture for rlm_files.
func usersFile() string {
	var b strings.Builder
	for _, u := range users {
		password := fmt.Sprintf("Cleartext-Password := %q", Password(u.name))
		if u.hashed {
			password = fmt.Sprintf("NT-Password := 0x%x", mschap.NTHash(Password(u.name)))
		}
		control := append([]string{password}, u.control...)
		fmt.Fprintf(&b, "%s %s\n", u.name, strings.Join(control, ", "))
		if len(u.reply) > 0 {
			fmt.Fprintf(&b, "\t%s\n", strings.Join(u.reply, ",\n\t"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
