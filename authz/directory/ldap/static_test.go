package ldap

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/slapd"
	"postern/internal/ldapc"
)

func TestStaticOfAccounts(t *testing.T) {
	static := directory.Static{Address: "radiusFramedIPAddress", Route: "radiusFramedRoute", Within: []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}}
	f := &fake{search: func(s *ldapc.Search) ([]*ldapc.Entry, error) {
		entries, err := corp(s)
		if len(entries) > 0 && slices.Contains(s.Attributes, static.Address) {
			entries[0].Attributes = append(entries[0].Attributes, ldap.NewEntryAttribute("RadiusFramedIPAddress", []string{"192.168.1.100"}),
				ldap.NewEntryAttribute("radiusFramedRoute", []string{"10.50.7.0/24 0.0.0.0 1", "nonsense"}))
		}
		return entries, err
	}}
	for _, named := range []bool{false, true} {
		d := faked(t, f, func(c *Config) {
			if named {
				c.Static = static
			}
		})
		a, err := d.Find(t.Context(), name("alice"))
		if got := fmt.Sprint(a.Addr, a.Routes); err != nil || named != (got == "192.168.1.100 [10.50.7.0/24]") {
			t.Errorf("%v: %s, %v", named, got, err)
		}
	}
	if _, err := New(Config{Client: f, BaseDN: "dc=corp", Schema: Samba, Static: directory.Static{Address: "a b"}}); err == nil {
		t.Error("an attribute that cannot be")
	}
}

func TestStaticFromSlapd(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	m := ldap.NewModifyRequest("uid=alice,"+slapd.PeopleDN, nil)
	m.Replace("description", []string{"10.50.7.0/24 0.0.0.0 1"})
	if err := s.LDAP(t).Modify(m); err != nil {
		t.Fatal(err)
	}
	d := open(t, s, func(c *Config) {
		c.Static = directory.Static{Route: "description", Within: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	})
	a, err := d.Find(t.Context(), name("alice"))
	if err != nil || fmt.Sprint(a.Routes) != "[10.50.7.0/24]" {
		t.Errorf("%v, %v", a, err)
	}
}
