package filter

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// show prints groups as a test can read them.
func show(groups []group) []string {
	var all []string
	for _, g := range groups {
		s := fmt.Sprintf("%v %v", g.action, g.protocol)
		for _, p := range g.peers {
			s += fmt.Sprintf(" %s-%s", address(p.first), address(p.last))
		}
		for _, n := range g.sets {
			s += " @" + n
		}
		for _, p := range g.ports {
			s += fmt.Sprintf(" %d-%d", p.first, p.last)
		}
		all = append(all, s)
	}
	return all
}

func address(v uint32) netip.Addr { return netip.AddrFrom4([4]byte(addressWidth.bytes(v))) }

func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		rules, want []string
	}{
		{nil, nil},
		{
			[]string{"permit in tcp from assigned to 10.0.1.0/24 80", "permit in tcp from assigned to 10.0.0.0/24 80", "permit in tcp from assigned to 10.0.5.5 80"},
			[]string{"permit tcp 10.0.0.0-10.0.1.255 10.0.5.5-10.0.5.5 80-80"},
		},
		{ // other ports, protocol: within a run they may change places
			[]string{"permit in tcp from assigned to 10.0.0.1 80", "permit in udp from assigned to 10.0.0.1 80", "permit in tcp from assigned to 10.0.0.2 80",
				"permit in tcp from assigned to 10.0.0.3 81", "permit in tcp from assigned to 10.0.0.3"},
			[]string{"permit tcp 10.0.0.1-10.0.0.2 80-80", "permit udp 10.0.0.1-10.0.0.1 80-80", "permit tcp 10.0.0.3-10.0.0.3 81-81", "permit tcp 10.0.0.3-10.0.0.3"},
		},
		{ // not over another action
			[]string{"permit in ip from assigned to 10.0.0.1", "deny in ip from assigned to 10.0.0.0/24", "permit in ip from assigned to 10.0.0.0/8", "permit in ip from assigned to 11.0.0.0/8"},
			[]string{"permit ip 10.0.0.1-10.0.0.1", "deny ip 10.0.0.0-10.0.0.255", "permit ip 10.0.0.0-11.255.255.255"},
		},
		{ // over a rule of the other direction
			[]string{"permit in ip from assigned to 10.0.0.1", "deny out ip from any to assigned", "permit in ip from assigned to 10.0.0.2"},
			[]string{"permit ip 10.0.0.1-10.0.0.2"},
		},
		{ // ports in any order and notation
			[]string{"permit in tcp from assigned to 10.0.0.1 80,81,90-95,85-92", "permit in tcp from assigned to 10.0.0.9 85-95,80-81"},
			[]string{"permit tcp 10.0.0.1-10.0.0.1 10.0.0.9-10.0.0.9 80-81 85-95"},
		},
		{
			[]string{"permit in ip from assigned to @a", "permit in ip from assigned to 10.0.0.1", "permit in ip from assigned to @b", "permit in ip from assigned to @a"},
			[]string{"permit ip 10.0.0.1-10.0.0.1 @a @b"},
		},
		{
			[]string{"permit in ip from assigned to 10.0.0.1", "permit in ip from assigned to any", "permit in ip from assigned to 255.255.255.255"},
			[]string{"permit ip 0.0.0.0-255.255.255.255"},
		},
	} {
		if got := show(merge(rules(t, tt.rules...), In)); !slices.Equal(got, tt.want) {
			t.Errorf("%q:\n%q, want\n%q", tt.rules, got, tt.want)
		}
	}
	out := show(merge(rules(t, "permit in ip from assigned to any", "permit out tcp from 10.0.0.1 to assigned 22"), Out))
	if !slices.Equal(out, []string{"permit tcp 10.0.0.1-10.0.0.1 22-22"}) {
		t.Errorf("out: %q", out)
	}
}

func TestGroupComment(t *testing.T) {
	all := rules(t, "permit in tcp from assigned to 10.0.0.1 80", "permit in tcp from assigned to 10.0.0.2 80", "permit in tcp from assigned to 10.0.0.3 80")
	if got := merge(all, In)[0].comment(); got != all[0].String()+" and 2 more" {
		t.Error(got)
	}
	long := rules(t, "permit in tcp from assigned to 10.0.0.1 "+strings.Repeat("10000-10001,", 63)+"1", "deny in ip from assigned to any")
	long = append(slices.Repeat(long[:1], 999), long[1])
	for _, g := range merge(long, In) {
		if c := g.comment(); len(c) > maxComment-1 {
			t.Errorf("comment of %d octets: %s", len(c), c)
		}
	}
}

func TestIntervals(t *testing.T) {
	got := addresses([]netip.Prefix{
		prefix("10.0.2.0/24"), prefix("10.0.0.0/24"), prefix("10.0.1.0/24"), prefix("10.0.0.128/25"), {}, prefix("2001:db8::/32"),
		prefix("255.255.255.255/32"), prefix("10.9.8.7/8").Masked(), prefix("0.0.0.0/32"),
	})
	want := []span{{0, 0}, {10 << 24, 11<<24 - 1}, {1<<32 - 1, 1<<32 - 1}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if all := addresses([]netip.Prefix{anyone, prefix("10.0.0.0/8")}); !slices.Equal(all, []span{addressWidth.whole()}) {
		t.Errorf("%v", all)
	}
	keys := func(w width, spans []span) (all []string) {
		for _, e := range w.elements(spans) {
			all = append(all, fmt.Sprintf("%x %v", e.Key, e.IntervalEnd))
		}
		return all
	}
	if got := keys(addressWidth, want); !reflect.DeepEqual(got, []string{
		"00000000 false", "00000001 true", "0a000000 false", "0b000000 true", "ffffffff false",
	}) {
		t.Errorf("%q", got)
	}
	if got := keys(portWidth, ports([]PortRange{{80, 90}, {65535, 65535}, {91, 100}})); !reflect.DeepEqual(got, []string{"0050 false", "0065 true", "ffff false"}) {
		t.Errorf("%q", got)
	}
}

func TestSafeNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"sales", "Sales", "a_b", "a b", "a-b", "a.b", "a/b", "ä", "ö", "", "8", `"`, "x\x00", "sales.n0123456789ab",
		strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 66), strings.Repeat("ü", 100),
	} {
		id := safe(name)
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are both %s", name, other, id)
		}
		seen[id] = name
		if !plain("in."+id) || len(filterOut+id+".r"+strings.Repeat("0", hashDigits)+suffixAnswers) > 128 {
			t.Errorf("%q is %s", name, id)
		}
	}
	if safe("sales") != "sales" || safe("a-b_8") != "a-b_8" {
		t.Error("a plain name was changed")
	}
	one, two := rules(t, "permit in ip from assigned to any"), rules(t, "deny in ip from assigned to any")
	if contentID("x", one) == contentID("x", two) || contentID("x", one) == contentID("y", one) || contentID("x", one) != contentID("x", slices.Clone(one)) {
		t.Error("contents are told apart wrongly")
	}
}
