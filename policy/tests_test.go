package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestFactsOfTests: what a test says of a login is what its decision is made on.
func TestFactsOfTests(t *testing.T) {
	p := load(t, `version: 1
rules:
  - {id: trial, shadow: true, then: {permit: {factor: none}}}
  - {id: a, when: {user: alice}, then: {permit: {isolate: true, quarantine: 10m, review: 5m, mppe: 128, factor: none, banner: "Hello,\nalice."}}}
tests:
  - name: everything
    at: 2026-11-24 13:00:30 Europe/Berlin
    user: alice
    realm: corp
    groups: [Staff]
    source: 192.0.2.1
    country: de
    asn: AS64496
    nas: gw1
    nas_address: 10.0.0.1
    node: true
    tunnel: PPTP
    client: LT-0231
    client_version: MSRASV5.20
    key: tls
    factor: recovery
    last_success: 3d
    risk: {user_failures: 1, source_failures: 2, source_users: 3, code_failures: 4}
    device:
      known: true
      id: LT-0231
      name: lt-0231
      owned: false
      join: enrolled
      confidence: directory
      report_age: 2h
      groups: [Laptops]
      os: windows
      os_version: 10.0
      managed: true
      compliant: none
      disk_encrypted: false
      firewall: true
      antivirus: true
      screen_lock: true
      enabled: true
      patch_age: 1d12h
      uptime: 0s
      last_logon_age: none
    expect: {verdict: permit, rule: a, shadow: trial, isolate: true, quarantine: 10m, review: 5m, mppe: 128, factor: none, pool: none, banner: "Hello,\nalice."}
  - name: nothing
    expect: {verdict: deny, rule: none, shadow: trial}
  - name: table
    user: alice
    risk: {user_failures: 3}
    device: {known: true, confidence: attested, firewall: true}
    expect: {rule: a}
    table:
      - {}
      - {name: another, user: bob, expect: {rule: none}}
      - {device: {firewall: false, report_age: 1h}, risk: {code_failures: 1}}
`, Tested())
	if len(p.tests) != 5 {
		t.Fatalf("%d tests", len(p.tests))
	}
	if p.tests[1].at != (time.Time{}) || !reflect.DeepEqual(&p.tests[1].facts, &Facts{}) {
		t.Errorf("nothing is %+v", p.tests[1])
	}
	directory := func(v Tri) Fact[Tri] { return Fact[Tri]{Value: v, Confidence: Directory} }
	want := &Facts{
		User: "alice", Realm: "corp", Groups: []string{"Staff"}, Source: addr("192.0.2.1"), Country: "DE", ASN: 64496, NAS: "gw1",
		NASAddress: addr("10.0.0.1"), Node: true, Tunnel: "PPTP", ClientName: "LT-0231", ClientVersion: "MSRASV5.20", Key: KeyTLS, Given: GivenRecovery,
		LastSuccess: noon.Add(-3 * day), Risk: Risk{1, 2, 3, 4},
		Device: Device{
			ID: "LT-0231", Name: "lt-0231", Join: "enrolled", Owned: No, Groups: []string{"Laptops"},
			Reported: [Attested + 1]time.Time{Directory: noon.Add(-2 * time.Hour)},
			OS:       Fact[string]{Value: "windows", Confidence: Directory}, OSVersion: Fact[string]{Value: "10.0", Confidence: Directory},
			Managed: directory(Yes), Compliant: directory(Unknown), Encrypted: directory(No), Firewall: directory(Yes), Antivirus: directory(Yes),
			Lock: directory(Yes), Enabled: directory(Yes),
			Patched:   Fact[time.Time]{Value: noon.Add(-36 * time.Hour), Confidence: Directory},
			Booted:    Fact[time.Time]{Value: noon, Confidence: Directory},
			LastLogon: Fact[time.Time]{Confidence: Directory},
		},
	}
	if got := &p.tests[0]; !got.at.Equal(noon) || !reflect.DeepEqual(&got.facts, want) {
		t.Errorf("facts at %v\n%+v\nwant\n%+v", got.at, got.facts, *want)
	}
	rows := p.tests[2:]
	if rows[0].name != "table, row 1" || rows[1].name != "table: another" || rows[1].facts.User != "bob" {
		t.Errorf("rows %q, %q of %q", rows[0].name, rows[1].name, rows[1].facts.User)
	}
	if f := rows[2].facts; f.Risk != (Risk{UserFailures: 3, CodeFailures: 1}) || f.Device.Firewall.Value != No || f.Device.confidence() != Attested || f.Device.Reported[Attested].IsZero() {
		t.Errorf("a row over its test: %+v", f)
	}
}

// TestBanner: of one line or several, and no longer than the portal has room for.
func TestBanner(t *testing.T) {
	if o := granted(t, "{banner: \"a\\nb\"}"); o.Banner != "a\nb" {
		t.Errorf("%q", o.Banner)
	}
	d := load(t, "version: 1\nrules:\n  - id: a\n    then:\n      permit:\n        banner: |\n          Your laptop is not\n          in order.\n").Evaluate(noon, &Facts{})
	if d.Obligations.Banner != "Your laptop is not\nin order." {
		t.Errorf("%q", d.Obligations.Banner)
	}
	for n, want := range map[int]bool{maxBanner: true, maxBanner + 1: false} {
		_, err := Load("p.yaml", []byte("version: 1\nrules:\n  - {id: a, then: {permit: {banner: "+strings.Repeat("x", n)+"}}}\n"))
		if (err == nil) != want {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}
