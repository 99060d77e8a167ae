package filter

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func rules(t testing.TB, texts ...string) []Rule {
	t.Helper()
	var all []Rule
	for _, s := range texts {
		r, err := ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func addr(s string) netip.Addr        { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix    { return netip.MustParsePrefix(s) }
func service(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func minimal() Config { return Config{Tun: "tun0", Inside: addr("10.9.0.1")} }

func TestConfigDefaults(t *testing.T) {
	c := minimal()
	c.Listen = addr("0.0.0.0")
	c, err := c.complete()
	if err != nil || c.Table != "postern_tun0" || c.Listen.IsValid() {
		t.Errorf("%+v, %v", c, err)
	}
}

// All mistakes at once, in one order.
func TestConfigMistakes(t *testing.T) {
	bad := Config{
		Tun: "tun 0", Inside: addr("224.0.0.1"), Listen: addr("::1"), GREPerSource: -1, Source: addr("192.0.2.1"), MSS: 100,
		Portal: []netip.AddrPort{service("10.0.0.1:0")}, AllowToNode: []netip.AddrPort{service("[::1]:22")},
		Filters: map[string][]Rule{
			"none": nil, "": nil, strings.Repeat("x", 254): nil,
			"sales": rules(t, "permit in ip from assigned to @hosts"),
			"lab":   {{}},
			"long":  slices.Repeat(rules(t, "permit in ip from assigned to any"), maxRules+1),
		},
		Sets:  map[string][]netip.Prefix{"a b": nil, "big": make([]netip.Prefix, maxPrefixes+1)},
		Table: "x y",
	}
	_, err := bad.complete()
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		`interface "tun 0"`, "inside address 224.0.0.1", "listening address ::1", "-1 GRE packets", "source 192.0.2.1",
		"segment size 100", "service 10.0.0.1:0", "service [::1]:22", `the name "none" is taken`, `name "": 1 to`, `name "xxx`,
		`there is no set "hosts"`, `filter "lab": filter rule`, "1001 rules", `set "a b"`, `set "big": 262145 prefixes`, `table "x y"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %s in\n%v", want, err)
		}
	}
	for range 20 {
		if _, again := bad.complete(); again.Error() != err.Error() {
			t.Fatalf("another order:\n%v\n%v", err, again)
		}
	}
}

func TestClientCheck(t *testing.T) {
	good := rules(t, "permit in ip from assigned to any")
	for _, tt := range []struct {
		client Client
		want   string // empty: taken
	}{
		{Client{Addr: addr("10.9.0.10")}, ""},
		{Client{Addr: addr("10.9.0.10"), Filter: "sales"}, ""},
		{Client{Addr: addr("10.9.0.10"), Filter: "sales", Rules: good}, ""},
		{Client{Addr: addr("10.9.0.10"), Filter: Quarantine, Quarantine: true, DNS: []netip.Addr{addr("10.0.0.53")}}, ""},
		{Client{}, "client address"},
		{Client{Addr: addr("2001:db8::1")}, "client address"},
		{Client{Addr: addr("0.0.0.0")}, "client address"},
		{Client{Addr: addr("10.9.0.10"), DNS: []netip.Addr{{}}}, "DNS server"},
		{Client{Addr: addr("10.9.0.10"), DNS: make([]netip.Addr, 9)}, "9 DNS servers"},
		{Client{Addr: addr("10.9.0.10"), Filter: Quarantine}, "is for Quarantine"},
		{Client{Addr: addr("10.9.0.10"), Filter: Quarantine, Rules: good}, "is taken"},
		{Client{Addr: addr("10.9.0.10"), Filter: None, Rules: good}, "is taken"},
		{Client{Addr: addr("10.9.0.10"), Rules: good}, `name ""`},
		{Client{Addr: addr("10.9.0.10"), Filter: "x", Rules: []Rule{{}}}, "wanted"},
		{Client{Addr: addr("10.9.0.10"), Filter: "x", Rules: rules(t, "permit in ip from assigned to @hosts")}, "node's own"},
	} {
		err := tt.client.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.client, err, tt.want)
		}
	}
	c := Client{Addr: addr("10.9.0.10"), Filter: Quarantine}
	if err := c.check(); !errors.Is(err, ErrUnknownFilter) {
		t.Error(err)
	}
}
