package ad

import (
	"errors"
	"strings"
	"testing"

	"postern/authz/directory"
	"postern/integration/samba"
)

func TestSambaGroupExists(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	d := sambaDirectory(t, sambaConfig(t, dc))
	alice, err := d.Find(t.Context(), user("alice"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, g := range alice.Groups { // by name and by SID
		if exists, err := d.GroupExists(t.Context(), g); !exists || err != nil {
			t.Errorf("%s, which alice is in: %v %v", g, exists, err)
		}
		if !strings.HasPrefix(g, "S-1-") {
			named++
			if exists, err := d.GroupExists(t.Context(), strings.ToUpper(g)); !exists || err != nil {
				t.Errorf("%s in capitals: %v %v", g, exists, err)
			}
		}
	}
	if named == 0 {
		t.Errorf("alice is in %v", alice.Groups)
	}
	for _, g := range []string{"Domain Admins", "Administrators", "S-1-5-32-544"} {
		if exists, err := d.GroupExists(t.Context(), g); !exists || err != nil {
			t.Errorf("%s: %v %v", g, exists, err)
		}
	}
	own := alice.SID[:strings.LastIndex(alice.SID, "-")]
	for _, g := range []string{"alice", "No Such Group", "*", "", "Domain Admin", alice.SID, own + "-99999", "S-1-5-32-9999", "a)(cn=*"} {
		if exists, err := d.GroupExists(t.Context(), g); exists || err != nil {
			t.Errorf("%s: %v %v", g, exists, err)
		}
	}
	if exists, err := d.GroupExists(t.Context(), "S-1-5-21-1-2-3-513"); exists || !errors.Is(err, directory.ErrGroupsUntold) {
		t.Errorf("of another domain: %v %v", exists, err)
	}
}
