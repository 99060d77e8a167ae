package lockout

import (
	"net/netip"
	"testing"
	"time"

	"postern/internal/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func failures(n int) Counter {
	return Counter{Failures: n, Oldest: ago(10 * time.Minute), Newest: ago(time.Minute)}
}

func strikes(n int, since time.Duration) Counter {
	return Counter{Strikes: n, Struck: ago(since)}
}

// Defaults: user and pair 5 in 15 min, source 30 and prefix 120 in 15 min, codes 5 in 5
// min; 15 users from a source and 60 from a prefix in 30 min.
func TestCheck(t *testing.T) {
	for _, row := range []struct {
		name    string
		c       Counters
		allowed bool
		scope   Scope
		until   time.Duration // from noon
	}{
		{"clean sheet", Counters{}, true, ScopeNone, 0},
		{"one short", Counters{User: failures(4), Pair: failures(4), Source: failures(29)}, true, ScopeNone, 0},
		{"user at the limit", Counters{User: failures(5)}, false, ScopeUser, 5 * time.Minute},
		{"source at the limit", Counters{Source: failures(30)}, false, ScopeSource, 5 * time.Minute},
		{"pair at the limit", Counters{Pair: failures(5)}, false, ScopePair, 5 * time.Minute},
		{"wrong codes do not lock logins", Counters{Codes: failures(50)}, true, ScopeNone, 0},
		{"a good pair passes a locked user", Counters{User: failures(50), Good: true}, true, ScopeUser, 5 * time.Minute},
		{"a good pair passes a locked source", Counters{Source: failures(50), Good: true}, true, ScopeSource, 5 * time.Minute},
		{"a good pair's own failures count", Counters{Pair: failures(5), Good: true}, false, ScopePair, 5 * time.Minute},
		{"prefix at the limit", Counters{Prefix: failures(120)}, false, ScopePrefix, 5 * time.Minute},
		{"an office is no attack", Counters{Prefix: failures(119), Sprayed: failures(14), PrefixSprayed: failures(59)}, true, ScopeNone, 0},
		{"many users at a source", Counters{Sprayed: failures(15)}, false, ScopeSpray, 20 * time.Minute},
		{"many users in a prefix", Counters{PrefixSprayed: failures(60)}, false, ScopeSpray, 20 * time.Minute},
		{"a good pair passes a locked prefix", Counters{Prefix: failures(150), Good: true}, true, ScopePrefix, 5 * time.Minute},
		{"a good pair passes a spraying source", Counters{Sprayed: failures(20), Good: true}, true, ScopeSpray, 20 * time.Minute},
		{"a good pair passes a spraying prefix", Counters{PrefixSprayed: strikes(1, time.Minute), Good: true}, true, ScopeSpray, 29 * time.Minute},
		{"first strike: the window", Counters{User: strikes(1, 14*time.Minute)}, false, ScopeUser, time.Minute},
		{"first strike is over", Counters{User: strikes(1, 15*time.Minute)}, true, ScopeNone, 0},
		{"second strike: twice", Counters{User: strikes(2, 29*time.Minute)}, false, ScopeUser, time.Minute},
		{"third strike: four times", Counters{User: strikes(3, 30*time.Minute)}, false, ScopeUser, 30 * time.Minute},
		{"many strikes: 16 times", Counters{User: strikes(200, time.Hour)}, false, ScopeUser, 3 * time.Hour},
		{"and no longer", Counters{User: strikes(200, 4*time.Hour)}, true, ScopeNone, 0},
	} {
		v := New(Config{}).Check(noon, row.c)
		want := Verdict{Allowed: row.allowed, Scope: row.scope, Tried: row.c.Pair.Failures > 0}
		if row.until != 0 {
			want.Until = noon.Add(row.until)
		}
		if v != want {
			t.Errorf("%s: %+v, want %+v", row.name, v, want)
		}
		if v := New(Config{Disabled: true}).Check(noon, row.c); !v.Allowed {
			t.Errorf("%s: disabled refuses", row.name)
		}
	}
}

func TestCheckCode(t *testing.T) {
	s := New(Config{})
	recent := Counter{Failures: 5, Oldest: ago(4 * time.Minute), Newest: noon}
	if v := s.CheckCode(noon, Counters{Codes: recent, Good: true}); v.Allowed || v.Scope != ScopeCodes ||
		!v.Until.Equal(noon.Add(time.Minute)) {
		t.Errorf("%+v", v)
	}
	recent.Failures = 4
	if v := s.CheckCode(noon, Counters{Codes: recent, User: failures(50)}); !v.Allowed {
		t.Errorf("%+v", v)
	}
	if v := New(Config{Disabled: true}).CheckCode(noon, Counters{Codes: strikes(3, 0)}); !v.Allowed {
		t.Errorf("%+v", v)
	}
}

// A window that begins anew with each failure, as Active Directory's, ends after
// the newest.
func TestIdleWindow(t *testing.T) {
	s := New(Config{User: Limit{Failures: 3, Window: 30 * time.Minute, Kind: store.Idle}})
	v := s.Check(noon, Counters{User: failures(3)})
	if v.Allowed || !v.Until.Equal(noon.Add(29*time.Minute)) {
		t.Errorf("%+v", v)
	}
}

func TestNoLimit(t *testing.T) {
	none := Limit{Failures: -1}
	s := New(Config{User: none, Pair: none, Source: none, Prefix: none, Codes: none, Spray: none, PrefixSpray: none})
	c := Counters{
		User: failures(99), Pair: failures(99), Source: strikes(9, 0), Prefix: failures(999), Codes: failures(99),
		Sprayed: failures(99), PrefixSprayed: strikes(1, 0),
	}
	if v := s.Check(noon, c); !v.Allowed {
		t.Errorf("%+v", v)
	}
	if v := s.CheckCode(noon, c); !v.Allowed {
		t.Errorf("%+v", v)
	}
}

func TestSource(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64",
	} {
		if got := Source(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if Source(netip.Addr{}).IsValid() {
		t.Error("no address is a source")
	}
}

func TestNetwork(t *testing.T) {
	c := Config{}.withDefaults()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1::/48",
	} {
		if got := c.network(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if c.network(netip.Addr{}).IsValid() {
		t.Error("no address is in a network")
	}
	c = Config{Bits4: 16, Bits6: 32}.withDefaults()
	if got := c.network(netip.MustParseAddr("192.0.2.7")); got.String() != "192.0.0.0/16" {
		t.Error(got)
	}
}

func TestZeroRefuses(t *testing.T) {
	if (Verdict{}).Allowed {
		t.Error("zero Verdict lets through")
	}
}

func TestNames(t *testing.T) {
	for _, s := range Scopes()[1:] {
		if got, ok := parseScope(s.String()); !ok || got != s {
			t.Errorf("%v is read as %v", s, got)
		}
	}
	if _, ok := parseScope("none"); ok {
		t.Error("none is a scope")
	}
	if ScopeCodes.String() != "codes" || Scope(99).String() != "unknown" ||
		WrongCode.String() != "wrong code" || Failure(99).String() != "unknown" {
		t.Error("names")
	}
}
