package ldap

import (
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/slapd"
	"postern/internal/ldapc"
)

// Seeds are asked for when somebody logs in, where an attribute is named, and never when
// the directory is only looked at for changes.
func TestSeedsAreAskedFor(t *testing.T) {
	f := &fake{search: func(s *ldapc.Search) ([]*ldapc.Entry, error) {
		entries, err := corp(s)
		if len(entries) > 0 && slices.Contains(s.Attributes, "seedAttribute") {
			entries[0].Attributes = append(entries[0].Attributes, ldap.NewEntryAttribute("SeedAttribute", []string{"two", "one"}))
		}
		return entries, err
	}}
	asked := func() bool {
		return slices.ContainsFunc(f.take(), func(s *ldapc.Search) bool { return slices.Contains(s.Attributes, "seedAttribute") })
	}
	for _, attribute := range []string{"", "seedAttribute"} {
		d := faked(t, f, func(c *Config) { c.TOTP = attribute })
		a, err := d.Find(t.Context(), name("alice"))
		if err != nil || slices.Equal(a.Seeds.Values(), []string{"one", "two"}) != (attribute != "") {
			t.Errorf("%q: %v, %v", attribute, a, err)
		}
		if asked() != (attribute != "") {
			t.Errorf("%q: asked for", attribute)
		}
		if _, err := d.VerifyMSCHAPv2(t.Context(), name("alice"), a, respond("alice", "wrong")); err == nil || asked() {
			t.Errorf("%q: verified with %v", attribute, err)
		}
		changed, _, err := d.Changed(t.Context(), []string{"alice"}, "")
		if err != nil || len(changed) != 1 || changed[0].Seeds.Len() != 0 || asked() {
			t.Errorf("%q: changed %v, %v", attribute, changed, err)
		}
	}
	if _, err := New(Config{Client: f, BaseDN: "dc=corp", Schema: Samba, TOTP: "a b"}); err == nil {
		t.Error("an attribute that cannot be")
	}
}

func TestSeedsFromSlapd(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	root := s.LDAP(t)
	values := []string{"otpauth://totp/ACME:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=ACME", "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"}
	m := ldap.NewModifyRequest("uid=alice,"+slapd.PeopleDN, nil)
	m.Replace("description", values)
	if err := root.Modify(m); err != nil {
		t.Fatal(err)
	}
	slices.Sort(values)
	d := open(t, s, func(c *Config) { c.TOTP = "DESCRIPTION" })
	for user, want := range map[string][]string{"alice": values, "ALICE": values, "bob": nil} {
		a, err := d.Find(t.Context(), name(user))
		if err != nil || !slices.Equal(a.Seeds.Values(), want) || a.State != directory.Active {
			t.Errorf("%s: %v, %v", user, a, err)
		}
	}
	if a, err := open(t, s, nil).Find(t.Context(), name("alice")); err != nil || a.Seeds.Len() != 0 {
		t.Errorf("unasked: %v, %v", a, err)
	}
}
