package ad

import (
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
)

func TestFindFilter(t *testing.T) {
	own := func(d string) bool { return strings.EqualFold(d, "LAB") || strings.EqualFold(d, "lab.example") }
	const head = "(&(objectCategory=person)(objectClass=user)(sAMAccountType=805306368)"
	for _, c := range []struct {
		name directory.Name
		want string
	}{
		{directory.Name{User: "alice"}, "(sAMAccountName=alice))"},
		{directory.Name{User: "alice", Realm: "LAB", Down: true}, "(sAMAccountName=alice))"},
		{directory.Name{User: "alice", Realm: "lab.example"}, "(|(userPrincipalName=alice@lab.example)(sAMAccountName=alice)))"},
		{directory.Name{User: "alice", Realm: "Lab"}, "(|(userPrincipalName=alice@Lab)(sAMAccountName=alice)))"},
		{directory.Name{User: "alice", Realm: "corp.com"}, "(userPrincipalName=alice@corp.com))"},
		{directory.Name{User: "*"}, `(sAMAccountName=\2a))`},
		{directory.Name{User: "a)(b=*", Realm: "x)(y", Down: false}, `(userPrincipalName=a\29\28b=\2a@x\29\28y))`},
		{directory.Name{User: "jürgen"}, `(sAMAccountName=j\c3\bcrgen))`},
	} {
		got := findFilter(c.name, own)
		if got != head+c.want {
			t.Errorf("%+v: %s, want …%s", c.name, got, c.want)
		}
		if _, err := ldap.CompileFilter(got); err != nil {
			t.Errorf("%+v: %v", c.name, err)
		}
	}
}

func TestMeant(t *testing.T) {
	alice := &person{name: "alice", principal: "a.smith@lab.example"}
	other := &person{name: "a.smith", principal: "albert@lab.example"}
	for _, c := range []struct {
		about     string
		name      directory.Name
		found     []*person
		want      *person
		ambiguous bool
	}{
		{"nobody", directory.Name{User: "x"}, nil, nil, false},
		{"one", directory.Name{User: "alice"}, []*person{alice}, alice, false},
		// Two people: one's userPrincipalName is the other's sAMAccountName.
		{"principal first", directory.Name{User: "A.Smith", Realm: "lab.example"}, []*person{other, alice}, alice, false},
		{"down-level", directory.Name{User: "a.smith", Realm: "lab.example", Down: true}, []*person{other}, other, false},
		{"two", directory.Name{User: "alice"}, []*person{alice, other}, nil, true},
	} {
		if p, ambiguous := meant(c.name, c.found); p != c.want || ambiguous != c.ambiguous {
			t.Errorf("%s: %+v, %v", c.about, p, ambiguous)
		}
	}
}

func TestFilters(t *testing.T) {
	dn := `CN=O\, Hara (x),DC=lab`
	for got, want := range map[string]string{
		anyOf([]string{"alice", "b*b"}):                                  `(|(sAMAccountName=alice)(sAMAccountName=b\2ab)))`,
		anySID([]sid{mustSID(t, "S-1-5-32-544"), mustSID(t, "S-1-1-0")}): `(|(objectSid=\01\02\00\00\00\00\00\05\20\00\00\00\20\02\00\00)(objectSid=\01\01\00\00\00\00\00\01\00\00\00\00))`,
		changedGroups(41): "(&(objectCategory=group)(uSNChanged>=42))",
		groupsOf(dn):      `(member:1.2.840.113556.1.4.1941:=CN=O\5c, Hara \28x\29,DC=lab)`,
	} {
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s, want …%s", got, want)
		}
		if _, err := ldap.CompileFilter(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}
