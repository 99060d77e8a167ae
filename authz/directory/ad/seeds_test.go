package ad

import (
	"slices"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/samba"
)

// Seeds come with an account that is looked up by name, whoever else has a similar one,
// and never with a look at what has changed.
func TestSeeds(t *testing.T) {
	f := newFake(t, time.Now)
	f.add(t, "Seeded", "1150", map[string][]string{"url": {"two", "one"}})
	f.add(t, "Other", "1151", map[string][]string{"url": {"three"}, "userPrincipalName": {"seeded@other.example"}})
	for _, attribute := range []string{"", "url"} {
		d := newFakes(t, func(c *Config) { c.TOTP = attribute }, time.Now, f)
		for _, row := range []struct {
			user directory.Name
			want []string
		}{
			{user("seeded"), []string{"one", "two"}}, {directory.Name{User: "seeded", Realm: "other.example"}, []string{"three"}}, {user("alice"), nil},
		} {
			if attribute == "" {
				row.want = nil
			}
			a, err := d.Find(t.Context(), row.user)
			if err != nil || !slices.Equal(a.Seeds.Values(), row.want) {
				t.Errorf("%q, %+v: %v, %v", attribute, row.user, a, err)
			}
		}
		changed, _, err := d.Changed(t.Context(), []string{"seeded"}, "")
		if err != nil || len(changed) != 1 || changed[0].Seeds.Len() != 0 {
			t.Errorf("changed %v, %v", changed, err)
		}
	}
	if slices.Contains(personAttributes, "url") {
		t.Error("everybody's seeds are asked for")
	}
}

func TestSambaSeeds(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	l := dc.LDAP(t)
	values := []string{"MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U", "otpauth://totp/ACME:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=ACME"}
	m := ldap.NewModifyRequest(dc.DN(t, l, "alice"), nil)
	m.Replace("url", values)
	if err := l.Modify(m); err != nil {
		t.Fatal(err)
	}
	cfg := sambaConfig(t, dc)
	cfg.TOTP, cfg.Cache = "url", time.Hour
	d := sambaDirectory(t, cfg)
	for _, n := range []directory.Name{user("alice"), user("ALICE"), {User: "alice", Realm: "LAB", Down: true}, {User: "alice", Realm: dc.Domain}} {
		a, err := d.Find(t.Context(), n)
		if err != nil || !slices.Equal(a.Seeds.Values(), values) {
			t.Errorf("%+v: %v, %v", n, a, err)
		}
	}
	if a, err := d.Find(t.Context(), user("bob")); err != nil || a.Seeds.Len() != 0 {
		t.Errorf("bob: %v, %v", a, err)
	}
	// What is taken away there is gone when the account's change is noticed.
	if _, _, err := d.Changed(t.Context(), []string{"alice"}, ""); err != nil {
		t.Fatal(err)
	}
	m = ldap.NewModifyRequest(dc.DN(t, l, "alice"), nil)
	m.Delete("url", nil)
	if err := l.Modify(m); err != nil {
		t.Fatal(err)
	}
	if a, err := d.Find(t.Context(), user("alice")); err != nil || a.Seeds.Len() != 0 {
		t.Errorf("taken away: %v, %v", a, err)
	}
}
