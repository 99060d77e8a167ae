package ad

import (
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
)

// people matches accounts that people log on with: no computers, no trusts, no
// contacts, which are persons, too.
const people = "(objectCategory=person)(objectClass=user)(sAMAccountType=" + normalUser + ")"

// anything matches the one entry of a base search.
const anything = "(objectClass=*)"

// findFilter finds who a name means. AD knows a person by sAMAccountName and, with
// a suffix behind, by userPrincipalName, whose part in front of the @ may be
// another name and whose suffix another domain. Where the suffix is our domain, AD
// takes the sAMAccountName, too.
func findFilter(n directory.Name, own func(domain string) bool) string {
	user := ldap.EscapeFilter(n.User)
	if n.Realm == "" || n.Down {
		return fmt.Sprintf("(&%s(sAMAccountName=%s))", people, user)
	}
	principal := ldap.EscapeFilter(n.User + "@" + n.Realm)
	if !own(n.Realm) {
		return fmt.Sprintf("(&%s(userPrincipalName=%s))", people, principal)
	}
	return fmt.Sprintf("(&%s(|(userPrincipalName=%s)(sAMAccountName=%s)))", people, principal, user)
}

// meant picks the one that a name means out of those that a findFilter found: a
// userPrincipalName goes before another's sAMAccountName. Nil is nobody; with
// several the name is ambiguous, which no domain lets happen.
func meant(n directory.Name, found []*person) (p *person, ambiguous bool) {
	for _, f := range found {
		if n.Realm != "" && !n.Down && strings.EqualFold(f.principal, n.User+"@"+n.Realm) {
			return f, false
		}
	}
	switch len(found) {
	case 0:
		return nil, false
	case 1:
		return found[0], false
	}
	return nil, true
}

// anyOf matches people by canonical names.
func anyOf(names []string) string {
	var b strings.Builder
	b.WriteString("(&" + people + "(|")
	for _, n := range names {
		b.WriteString("(sAMAccountName=" + ldap.EscapeFilter(n) + ")")
	}
	b.WriteString("))")
	return b.String()
}

// anySID matches whatever has one of the SIDs.
func anySID(sids []sid) string {
	var b strings.Builder
	b.WriteString("(|")
	for _, s := range sids {
		b.WriteString("(objectSid=")
		for _, o := range s.Append(nil) {
			fmt.Fprintf(&b, `\%02x`, o)
		}
		b.WriteString(")")
	}
	b.WriteString(")")
	return b.String()
}

// changedGroups matches groups that changed since a USN, members included
// ([MS-ADTS] §3.1.1.1.9). There is no > in filters (RFC 4515 §3).
func changedGroups(since int64) string {
	return fmt.Sprintf("(&(objectCategory=group)(uSNChanged>=%d))", since+1)
}

// groupsOf matches all groups that a DN is in, nested ones included ([MS-ADTS]
// §3.1.1.3.4.4.3, the rule in chain), but for the primary one.
func groupsOf(dn string) string {
	return "(member:1.2.840.113556.1.4.1941:=" + ldap.EscapeFilter(dn) + ")"
}
