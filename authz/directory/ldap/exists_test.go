package ldap

import (
	"testing"

	"postern/integration/slapd"
)

func TestGroupExists(t *testing.T) {
	s := slapd.Start(t, slapd.Options{})
	d := open(t, s, nil)
	for name, want := range map[string]bool{
		"vpn-users": true, "VPN-Users": true, "vpn-leaf": true, "loop-a": true,
		"alice": false, "vpn-": false, "vpn*": false, "*": false, "": false, "S-1-5-21-1-2-3-4": false, "a\x00b": false, ")(cn=*": false,
	} {
		if exists, err := d.GroupExists(t.Context(), name); exists != want || err != nil {
			t.Errorf("%q: %v %v", name, exists, err)
		}
	}
	lost := open(t, s, func(c *Config) { c.GroupDN = "ou=nowhere," + slapd.GroupDN })
	if exists, err := lost.GroupExists(t.Context(), "vpn-users"); exists || !unavailable(err) {
		t.Errorf("without a base: %v %v", exists, err)
	}
}
