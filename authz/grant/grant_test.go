package grant

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/policy"
)

var (
	t0   = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	home = netip.MustParseAddr("198.51.100.7")
	day  = policy.Remember{For: 24 * time.Hour}
)

// A grant is good where and as long as both policies say so: that it was given under,
// and that in force.
func TestGood(t *testing.T) {
	given := func(f func(*Grant)) Grant {
		g := Grant{ID: "g", Factor: "code", Source: home, Bits: 32, Device: "PC1", Given: t0, Used: t0, For: 24 * time.Hour}
		if f != nil {
			f(&g)
		}
		return g
	}
	six := netip.MustParseAddr("2001:db8:0:1::7")
	for _, tt := range []struct {
		about    string
		grant    Grant
		after    time.Duration
		source   string
		device   string
		remember policy.Remember
		set      time.Duration // the password, after t0
		want     bool
	}{
		{about: "the same place", grant: given(nil), after: 23 * time.Hour, source: "198.51.100.7", device: "PC1", remember: day, want: true},
		{about: "the last moment", grant: given(nil), after: 24*time.Hour - 1, source: "198.51.100.7", remember: day, want: true},
		{about: "too late", grant: given(nil), after: 24 * time.Hour, source: "198.51.100.7", remember: day},
		{about: "by today's policy too late", grant: given(nil), after: 2 * time.Hour, source: "198.51.100.7", remember: policy.Remember{For: time.Hour}},
		{about: "by today's policy longer", grant: given(nil), after: 25 * time.Hour, source: "198.51.100.7", remember: policy.Remember{For: 48 * time.Hour}},
		{about: "no remembering any more", grant: given(nil), source: "198.51.100.7"},
		{about: "idle", grant: given(func(g *Grant) { g.Idle = time.Hour }), after: time.Hour, source: "198.51.100.7", remember: day},
		{about: "idle, but used", grant: given(func(g *Grant) { g.Idle, g.Used = time.Hour, t0.Add(10*time.Minute) }), after: time.Hour, source: "198.51.100.7", remember: day, want: true},
		{about: "idle by today's policy", grant: given(nil), after: time.Hour, source: "198.51.100.7", remember: policy.Remember{For: 24 * time.Hour, Idle: time.Hour}},
		{about: "idle by the shorter", grant: given(func(g *Grant) { g.Idle = 30 * time.Minute }), after: 31 * time.Minute, source: "198.51.100.7", remember: policy.Remember{For: 24 * time.Hour, Idle: time.Hour}},
		{about: "another source", grant: given(nil), source: "198.51.100.8", remember: day},
		{about: "mapped into IPv6", grant: given(nil), source: "::ffff:198.51.100.7", remember: day, want: true},
		{about: "the same network", grant: given(func(g *Grant) { g.Bits = 24 }), source: "198.51.100.99", remember: policy.Remember{For: day.For, Prefix: 24}, want: true},
		{about: "another network", grant: given(func(g *Grant) { g.Bits = 24 }), source: "198.51.101.7", remember: policy.Remember{For: day.For, Prefix: 24}},
		{about: "a stricter policy by now", grant: given(func(g *Grant) { g.Bits = 24 }), source: "198.51.100.99", remember: day},
		{about: "a laxer policy by now", grant: given(nil), source: "198.51.100.99", remember: policy.Remember{For: day.For, Prefix: 24}},
		{about: "IPv6, the same home", grant: given(func(g *Grant) { g.Source, g.Bits = six, 64 }), source: "2001:db8:0:1:ffff::1", remember: day, want: true},
		{about: "IPv6, another home", grant: given(func(g *Grant) { g.Source, g.Bits = six, 64 }), source: "2001:db8:0:2::7", remember: day},
		{about: "IPv4 and IPv6", grant: given(func(g *Grant) { g.Source, g.Bits = six, 64 }), source: "198.51.100.7", remember: day},
		{about: "no source", grant: given(nil), remember: day},
		{about: "another device", grant: given(nil), source: "198.51.100.7", device: "PC2", remember: day, want: true},
		{about: "another device where it counts", grant: given(nil), source: "198.51.100.7", device: "PC2", remember: policy.Remember{For: day.For, Device: true}},
		{about: "another device where it counted", grant: given(func(g *Grant) { g.Bound = true }), source: "198.51.100.7", device: "PC2", remember: day},
		{about: "the same device", grant: given(func(g *Grant) { g.Bound = true }), source: "198.51.100.7", device: "pc1", remember: policy.Remember{For: day.For, Device: true}, want: true},
		{about: "a device without a name", grant: given(func(g *Grant) { g.Bound = true }), source: "198.51.100.7", remember: day},
		{about: "never a name", grant: given(func(g *Grant) { g.Bound, g.Device = true, "" }), source: "198.51.100.7", remember: day, want: true},
		{about: "password set before", grant: given(nil), after: time.Hour, set: -time.Hour, source: "198.51.100.7", remember: day, want: true},
		{about: "password set in the login", grant: given(nil), after: time.Hour, set: 5 * time.Second, source: "198.51.100.7", remember: day, want: true},
		{about: "password set since", grant: given(nil), after: time.Hour, set: time.Minute, source: "198.51.100.7", remember: day},
		{about: "nothing at all", grant: Grant{}, source: "198.51.100.7", remember: day},
	} {
		p := &Place{Device: tt.device, Remember: tt.remember}
		if tt.source != "" {
			p.Source = netip.MustParseAddr(tt.source)
		}
		if got := tt.grant.good(t0.Add(tt.after), p, t0.Add(tt.set)); got != tt.want {
			t.Errorf("%s: %v", tt.about, got)
		}
	}
	g := given(nil)
	if !g.good(t0, &Place{Source: home, Remember: day}, time.Time{}) {
		t.Error("a directory that does not say when the password was set")
	}
	if g.Network().String() != "198.51.100.7/32" || (&Grant{}).Network().IsValid() {
		t.Error(g.Network())
	}
}

func ExampleGrant_Network() {
	g := Grant{Source: netip.MustParseAddr("198.51.100.7"), Bits: 24}
	fmt.Println(g.Network())
	// Output: 198.51.100.0/24
}
