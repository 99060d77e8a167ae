package ad

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"postern/authz/directory"
)

// follower looks at changes from mark to mark.
type follower struct {
	t     *testing.T
	d     *Directory
	names []string
	mark  directory.Mark
}

// look wants the changed accounts as "name state".
func (f *follower) look(about string, want ...string) []directory.Account {
	f.t.Helper()
	changed, next, err := f.d.Changed(f.t.Context(), f.names, f.mark)
	if err != nil {
		f.t.Errorf("%s: %v", about, err)
		return nil
	}
	var got []string
	for _, a := range changed {
		got = append(got, a.Name+" "+a.State.String())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		f.t.Errorf("%s: %q, want %q", about, got, want)
	}
	f.mark = next
	return changed
}

func TestChanged(t *testing.T) {
	now := testNow
	clock := func() time.Time { return now }
	dc := newFake(t, clock)
	d := newFakes(t, func(c *Config) { c.Cache = time.Hour }, clock, dc)
	f := &follower{t: t, d: d, names: []string{"alice", "bob"}}
	const alice, bob = "CN=Alice," + vpnDN, "CN=bob," + vpnDN
	all := []string{"alice active", "bob active"}

	f.look("no mark", all...)
	for range 3 {
		now = now.Add(30 * time.Second)
		f.look("nothing happened")
	}
	if _, err := d.Find(t.Context(), user("alice")); err != nil {
		t.Fatal(err)
	}
	dc.set(alice, "userAccountControl", "514")
	f.look("disabled", "alice disabled")
	if a, err := d.Find(t.Context(), user("alice")); err != nil || a.State != directory.Disabled {
		t.Errorf("the cache still has %+v, %v", a, err)
	}
	f.look("still disabled", "alice disabled")
	dc.set(alice, "userAccountControl", "512")
	f.look("enabled", "alice active")
	dc.set(bob, "pwdLastSet", "134084160000000001")
	changed := f.look("another password", "bob active")
	if len(changed) == 1 && !changed[0].PasswordSet.After(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", changed[0])
	}

	// A group changes, and nobody in it does.
	dc.mu.Lock()
	dc.entries[alice]["tokenGroups"] = dc.entries[alice]["tokenGroups"][:1]
	dc.mu.Unlock()
	dc.set("CN=vpn-users,"+vpnDN, "member", bob)
	for _, a := range f.look("out of the group", all...) {
		if in := slices.Contains(a.Groups, "vpn-users"); in != (a.Name == "bob") {
			t.Errorf("%s: groups %q", a.Name, a.Groups)
		}
	}
	f.look("nothing happened")
	dc.remove(bob)
	f.look("deleted", "bob gone")
	dc.add(t, "bob", "9000", nil) // somebody else
	if got := f.look("made again", "bob active"); len(got) == 1 && got[0].SID != domainSID+"-9000" {
		t.Errorf("%+v", got)
	}

	// No USN says that time has passed.
	end := toFileTime(now.Add(time.Minute))
	dc.set(alice, "accountExpires", fmt.Sprint(int64(end)))
	f.look("will expire", "alice active")
	now = now.Add(time.Minute)
	f.look("expired", "alice expired")
	now = now.Add(recheck)
	f.look("everybody after a while", "alice expired", "bob active")

	// USNs are one domain controller's own.
	dc.mu.Lock()
	dc.entries["CN=NTDS,CN=Configuration"]["invocationId"] = []string{"\x03"}
	dc.mu.Unlock()
	f.look("restored", "alice expired", "bob active")
	f.mark = "rubbish"
	f.look("a mark of somebody else's", "alice expired", "bob active")

	dc.down = true
	before := f.mark
	if _, next, err := d.Changed(t.Context(), f.names, f.mark); err == nil || next != before {
		t.Errorf("%q, %v", next, err)
	} else if _, no := directory.IsRejected(err); no {
		t.Errorf("rejected by nobody: %v", err)
	}
}

// Many are asked for in batches, and told in full.
func TestChangedMany(t *testing.T) {
	dc := newFake(t, time.Now)
	d := newFakes(t, nil, time.Now, dc)
	f := &follower{t: t, d: d}
	for i := range 250 {
		name := fmt.Sprintf("u%03d", i)
		dc.add(t, name, fmt.Sprint(3000+i), nil)
		f.names = append(f.names, name)
	}
	changed, mark, err := d.Changed(t.Context(), f.names, "")
	if err != nil || len(changed) != 250 {
		t.Fatalf("%d changed, %v", len(changed), err)
	}
	for i, a := range changed {
		if a.Name != f.names[i] || len(a.Groups) != 4 {
			t.Errorf("%+v", a)
		}
	}
	f.mark = mark
	before := dc.searches
	f.look("nothing happened")
	if asked := dc.searches - before; asked > 5 { // invocation, groups, three batches
		t.Errorf("%d questions because nothing happened", asked)
	}
}
