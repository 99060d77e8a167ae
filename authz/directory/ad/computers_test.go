package ad

import (
	"errors"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/samba"
)

// computer puts a computer object into the fake.
func (f *fakeDC) computer(name string, attrs map[string][]string) string {
	dn := "CN=" + name + ",OU=Laptops,DC=lab,DC=example"
	all := map[string][]string{
		"objectCategory": {"computer"}, "objectClass": {"user", "computer"}, "sAMAccountName": {name + "$"},
		"userAccountControl": {"4096"}, "primaryGroupID": {"515"},
	}
	for k, v := range attrs {
		all[k] = v
	}
	f.entries[dn] = all
	return dn
}

// nest makes a group that is in others.
func (f *fakeDC) nest(t *testing.T, name, rid string, in ...string) string {
	t.Helper()
	dn := "CN=" + name + "," + vpnDN
	f.entries[dn] = map[string][]string{
		"objectCategory": {"group"}, "sAMAccountName": {name}, "memberOf": in,
		"objectSid": {string(mustSID(t, domainSID+"-"+rid).Append(nil))},
	}
	return dn
}

func TestComputers(t *testing.T) {
	f := newFake(t, time.Now)
	d := newFakes(t, nil, time.Now, f)
	if _, err := d.Computers(t.Context()); !errors.Is(err, errNoComputers) {
		t.Errorf("none: %v", err)
	}
	all := f.nest(t, "All-Devices", "1301")
	laptops := f.nest(t, "Laptops", "1302", all)
	f.entries[all]["memberOf"] = []string{laptops} // a ring
	f.nest(t, "Domain Computers", "515")
	f.set("CN=Alice,"+vpnDN, "distinguishedName", "CN=Alice,"+vpnDN)
	seen := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	f.computer("LT-0231", map[string][]string{
		"operatingSystem": {"Windows 11 Pro"}, "operatingSystemVersion": {"10.0 (22631)"}, "memberOf": {laptops, "CN=hidden,DC=lab,DC=example"},
		"managedBy": {"CN=Alice," + vpnDN}, "lastLogonTimestamp": {strconv.FormatInt(int64(toFileTime(seen)), 10)},
	})
	f.computer("old", map[string][]string{"userAccountControl": {"4098"}, "managedBy": {laptops}})
	got, err := d.Computers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 2 && got[0].Name != "LT-0231" {
		got[0], got[1] = got[1], got[0]
	}
	want := []Computer{
		{Name: "LT-0231", OS: "Windows 11 Pro", OSVersion: "10.0 (22631)", LastLogon: seen, Groups: []string{"All-Devices", "Domain Computers", "Laptops"}, Owner: "alice"},
		{Name: "old", Disabled: true, Groups: []string{"Domain Computers"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}

	hidden := f.computer("hidden", nil)
	delete(f.entries[hidden], "userAccountControl")
	if _, err := d.Computers(t.Context()); !errors.Is(err, errHidden) {
		t.Errorf("whether it is enabled is hidden: %v", err)
	}
	f.down = true
	var away directory.Unavailable
	if _, err := d.Computers(t.Context()); !errors.As(err, &away) {
		t.Errorf("away: %v", err)
	}
}

func TestSambaComputers(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	l := dc.LDAP(t)
	base := baseDN(sambaConfig(t, dc).Domain)
	add := func(dn string, attrs map[string][]string) {
		t.Helper()
		r := ldap.NewAddRequest(dn, nil)
		for k, v := range attrs {
			r.Attribute(k, v)
		}
		if err := l.Add(r); err != nil {
			t.Fatal(dn, err)
		}
	}
	computer := "CN=LT-0231,CN=Computers," + base
	add(computer, map[string][]string{
		"objectClass": {"computer"}, "sAMAccountName": {"LT-0231$"}, "userAccountControl": {"4096"}, "dNSHostName": {"lt-0231." + sambaConfig(t, dc).Domain},
		"operatingSystem": {"Windows 10 Pro"}, "operatingSystemVersion": {"10.0 (19045)"}, "managedBy": {dc.DN(t, l, "alice")},
	})
	add("CN=Managed-Laptops,CN=Users,"+base, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"Managed-Laptops"}, "member": {computer}})
	add("CN=Managed-Devices,CN=Users,"+base, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"Managed-Devices"}, "member": {"CN=Managed-Laptops,CN=Users," + base}})

	d := sambaDirectory(t, sambaConfig(t, dc))
	find := func() *Computer {
		t.Helper()
		all, err := d.Computers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if all[i].Name == "LT-0231" {
				return &all[i]
			}
		}
		return nil
	}
	got := find()
	want := &Computer{
		Name: "LT-0231", OS: "Windows 10 Pro", OSVersion: "10.0 (19045)", Groups: []string{"Domain Computers", "Managed-Devices", "Managed-Laptops"}, Owner: "alice",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	m := ldap.NewModifyRequest(computer, nil)
	m.Replace("userAccountControl", []string{"4098"})
	if err := l.Modify(m); err != nil {
		t.Fatal(err)
	}
	if got := find(); got == nil || !got.Disabled {
		t.Errorf("disabled: %+v", got)
	}
	if err := l.Del(ldap.NewDelRequest(computer, nil)); err != nil {
		t.Fatal(err)
	}
	if got := find(); got != nil {
		t.Errorf("deleted: %+v", got)
	}
}
