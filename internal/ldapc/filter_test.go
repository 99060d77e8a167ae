package ldapc

import (
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// FuzzEqual: whatever is compared with, the filter is one comparison with just that.
func FuzzEqual(f *testing.F) {
	for _, s := range []string{
		"alice", "", "*", "*)(uid=*", "a)(|(uid=*))", `\`, `\2a`, "\x00", "a\x00b", "jürgen", "😀", "\xff\xfe", "(", ")", " a ", "a\nb",
		strings.Repeat("*", 5000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p, err := ldap.CompileFilter(Equal("uid", value))
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if p.Tag != ldap.FilterEqualityMatch && value != "" || len(p.Children) != 2 && value != "" {
			t.Fatalf("%q became %s", value, ldap.FilterMap[uint64(p.Tag)])
		}
		if value != "" && (p.Children[0].Data.String() != "uid" || p.Children[1].Data.String() != value) {
			t.Fatalf("%q became %q=%q", value, p.Children[0].Data.String(), p.Children[1].Data.String())
		}
		// Nor does it get out of a larger one.
		p, err = ldap.CompileFilter(And("(objectClass=person)", Or(Equal("uid", value), Equal("mail", value))))
		if err != nil || len(p.Children) != 2 || len(p.Children[1].Children) != 2 {
			t.Fatalf("%q: %v", value, err)
		}
	})
}

func TestJoin(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{And("(a=1)", "(b=2)"), "(&(a=1)(b=2))"},
		{And("(a=1)", ""), "(a=1)"},
		{Or("", "(a=1)", "(b=2)"), "(|(a=1)(b=2))"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}
