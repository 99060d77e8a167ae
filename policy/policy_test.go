package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample has a rule for each condition and a permit with every obligation.
const sample = `version: 1
lists:
  offices: [203.0.113.0/24, 198.51.100.7, 2001:db8::/32]
  blocked: [192.0.2.0/24]
pools:
  staff: {ranges: [10.20.0.0/24], exclude: [10.20.0.1-10.20.0.9, 10.20.0.53]}
  plant: [10.30.0.10-10.30.0.12]
filters:
  staff:
    - deny: {to: blocked}
    - allow: {to: [10.0.0.0/8, 172.16.0.1], tcp: [443, 8000-8080], udp: 53, icmp: true}
    - allow: {from: 10.0.0.5, tcp: 3389}
    - allow: {to: any, protocol: 47}
rules:
  - id: blocked
    description: SEC-101
    when: {source: blocked}
    then: deny
    message: Your network is blocked (SEC-101).
  - id: nowhere
    when: {source: none}
    then: deny
  - id: plant-floor
    when: {user: [scanner1, scanner2], nas: [gw-plant, 10.1.0.0/16], tunnel: PPTP}
    then:
      permit: {factor: none, pool: plant, filter: plant, sessions: 1}
  - id: partner
    when: {realm: partner.example}
    unless: {group: Trusted, source: offices}
    then: deny
  - id: offices
    when: {group: VPN-Users, source: offices}
    then:
      permit:
        factor: none
        pool: staff
        dns: [10.20.0.53, 10.20.0.54]
        nbns: 10.20.0.55
        routes: [172.20.0.0/16, 172.16.0.1]
        filter: staff
        session_timeout: 10h
        idle_timeout: 30m
        interim: 5m
        sessions: 2
        password_change: true
  - id: elsewhere
    when: {group: [vpn-users, Führung]}
    then:
      permit:
        carriers: [inline, password, remembered, retry, challenge, quarantine]
        remember: {for: 7d, idle: 12h, prefix: 24, device: true}
        quarantine: 5m
        bandwidth: {up: 2M, down: 10M}
        pool: staff
        session_timeout: 4h
  - id: other-nas
    when: {tunnel: none, group: none}
    then: permit
tests:
  - name: staff at home need a code
    user: alice
    groups: [VPN-Users]
    source: 192.88.99.5
    expect: {verdict: permit, rule: elsewhere, factor: code, session_timeout: 240m}
  - name: strangers are refused
    user: mallory
    tunnel: PPTP
    source: 192.88.99.5
    expect: {verdict: deny, rule: none}
`

