package swarm

import (
	"net/netip"
	"strings"
	"testing"
)

func TestLocals(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":                       "192.0.2.1",
		"192.0.2.1, 192.0.2.7-192.0.2.9":  "192.0.2.1 192.0.2.7 192.0.2.8 192.0.2.9",
		"192.0.2.4/30":                    "192.0.2.5 192.0.2.6",
		"192.0.2.4/31":                    "192.0.2.4 192.0.2.5",
		"192.0.2.4/32":                    "192.0.2.4",
		"10.0.0.0/8":                      "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5",
		"255.255.255.254-255.255.255.255": "255.255.255.254 255.255.255.255",
		"":                                "!",
		"192.0.2.9-192.0.2.1":             "!",
		"2001:db8::1":                     "!",
		"2001:db8::/64":                   "!",
		"192.0.2.1,x":                     "!",
	} {
		got, err := Locals(in, 5)
		var words []string
		for _, a := range got {
			words = append(words, a.String())
		}
		if text := strings.Join(words, " "); (err != nil) != (want == "!") || err == nil && text != want {
			t.Errorf("%q: %s, %v", in, text, err)
		}
	}
	here := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1723")}
	if got := DefaultLocals(here, 100); len(got) != 64 || !got[63].IsLoopback() {
		t.Errorf("%v", got)
	}
	if got := DefaultLocals([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1723")}, 100); got != nil {
		t.Errorf("%v", got)
	}
}

func TestServers(t *testing.T) {
	got, err := Servers(t.Context(), "192.0.2.1, 192.0.2.2:1724")
	if err != nil || len(got) != 2 || got[0].String() != "192.0.2.1:1723" || got[1].String() != "192.0.2.2:1724" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "192.0.2.1,", "192.0.2.1:0", "192.0.2.1:x", ":1723"} {
		if got, err := Servers(t.Context(), bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
