package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// realistic is a policy of 50 rules as a site of some size has it: blocked networks and
// countries, groups with their hours, devices in order and out of it, the shield's
// counters. The facts are of somebody whom only the last rule is for.
func realistic(t testing.TB) (*Policy, *Facts) {
	t.Helper()
	var b strings.Builder
	b.WriteString(`version: 1
lists:
  offices: [203.0.113.0/24, 198.51.100.7, 10.0.0.0/8, 172.16.0.0/12]
  blocked: [192.0.2.0/25, 192.0.2.200, 100.64.0.0/10]
  home: {countries: [DE, AT, CH]}
  embargoed: {countries: [KP, IR]}
  admins: {groups: [Domain Admins, Server Admins, Backup Operators]}
  closed: {dates: [2026-12-24, 2026-12-25, 2026-12-26, 2027-01-01]}
  work: {times: {days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}, holidays: closed}
  night: {times: {from: "22:00", to: "05:00", zone: Europe/Vienna}}
rules:
  - {id: blocked, when: {source: blocked}, then: deny}
  - {id: embargoed, when: {country: embargoed}, then: deny}
  - {id: guessing, when: {any: [{risk.source_users: ">= 4"}, {risk.source_failures: ">= 15"}]}, then: deny}
  - {id: trial, shadow: true, when: {group: VPN-Users, last_success: none}, then: deny}
`)
	for i := range 9 {
		fmt.Fprintf(&b, `  - {id: out-of-hours-%[1]d, when: {group: [Contractors-%[1]d, Temps-%[1]d]}, unless: {time: work}, then: deny}
  - {id: contractors-%[1]d, when: {group: [Contractors-%[1]d, Temps-%[1]d], source: [offices, 198.51.100.0/26]}, expires: 2027-0%[2]d-28, then: permit}
  - {id: admins-%[1]d, when: {group: admins, nas: [gw-%[1]d, 10.%[1]d.0.0/16], device.confidence: attested, device.report_age: "<= 1h"}, then: {permit: {factor: webauthn, carriers: quarantine}}}
  - id: devices-%[1]d
    when:
      group: Site-%[1]d
      device.confidence: inventory
      any: [{device.os: windows, device.os_version: ">= 10.0.19045", device.antivirus: true}, {device.os: linux}]
    unless: {device.patch_age: ["> 45d", none]}
    then: permit
  - {id: night-%[1]d, when: {time: night, country: home, device.known: true, not: {device.compliant: true}}, then: deny}
`, i, i+1)
	}
	b.WriteString("  - {id: last, when: {group: VPN-Users, tunnel: PPTP, last_success: \"<= 30d\"}, then: permit}\n")
	f := &Facts{
		User: "Alice.Example", Realm: "corp.example", Source: addr("198.51.100.99"), Country: "DE", ASN: 64496, NAS: "gw1", NASAddress: addr("10.99.0.1"),
		Node: true, Tunnel: "PPTP", ClientName: "LT-0231", ClientVersion: "MSRASV5.20", Key: KeyNTLM, LastSuccess: noon.Add(-3 * day),
		Risk: Risk{UserFailures: 1}, Device: laptop(),
	}
	for i := range 11 {
		f.Groups = append(f.Groups, fmt.Sprintf("Group-%d", i))
	}
	f.Groups = append(f.Groups, "VPN-Users")
	p := load(t, b.String())
	if d := p.Evaluate(noon, f); d.RuleID != "last" || len(p.rules) != 50 {
		t.Fatalf("decision %+v of %d rules", d, len(p.rules))
	}
	return p, f
}

// A decision costs nothing but its time, also where rules look at clocks, devices and
// versions.
func TestRealisticPolicyAllocatesNothing(t *testing.T) {
	p, f := realistic(t)
	if n := testing.AllocsPerRun(200, func() { p.Evaluate(noon, f) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	f.LastSuccess = time.Time{} // the shadow says something
	if n := testing.AllocsPerRun(200, func() { p.Evaluate(noon, f) }); n != 0 {
		t.Errorf("%v allocations with a shadow, want 0", n)
	}
	if n := testing.AllocsPerRun(200, func() { p.NextChange(noon, f) }); n > 0 {
		t.Errorf("NextChange: %v allocations, want 0", n)
	}
}

func BenchmarkEvaluateRealistic(b *testing.B) {
	p, f := realistic(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Evaluate(noon, f)
	}
}

func BenchmarkNextChange(b *testing.B) {
	p, f := realistic(b)
	b.ReportAllocs()
	for b.Loop() {
		p.NextChange(noon, f)
	}
}
