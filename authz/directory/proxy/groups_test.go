package proxy

import (
	"errors"
	"slices"
	"testing"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
)

func addClass(r *radius.Packet, values ...string) error {
	var errs []error
	for _, v := range values {
		errs = append(errs, rfc2865.Class_AddString(r, v))
	}
	return errors.Join(errs...)
}

func TestGroups(t *testing.T) {
	values := []string{"Staff", "OU=vpn users;", "OU=", "OU=;", "OU=Staff", "\x00\x01\xff", "OU=\xff", "OU=a\nb", "Führung", "OU=vpn users"}
	u := newUpstream()
	u.accept = func(r *radius.Packet) error {
		errs := []error{addClass(r, values...)}
		for _, v := range []string{"vpn-users", "vpn-users", "Enterasys:version=1:policy=x"} {
			errs = append(errs, rfc2865.FilterID_AddString(r, v))
		}
		return errors.Join(errs...)
	}
	for _, row := range []struct {
		from   GroupAttribute
		prefix string
		want   []string
	}{
		{GroupsNone, "", nil},
		{GroupsNone, "OU=", nil},
		{GroupsClass, "OU=", []string{"vpn users", "Staff"}},
		{GroupsClass, "", []string{"Staff", "OU=vpn users", "OU=", "OU=Staff", "Führung"}},
		{GroupsClass, "cn=", nil},
		{GroupsFilterID, "", []string{"vpn-users", "Enterasys:version=1:policy=x"}},
		{GroupsFilterID, "vpn-", []string{"users"}},
	} {
		d := u.open(t, func(c *Config) { c.Groups, c.GroupPrefix = row.from, row.prefix })
		for _, typed := range []string{"alice", "alice+123456"} {
			proof, err := dial(typed, bareName("alice"), "Alice-Pass1").verify(d)
			if err != nil || !slices.Equal(proof.Groups, row.want) {
				t.Errorf("%v %q: %q %v, want %q", row.from, row.prefix, proof.Groups, err, row.want)
			}
		}
	}
}
