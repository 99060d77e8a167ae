package policy

import (
	"testing"
	"time"
)

// With other names in the facts and the policy, everybody comes to the same: at every
// depth, and where no name is known.
func TestRenamed(t *testing.T) {
	p := load(t, `version: 1
lists: {laptops: {devices: [LT-1, LT-2]}}
rules:
  - {id: one, when: {user: [Alice, bob]}, unless: {client: HOME-PC}, then: permit}
  - {id: two, when: {device: laptops, not: {user: carol}}, then: {permit: {factor: none}}}
  - {id: three, when: {any: [{all: [{user: dave}, {client: none}]}, {device: LT-3, tunnel: PPTP}]}, then: permit}
  - {id: four, when: {user: none}, then: deny}
`)
	other := func(of, name string) string { return "~" + of[:1] + name + "x" }
	q, left := p.Renamed(other)
	if len(left) != 0 || q.Version() != p.Version() {
		t.Errorf("%v", left)
	}
	rename := func(of, name string) string {
		if name == "" {
			return ""
		}
		return other(of, foldString(name))
	}
	n := map[string]int{}
	for _, user := range []string{"", "alice", "BOB", "carol", "dave", "eve"} {
		for _, client := range []string{"", "home-pc", "HOME-PC", "other"} {
			for _, device := range []string{"", "lt-1", "LT-2", "lt-3", "LT-9"} {
				f := Facts{User: user, ClientName: client, Tunnel: "PPTP", Device: Device{ID: device, Name: device}}
				g := f
				g.User, g.ClientName, g.Device.ID, g.Device.Name = rename("user", user), rename("client", client), rename("device", device), rename("device", device)
				want, got := p.Evaluate(time.Time{}, &f), q.Evaluate(time.Time{}, &g)
				if got.RuleID != want.RuleID {
					t.Errorf("%+v: %q, want %q", g, got.RuleID, want.RuleID)
				}
				n[want.RuleID]++
			}
		}
	}
	for _, id := range []string{"", "one", "two", "three", "four"} {
		if n[id] == 0 {
			t.Errorf("nobody came to %q", id)
		}
	}
}
