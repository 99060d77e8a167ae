package ad

import (
	"fmt"
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	n := new(names)
	users, gone, other := mustSID(t, domainSID+"-1200"), mustSID(t, domainSID+"-1201"), mustSID(t, domainSID+"-1202")
	if found, missing := n.find(testNow, []sid{users, gone}); len(found) != 0 || len(missing) != 2 {
		t.Errorf("%v, %v", found, missing)
	}
	n.learn(testNow, []sid{users, gone}, map[sid]string{users: "vpn-users"})
	found, missing := n.find(testNow.Add(noNameTTL-1), []sid{users, gone, other})
	if found[users] != "vpn-users" || !slices.Equal(missing, []sid{other}) {
		t.Errorf("%v, %v", found, missing)
	}
	if name, known := found[gone]; !known || name != "" {
		t.Errorf("that it has no name is not known: %q", name)
	}
	if _, missing := n.find(testNow.Add(noNameTTL), []sid{users, gone}); !slices.Equal(missing, []sid{gone}) {
		t.Errorf("later %v", missing)
	}
	if _, missing := n.find(testNow.Add(nameTTL), []sid{users}); len(missing) != 1 {
		t.Error("believed for ever")
	}
	n.forget()
	if _, missing := n.find(testNow, []sid{users}); len(missing) != 1 {
		t.Error("not forgotten")
	}
	for i := range 3 * maxNames / 100 {
		var many []sid
		for j := range 100 {
			many = append(many, mustSID(t, fmt.Sprintf("%s-%d", domainSID, 2000+100*i+j)))
		}
		n.learn(testNow, many, nil)
	}
	if len(n.known) > maxNames {
		t.Errorf("%d names kept", len(n.known))
	}
}