func load(t testing.TB, src string, opts ...Option) *Policy {
	t.Helper()
	p, err := Load("policy.yaml", []byte(src), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestEvaluate(t *testing.T) {
	p := load(t, sample, Tested())
	home, office, blocked := addr("192.88.99.5"), addr("203.0.113.9"), addr("192.0.2.200")
	for _, c := range []struct {
		about   string // the rule, as the file says it
		f       Facts
		verdict Verdict
		reason  Reason
		rule    string
	}{
		{"blocked: whoever comes from there", Facts{User: "alice", Groups: []string{"VPN-Users"}, Source: blocked}, Deny, DeniedSource, "blocked"},
		{"blocked: mapped addresses too", Facts{User: "alice", Source: addr("::ffff:192.0.2.1")}, Deny, DeniedSource, "blocked"},
		{"nowhere: an unknown source is a value", Facts{User: "alice", Groups: []string{"VPN-Users"}}, Deny, DeniedSource, "nowhere"},
		{"plant-floor: by identifier", Facts{User: "Scanner2", NAS: "GW-plant", Tunnel: "pptp", Source: home}, Permit, Permitted, "plant-floor"},
		{"plant-floor: by address", Facts{User: "scanner1", NASAddress: addr("10.1.2.3"), Tunnel: "PPTP", Source: home}, Permit, Permitted, "plant-floor"},
		{"plant-floor: not from another node", Facts{User: "scanner1", NAS: "gw2", NASAddress: addr("10.2.0.1"), Tunnel: "PPTP", Source: home}, Deny, NoMatch, ""},
		{"plant-floor: not another user", Facts{User: "scanner3", NAS: "gw-plant", Tunnel: "PPTP", Source: home}, Deny, NoMatch, ""},
		{"partner: denied", Facts{User: "p", Realm: "Partner.Example", Groups: []string{"VPN-Users"}, Source: office}, Deny, DeniedSource, "partner"},
		{"partner: unless both hold", Facts{User: "p", Realm: "partner.example", Groups: []string{"VPN-Users", "trusted"}, Source: office}, Permit, Permitted, "offices"},
		{"partner: one is not enough", Facts{User: "p", Realm: "partner.example", Groups: []string{"VPN-Users", "Trusted"}, Source: home}, Deny, DeniedSource, "partner"},
		{"offices", Facts{User: "alice", Groups: []string{"x", "VPN-USERS"}, Source: office}, Permit, Permitted, "offices"},
		{"offices: one address", Facts{User: "alice", Groups: []string{"VPN-Users"}, Source: addr("198.51.100.7")}, Permit, Permitted, "offices"},
		{"offices: its neighbour is elsewhere", Facts{User: "alice", Groups: []string{"VPN-Users"}, Source: addr("198.51.100.8")}, Permit, Permitted, "elsewhere"},
		{"offices: IPv6", Facts{User: "alice", Groups: []string{"VPN-Users"}, Source: addr("2001:db8:1::1")}, Permit, Permitted, "offices"},
		{"elsewhere: letters beyond ASCII fold", Facts{User: "chef", Groups: []string{"FÜHRUNG"}, Source: home}, Permit, Permitted, "elsewhere"},
		{"other-nas: no groups, no tunnel", Facts{User: "x", Source: home}, Permit, Permitted, "other-nas"},
		{"other-nas: a group no rule names is a group", Facts{User: "x", Groups: []string{"Guests"}, Source: home}, Deny, NoMatch, ""},
		{"other-nas: a tunnel", Facts{User: "x", Source: home, Tunnel: "L2TP"}, Deny, NoMatch, ""},
	} {
		d := p.Evaluate(time.Now(), &c.f)
		if d.Verdict != c.verdict || d.Reason != c.reason || d.RuleID != c.rule || d.Version != p.Version() {
			t.Errorf("%s: got %+v, want %v, %v, rule %q", c.about, d, c.verdict, c.reason, c.rule)
		}
	}
}

func TestObligations(t *testing.T) {
	p := load(t, sample)
	d := p.Evaluate(time.Now(), &Facts{Groups: []string{"VPN-Users"}, Source: addr("203.0.113.1")})
	o := d.Obligations
	switch {
	case o.Factor != FactorNone, !slices.Equal(o.Pools, []string{"staff"}), len(o.DNS) != 2 || o.DNS[1] != addr("10.20.0.54"),
		len(o.NBNS) != 1, len(o.Routes) != 2 || o.Routes[1] != netip.MustParsePrefix("172.16.0.1/32"),
		o.Filter != "staff", o.SessionTimeout != 10*time.Hour, o.IdleTimeout != 30*time.Minute,
		o.Interim != 5*time.Minute, o.Sessions != 2, !o.PasswordChange, len(o.Rules) != 9 || o.Rules[0] != "deny in ip from assigned to 192.0.2.0/24":
		t.Errorf("obligations %+v", o)
	}
	d = p.Evaluate(time.Now(), &Facts{Groups: []string{"VPN-Users"}, Source: addr("192.88.99.1")})
	o = d.Obligations
	switch {
	case len(o.Carriers) != 6 || o.Carriers[2] != Remembered, o.Remember != Remember{For: 7 * day, Idle: 12 * time.Hour, Prefix: 24, Device: true},
		o.Quarantine != 5*time.Minute, o.Bandwidth != Bandwidth{Up: 2_000_000, Down: 10_000_000}:
		t.Errorf("obligations %+v", o)
	}
	d = p.Evaluate(time.Now(), &Facts{Source: addr("203.0.113.1")})
	if d.RuleID != "other-nas" || d.Obligations.Factor != FactorCode || d.Obligations.PasswordChange {
		t.Errorf("a permit without obligations: %+v, want a code required and no change of the password", d)
	}
	d = p.Evaluate(time.Now(), &Facts{Source: addr("192.0.2.1")})
	if d.Message != "Your network is blocked (SEC-101)." || len(d.Obligations.Pools) != 0 {
		t.Errorf("deny: %+v", d)
	}
}

func TestPools(t *testing.T) {
	p := load(t, sample)
	staff := p.Pool("staff")
	if staff.Size() != 254-9-1 || len(p.Pools()) != 2 || p.Pool("none") != nil {
		t.Errorf("staff %+v, size %d", staff, staff.Size())
	}
	for a, want := range map[string]bool{
		"10.20.0.0": false, "10.20.0.9": false, "10.20.0.10": true, "10.20.0.52": true, "10.20.0.53": false,
		"10.20.0.54": true, "10.20.0.254": true, "10.20.0.255": false, "10.21.0.0": false,
	} {
		if staff.Contains(addr(a)) != want {
			t.Errorf("contains %s: %v", a, !want)
		}
	}
	if plant := p.Pool("plant"); plant.Size() != 3 || plant.Ranges[0].String() != "10.30.0.10-10.30.0.12" {
		t.Errorf("plant %+v", plant)
	}
}

func TestVersionFollowsContent(t *testing.T) {
	a, b, c := load(t, sample), load(t, sample), load(t, sample+"# a comment\n")
	if a.Version() != b.Version() || a.Version() == c.Version() || len(a.Version()) != 16 {
		t.Errorf("versions %q %q %q", a.Version(), b.Version(), c.Version())
	}
}

func TestLongFactsEqualNothing(t *testing.T) {
	p := load(t, "version: 1\nrules:\n  - {id: a, when: {user: none}, then: permit}\n  - {id: b, when: {group: none}, then: permit}\n")
	long := strings.Repeat("x", maxName+1)
	if d := p.Evaluate(time.Now(), &Facts{User: long, Groups: []string{long}}); d.Verdict != Deny {
		t.Errorf("a long name counts as missing: %+v", d)
	}
}

func TestZeroValuesRefuse(t *testing.T) {
	var d Decision
	if d.Verdict != Deny || d.Reason != NoMatch || d.Obligations.Factor != FactorCode {
		t.Errorf("zero decision %+v", d)
	}
	if Verdict(9).String() != "deny" || Factor(9).String() != "code" || Reason(9).String() != "unknown" {
		t.Error("values out of range")
	}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	p, f := fifty(t)
	now := time.Now()
	if n := testing.AllocsPerRun(200, func() { p.Evaluate(now, f) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// fifty is a policy of 50 rules and facts that match only the last.
func fifty(t testing.TB) (*Policy, *Facts) {
	var b strings.Builder
	b.WriteString("version: 1\nlists:\n  near: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]\nrules:\n")
	for i := range 49 {
		n := string(rune('a'+i%26)) + string(rune('a'+i/26))
		b.WriteString("  - {id: r" + n + ", when: {group: [Group-" + n + ", Other-" + n + "], source: [near, 203.0.113.0/24], nas: gw-" + n + "}, unless: {user: boss}, then: deny}\n")
	}
	b.WriteString("  - {id: last, when: {group: VPN-Users, tunnel: PPTP}, then: permit}\n")
	f := &Facts{User: "Alice.Example", Realm: "corp.example", Source: addr("198.51.100.9"), NAS: "gw1", Tunnel: "PPTP"}
	for i := range 11 {
		f.Groups = append(f.Groups, "Group-"+string(rune('a'+i))+"a")
	}
	f.Groups = append(f.Groups, "VPN-Users")
	p := load(t, b.String())
	if d := p.Evaluate(time.Now(), f); d.RuleID != "last" {
		t.Fatalf("decision %+v", d)
	}
	return p, f
}

// Every carrier, filter and limit costs nothing more.
func TestObligationsAllocateNothing(t *testing.T) {
	p := load(t, sample)
	f := &Facts{User: "alice", Groups: []string{"VPN-Users"}, Source: addr("192.88.99.1")}
	if n := testing.AllocsPerRun(200, func() { p.Evaluate(time.Time{}, f) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkEvaluate50Rules(b *testing.B) {
	p, f := fifty(b)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		p.Evaluate(now, f)
	}
}
