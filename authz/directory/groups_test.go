package directory

import (
	"context"
	"errors"
	"testing"
)

// grouped is a directory with one group.
type grouped struct {
	echo
	group string
	err   error
}

func (g *grouped) GroupExists(_ context.Context, name string) (bool, error) {
	return name == g.group, g.err
}

func TestRealmsKnowGroups(t *testing.T) {
	a, b, mute := &grouped{group: "A"}, &grouped{group: "B"}, &echo{}
	realms := func(list ...Directory) *Realms {
		var all []Realm
		for i, d := range list {
			all = append(all, Realm{Name: string(rune('a' + i)), Directory: d, Suffix: string(rune('a' + i))})
		}
		rs, err := NewRealms(all...)
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	away := &grouped{group: "C", err: Unavailable{Doing: "find group", Err: errors.New("away")}}
	for i, c := range []struct {
		rs     *Realms
		name   string
		exists bool
		err    string
	}{
		{realms(a, b), "A", true, ""},
		{realms(a, b), "B", true, ""},
		{realms(a, b), "C", false, ""},
		{realms(a, mute), "A", true, ""},
		{realms(mute, a), "A", true, ""},
		{realms(a, mute), "C", false, "realm b: the directory does not tell which groups there are"},
		{realms(away, b), "B", true, ""},
		{realms(away, b), "C", false, "realm a: directory unavailable: find group: away"},
	} {
		exists, err := c.rs.GroupExists(t.Context(), c.name)
		if exists != c.exists || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%d: %v %v", i, exists, err)
		}
	}
	if _, err := realms(mute).GroupExists(t.Context(), "x"); !errors.Is(err, ErrGroupsUntold) {
		t.Error(err)
	}
}

func TestFileKnowsGroups(t *testing.T) {
	f, u, _, tick := testFile(t)
	for name, want := range map[string]bool{"VPN-Users": true, "vpn-users": true, "Nobody": false, "": false} {
		if exists, err := f.GroupExists(t.Context(), name); exists != want || err != nil {
			t.Errorf("%q: %v %v", name, exists, err)
		}
	}
	must(t, u.SetGroups("off", []string{"Nobody"}))
	tick()
	if exists, err := f.GroupExists(t.Context(), "nobody"); !exists || err != nil {
		t.Errorf("after a change: %v %v", exists, err)
	}
}
