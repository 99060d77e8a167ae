package slapd

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mschap"
)

// person is an account; what is particular about it, by schema.
type person struct {
	name    string
	samba   []string // attribute lines
	freeipa []string
	both    []string
	noHash  bool
}

// people are named like the domain controller's, as far as the schemas can say the
// same of them.
var people = []person{
	{name: "alice"}, {name: "bob"}, {name: "carol"}, {name: "Mixed.Case"},
	{name: "dave", samba: []string{"sambaAcctFlags: [UD         ]"}, freeipa: []string{"nsAccountLock: TRUE"}},
	{name: "erin", samba: []string{"sambaKickoffTime: 1500000000"}, freeipa: []string{"krbPrincipalExpiration: 20190101000000Z"}},
	{name: "frank", both: []string{"objectClass: shadowAccount", "shadowExpire: 17000"}}, // expired in 2016
	{name: "grace", samba: []string{"sambaPwdLastSet: 0"}},                               // must change
	{name: "judy", samba: []string{"sambaPwdMustChange: 1500000000"}, freeipa: []string{"krbPasswordExpiration: 20190101000000Z"}},
	{name: "ivan", samba: []string{"sambaLogonHours: " + strings.Repeat("0", 42)}},
	{name: "locked", samba: []string{"sambaAcctFlags: [UL         ]"}, both: []string{"pwdAccountLockedTime: 000001010000Z"}},
	{name: "policy", both: []string{"pwdAccountLockedTime: 000001010000Z"}}, // locked by ppolicy alone
	{name: "nohash", noHash: true},
}

// groups are nested, and two of them in each other.
var groups = []struct {
	name    string
	members []string
}{
	{"vpn-leaf", []string{"uid=alice," + PeopleDN}},
	{"vpn-mid", []string{"cn=vpn-leaf," + GroupDN}},
	{"vpn-users", []string{"cn=vpn-mid," + GroupDN, "uid=bob," + PeopleDN}},
	{"vpn-admins", []string{"uid=carol," + PeopleDN}},
	{"loop-a", []string{"cn=loop-b," + GroupDN, "uid=bob," + PeopleDN}},
	{"loop-b", []string{"cn=loop-a," + GroupDN}},
}

// Password of an account.
func Password(name string) string {
	return strings.ToUpper(name[:1]) + name[1:] + "-Pass1"
}

// seed is the directory as LDIF.
func (s *Server) seed() string {
	var b strings.Builder
	entry := func(lines ...string) {
		// slapadd wants the values of an attribute side by side, and the DN first.
		slices.SortStableFunc(lines[1:], func(x, y string) int {
			x, _, _ = strings.Cut(x, ":")
			y, _, _ = strings.Cut(y, ":")
			return strings.Compare(x, y)
		})
		b.WriteString(strings.Join(lines, "\n") + "\n\n")
	}
	entry("dn: "+BaseDN, "objectClass: dcObject", "objectClass: organization", "dc: corp", "o: Corp")
	for _, ou := range []string{"people", "groups", "services"} {
		entry("dn: ou="+ou+","+BaseDN, "objectClass: organizationalUnit", "ou: "+ou)
	}
	for _, dn := range []string{bindDN, blindDN} {
		uid, _, _ := strings.Cut(strings.TrimPrefix(dn, "uid="), ",")
		entry("dn: "+dn, "objectClass: account", "objectClass: simpleSecurityObject", "uid: "+uid, "userPassword: "+bindPassword)
	}
	entry("dn: cn=policy,ou=services,"+BaseDN, "objectClass: device", "objectClass: pwdPolicy", "cn: policy",
		"pwdAttribute: userPassword", "pwdLockout: TRUE", "pwdMaxFailure: 5", "pwdLockoutDuration: 600")
	for i, p := range people {
		hash := mschap.NTHash(Password(p.name))
		lines := []string{
			"dn: uid=" + p.name + "," + PeopleDN, "objectClass: inetOrgPerson", "uid: " + p.name, "cn: " + p.name, "sn: " + p.name,
			"userPassword: " + Password(p.name),
		}
		sid := fmt.Sprintf("S-1-5-21-1-2-3-%d", 1000+i)
		if s.FreeIPA {
			lines = append(lines, "objectClass: ipaNTUserAttrs", "ipaNTSecurityIdentifier: "+sid)
			if !p.noHash {
				lines = append(lines, "ipaNTHash:: "+base64.StdEncoding.EncodeToString(hash[:]))
			}
			lines = append(lines, p.freeipa...)
		} else {
			lines = append(lines, "objectClass: sambaSamAccount", "sambaSID: "+sid)
			if !p.noHash {
				lines = append(lines, fmt.Sprintf("sambaNTPassword: %X", hash))
			}
			lines = append(lines, p.samba...)
		}
		entry(append(lines, p.both...)...)
	}
	for _, g := range groups {
		lines := []string{"dn: cn=" + g.name + "," + GroupDN, "objectClass: groupOfNames", "cn: " + g.name}
		for _, m := range g.members {
			lines = append(lines, "member: "+m)
		}
		entry(lines...)
	}
	return b.String()
}
