package filter

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	pfx := netip.MustParsePrefix
	for _, tt := range []struct {
		text string
		want Rule
		back string // empty: as it was
	}{
		{"permit in tcp from assigned to 10.20.0.0/16 80,443,8000-8100",
			Rule{Permit, In, TCP, pfx("10.20.0.0/16"), "", []PortRange{{80, 80}, {443, 443}, {8000, 8100}}}, ""},
		{"permit out tcp from 10.20.0.5 to assigned 3389",
			Rule{Permit, Out, TCP, pfx("10.20.0.5/32"), "", []PortRange{{3389, 3389}}}, ""},
		{"deny in ip from assigned to any", Rule{Deny, In, AnyProtocol, anyone, "", nil}, ""},
		{"deny in ip from any to any", Rule{Deny, In, AnyProtocol, anyone, "", nil}, "deny in ip from assigned to any"},
		{"permit out icmp from any to any", Rule{Permit, Out, ICMP, anyone, "", nil}, "permit out icmp from any to assigned"},
		{"permit in udp from assigned to @dns_servers-2 53", Rule{Permit, In, UDP, netip.Prefix{}, "dns_servers-2", []PortRange{{53, 53}}}, ""},
		{"permit in 50 from assigned to 192.0.2.1", Rule{Permit, In, 50, pfx("192.0.2.1/32"), "", nil}, ""},
		{"permit in 0 from assigned to 192.0.2.1", Rule{Permit, In, 0, pfx("192.0.2.1/32"), "", nil}, ""},
		{"permit in 6 from assigned to 192.0.2.1 0-65535", Rule{Permit, In, TCP, pfx("192.0.2.1/32"), "", []PortRange{{0, 65535}}},
			"permit in tcp from assigned to 192.0.2.1 0-65535"},
		// RFC 6733 §4.3.1: "all IP numbers from 192.0.2.0 to 192.0.2.255 will match".
		{"permit in ip from assigned to 192.0.2.10/24", Rule{Permit, In, AnyProtocol, pfx("192.0.2.0/24"), "", nil},
			"permit in ip from assigned to 192.0.2.0/24"},
		{" permit\tin  ip from assigned to 0.0.0.0/0 ", Rule{Permit, In, AnyProtocol, anyone, "", nil}, "permit in ip from assigned to any"},
		{"permit in ip from assigned to 0.0.0.0", Rule{Permit, In, AnyProtocol, pfx("0.0.0.0/32"), "", nil}, ""},
	} {
		r, err := ParseRule(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(r, tt.want) {
			t.Errorf("%s: %+v", tt.text, r)
		}
		if err := r.check(); err != nil {
			t.Error(err)
		}
		if tt.back == "" {
			tt.back = tt.text
		}
		if r.String() != tt.back {
			t.Errorf("%s became %s", tt.text, r)
		}
	}
}

func TestParseRuleRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"":                                                                     "wanted",
		"permit in ip from assigned to":                                        "wanted",
		"permit in ip assigned to any any":                                     "wanted",
		"allow in ip from assigned to any":                                     `action "allow"`,
		"no action in ip from assigned to any":                                 "wanted",
		"permit both ip from assigned to any":                                  `direction "both"`,
		"permit in sctp from assigned to any":                                  `protocol "sctp"`,
		"permit in 256 from assigned to any":                                   `protocol "256"`,
		"permit in -1 from assigned to any":                                    `protocol "-1"`,
		"permit in ip from 10.9.0.1 to any":                                    "client's side",
		"permit out ip from any to 10.9.0.1":                                   "client's side",
		"permit in tcp from assigned 1024-65535 to any":                        "wanted", // source ports
		"permit in ip from assigned to !10.0.0.0/8":                            "address",
		"permit in ip from assigned to 2001:db8::/32":                          "IPv4",
		"permit in ip from assigned to ::ffff:10.0.0.1":                        "IPv4",
		"permit in ip from assigned to 10.0.0.0/33":                            "address",
		"permit in ip from assigned to 10.0.0":                                 "address",
		"permit in ip from assigned to assigned":                               "address",
		"permit in ip from assigned to @":                                      "set",
		"permit in ip from assigned to @a.b":                                   "set",
		`permit in ip from assigned to @a"b`:                                   "set",
		"permit in ip from assigned to @" + strings.Repeat("a", 65):            "set",
		"permit in ip from assigned to any 80":                                 "ports need",
		"permit in icmp from assigned to any 8":                                "ports need",
		"permit in tcp from assigned to any established":                       "ports",
		"permit in tcp from assigned to any 80 established":                    "behind the ports",
		"permit in tcp from assigned to any 80, 443":                           "behind the ports",
		"permit in tcp from assigned to any 80,":                               "ports",
		"permit in tcp from assigned to any 443-80":                            "ports",
		"permit in tcp from assigned to any 65536":                             "ports",
		"permit in tcp from assigned to any 1-2-3":                             "ports",
		"permit in tcp from assigned to any " + strings.Repeat("1,", 64) + "1": "at most 64",
		"permit in tcp from assigned to any " + strings.Repeat(" ", maxRule):   "octets",
	} {
		if r, err := ParseRule(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, %v; want %q", text, r, err, why)
		}
	}
}

// A Rule that nobody parsed is not taken for "any".
func TestRuleCheck(t *testing.T) {
	good := Rule{Permit, In, TCP, anyone, "", []PortRange{{80, 80}}}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for i, broken := range []func(*Rule){
		func(r *Rule) { *r = Rule{} },
		func(r *Rule) { r.Action = NoAction },
		func(r *Rule) { r.Action = 9 },
		func(r *Rule) { r.Direction = NoDirection },
		func(r *Rule) { r.Protocol = 300 },
		func(r *Rule) { r.Protocol = AnyProtocol },
		func(r *Rule) { r.Peer = netip.Prefix{} },
		func(r *Rule) { r.Peer = netip.MustParsePrefix("10.0.0.1/8") },
		func(r *Rule) { r.Peer = netip.MustParsePrefix("2001:db8::/32") },
		func(r *Rule) { r.Set = "x" }, // and a Peer
		func(r *Rule) { r.Set, r.Peer = "x y", netip.Prefix{} },
		func(r *Rule) { r.Ports[0] = PortRange{2, 1} },
	} {
		r := good
		r.Ports = []PortRange{{80, 80}}
		broken(&r)
		if err := r.check(); err == nil {
			t.Errorf("%d: %+v was taken", i, r)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		NoAction.String(): "no action", Action(7).String(): "unknown 7", Deny.String(): "deny",
		NoDirection.String(): "no direction", In.String(): "in",
		AnyProtocol.String(): "ip", Protocol(50).String(): "50",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzParseRule: what is accepted reads back as the same rule and is within bounds.
func FuzzParseRule(f *testing.F) {
	for _, s := range []string{
		"permit in tcp from assigned to 10.20.0.0/16 80,443,8000-8100",
		"permit out tcp from 10.20.0.5 to assigned 3389",
		"deny in ip from any to any",
		"permit in 17 from assigned to @a-b_c 53",
		"permit in ip from assigned to 192.0.2.10/24",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if len(r.Ports) > maxPorts || len(r.Set) > maxSetName || r.Action == NoAction || r.Direction == NoDirection {
			t.Fatalf("%q is %+v", text, r)
		}
		if err := r.check(); err != nil {
			t.Fatal(err)
		}
		again, err := ParseRule(r.String())
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%q: %+v, then %+v, %v", text, r, again, err)
		}
	})
}
