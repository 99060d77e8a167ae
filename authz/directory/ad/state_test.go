package ad

import (
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday

func mustSID(t testing.TB, text string) sid {
	t.Helper()
	s, err := sidOf(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const domainSID = "S-1-5-21-1-2-3"

// entry is an account's entry: an ordinary one but for what attrs say.
func entry(t testing.TB, attrs map[string][]string) *ldap.Entry {
	t.Helper()
	all := map[string][]string{
		"sAMAccountName": {"Alice"}, "objectSid": {string(mustSID(t, domainSID+"-1104").Append(nil))}, "userAccountControl": {"512"},
		"msDS-User-Account-Control-Computed": {"0"}, "accountExpires": {"9223372036854775807"}, "pwdLastSet": {"134084160000000000"},
		"msDS-UserPasswordExpiryTimeComputed": {"9223372036854775807"}, "uSNChanged": {"3900"}, "primaryGroupID": {"513"},
	}
	for k, v := range attrs {
		all[k] = v
		if v == nil {
			delete(all, k)
		}
	}
	return ldap.NewEntry("CN=Alice,OU=VPN,DC=lab,DC=example", all)
}

// Each row is an account that has nothing unusual but what the row says.
func TestState(t *testing.T) {
	type attrs = map[string][]string
	plain, strict := rules{}, rules{dialin: true, workstation: "RGW"}
	groups := []sid{mustSID(t, domainSID+"-513"), mustSID(t, domainSID+"-1200")}
	protectedUsers := append(groups[:2:2], mustSID(t, domainSID+"-525"))
	never := "9223372036854775807"
	for _, c := range []struct {
		about  string
		attrs  attrs
		rules  rules
		groups []sid
		want   directory.State
	}{
		{"ordinary", nil, strict, groups, directory.Active},
		{"disabled", attrs{"userAccountControl": {"514"}}, plain, groups, directory.Disabled},
		{"disabled goes before must change", attrs{"userAccountControl": {"514"}, "pwdLastSet": {"0"}}, plain, groups, directory.Disabled},
		{"account expired", attrs{"accountExpires": {"132000000000000000"}}, plain, groups, directory.Expired},
		{"account does not expire", attrs{"accountExpires": {"0"}}, plain, groups, directory.Active},
		{"account expires later", attrs{"accountExpires": {"140000000000000000"}}, plain, groups, directory.Active},
		{"locked", attrs{"msDS-User-Account-Control-Computed": {"16"}}, plain, groups, directory.Locked},
		// lockoutTime says nothing: it may be past.
		{"was locked", attrs{"lockoutTime": {"134000000000000000"}}, plain, groups, directory.Active},
		{"smart card", attrs{"userAccountControl": {"262656"}}, plain, groups, directory.Restricted},
		{"Protected Users", nil, plain, protectedUsers, directory.Restricted},
		{"Protected Users of another domain", nil, plain, []sid{mustSID(t, "S-1-5-21-9-9-9-525")}, directory.Active},
		{"no hours", attrs{"logonHours": {string(make([]byte, 21))}}, plain, groups, directory.OutsideHours},
		{"elsewhere only", attrs{"userWorkstations": {"OTHERPC"}}, strict, groups, directory.NotFromHere},
		{"here, too", attrs{"userWorkstations": {"OTHERPC, rgw"}}, strict, groups, directory.Active},
		{"workstations not compared", attrs{"userWorkstations": {"OTHERPC"}}, plain, groups, directory.Active},
		{"dial-in denied", attrs{"msNPAllowDialin": {"FALSE"}}, strict, groups, directory.NoDialin},
		{"dial-in allowed", attrs{"msNPAllowDialin": {"TRUE"}}, strict, groups, directory.Active},
		{"dial-in not honoured", attrs{"msNPAllowDialin": {"FALSE"}}, plain, groups, directory.Active},
		{"must change", attrs{"pwdLastSet": {"0"}, "msDS-User-Account-Control-Computed": {"8388608"}, "msDS-UserPasswordExpiryTimeComputed": {"0"}}, plain, groups, directory.PasswordMustChange},
		{"must change, nothing computed", attrs{"pwdLastSet": {"0"}, "msDS-User-Account-Control-Computed": nil}, plain, groups, directory.PasswordMustChange},
		{"password never expires", attrs{"pwdLastSet": {"0"}, "userAccountControl": {"66048"}}, plain, groups, directory.Active},
		{"password expired", attrs{"msDS-User-Account-Control-Computed": {"8388608"}, "msDS-UserPasswordExpiryTimeComputed": {"134000000000000000"}}, plain, groups, directory.PasswordExpired},
		{"password end past, not yet computed", attrs{"msDS-UserPasswordExpiryTimeComputed": {"134000000000000000"}}, plain, groups, directory.PasswordExpired},
		{"password end to come", attrs{"msDS-UserPasswordExpiryTimeComputed": {"140000000000000000"}}, plain, groups, directory.Active},
		{"no end", attrs{"msDS-UserPasswordExpiryTimeComputed": {never}}, plain, groups, directory.Active},
	} {
		p, err := readPerson(entry(t, c.attrs))
		if err != nil {
			t.Errorf("%s: %v", c.about, err)
			continue
		}
		if got := p.state(testNow, c.rules, c.groups); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}

func TestReadPerson(t *testing.T) {
	p, err := readPerson(entry(t, map[string][]string{"msDS-UserPasswordExpiryTimeComputed": {"140000000000000000"}, "msDS-ResultantPSO": {"CN=pso"}}))
	if err != nil {
		t.Fatal(err)
	}
	a := p.account(testNow, rules{}, nil)
	if a.Name != "alice" || a.SID != domainSID+"-1104" || a.Ref != "CN=Alice,OU=VPN,DC=lab,DC=example" || a.State != directory.Active ||
		a.PasswordSet.IsZero() || a.PasswordExpires.Year() != 2044 {
		t.Errorf("%+v", a)
	}
	if p.usn != 3900 || p.policy != "CN=pso" || p.primary != 513 {
		t.Errorf("%+v", p)
	}
	for about, attrs := range map[string]map[string][]string{
		"no name":                    {"sAMAccountName": nil},
		"no SID":                     {"objectSid": nil},
		"half a SID":                 {"objectSid": {"\x01\x05"}},
		"flags that we may not read": {"userAccountControl": nil},
	} {
		if p, err := readPerson(entry(t, attrs)); err == nil {
			t.Errorf("%s: %+v", about, p)
		}
	}
	// Attribute names come back as the server spells them.
	e := entry(t, map[string][]string{"sAMAccountName": nil, "samaccountname": {"BOB"}})
	if p, err := readPerson(e); err != nil || p.canonical() != "bob" {
		t.Errorf("%+v, %v", p, err)
	}
}
