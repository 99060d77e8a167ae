package policy

import (
	"testing"
	"time"
)

// TestConfidence: a rule that demands a confidence sees the device as if only the sources
// of that confidence and more were there, wherever in it it looks.
func TestConfidence(t *testing.T) {
	d := laptop()
	d.Firewall = Fact[Tri]{Value: Yes, Confidence: Attested}
	d.OS = Fact[string]{Value: "windows", Confidence: Claimed}
	all := &Facts{Device: d}
	directory := &Facts{Device: Device{ID: "LT-1", Join: "client", Owned: Yes, Groups: []string{"Laptops"}, Enabled: Fact[Tri]{Value: Yes, Confidence: Directory}}}
	for _, c := range []struct {
		rule string
		f    *Facts
		want bool
	}{
		{"when: {device.confidence: attested, device.firewall: true}", all, true},
		{"when: {device.confidence: attested, device.compliant: true}", all, false},
		{"when: {device.confidence: attested, device.compliant: none}", all, true},
		{"when: {device.confidence: inventory, device.compliant: true, device.os: none}", all, true},
		{"when: {device.compliant: true, device.os: windows}", all, true},
		{"when: {any: [{device.os: windows}, {device.compliant: false}], device.confidence: inventory}", all, false},
		{"when: {device.confidence: attested, not: {device.compliant: true}}", all, true},
		{"when: {device.confidence: attested}\n    unless: {device.compliant: true}", all, true},
		{"when: {any: [{all: [{device.confidence: attested}, {device.compliant: true}]}]}", all, false},
		{"when: {device.compliant: true}\n    unless: {device.confidence: attested}", all, false}, // it demands there, too
		{`when: {device.confidence: inventory, device.report_age: "<= 1h"}`, all, true},
		{`when: {device.confidence: attested, device.report_age: "<= 1h"}`, all, false},
		{`when: {device.confidence: attested, device.report_age: "<= 2h"}`, all, true},
		{"when: {device.confidence: none}", all, false},
		{"when: {device.confidence: none}", &Facts{}, true},
		{"when: {device.confidence: claimed}", &Facts{}, false},
		{"when: {device.confidence: attested}", directory, false},
		{"when: {device.known: true, device.join: client, device: lt-1, device.owned: true, device.group: laptops}", directory, true},
		{"when: {device.confidence: directory, device.known: true, device.group: laptops, device.enabled: true}", directory, true},
		// Who is not known to anybody that counts is not known.
		{"when: {not: {device.confidence: inventory}, device.known: false, device.join: none, device: none, device.owned: none, device.group: none}", directory, true},
	} {
		got := ruled(t, "  - id: a\n    "+c.rule+"\n    then: permit\n", c.f).Verdict == Permit
		if got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
}

func TestDeviceConditions(t *testing.T) {
	f := &Facts{Device: laptop()}
	f.Device.Compliant.Value = No
	f.Device.Lock = Fact[Tri]{}
	for when, want := range map[string]bool{
		"device: LT-0231": true, "device: lt-0231": true, "device: scanners": false, "device: [scanners, LT-0231]": true, "device: none": false,
		"device.known: true": true, "device.known: false": false, "device.owned: true": true, "device.owned: [false, none]": false,
		"device.join: [report, tag]": true, "device.join: client": false, "device.group: LAPTOPS": true, "device.group: [Phones, none]": false,
		"device.os: Windows": true, "device.os: [linux, none]": false, "device.os_version: none": false,
		"device.compliant: false": true, "device.compliant: true": false, "device.compliant: none": false,
		"device.screen_lock: none": true, "device.screen_lock: false": false, "device.screen_lock: [false, none]": true, "device.screen_lock: true": false,
		"not: {device.screen_lock: true}": true, "device.enabled: true": true, "device.managed: true": true, "device.antivirus: true": true,
	} {
		src := "version: 1\nlists: {scanners: {devices: [PDA-1]}}\nrules:\n  - {id: a, when: {" + when + "}, then: permit}\n"
		if got := load(t, src).Evaluate(noon, f).Verdict == Permit; got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	// Nothing is known: each condition on what is known fails, each on none holds.
	for _, key := range []string{"device", "device.owned", "device.join", "device.group", "device.os", "device.os_version", "device.managed", "device.compliant",
		"device.disk_encrypted", "device.firewall", "device.antivirus", "device.screen_lock", "device.enabled", "device.patch_age", "device.uptime",
		"device.last_logon_age", "device.report_age", "device.confidence", "country", "asn", "last_success", "client", "client_version", "source", "nas", "user", "realm", "tunnel", "group"} {
		if ruled(t, "  - {id: a, when: {"+key+": none}, then: permit}\n", &Facts{}).Verdict != Permit {
			t.Errorf("%s is not none", key)
		}
	}
	// A value without a confidence is said by nobody.
	odd := &Facts{Device: Device{ID: "x", Compliant: Fact[Tri]{Value: Yes}, OS: Fact[string]{Value: "linux"}, Patched: Fact[time.Time]{Value: noon}}}
	if ruled(t, "  - {id: a, when: {device.compliant: none, device.os: none, device.patch_age: none}, then: permit}\n", odd).Verdict != Permit {
		t.Error("facts that nobody says")
	}
}

func TestPlainConditions(t *testing.T) {
	f := &Facts{
		User: "alice", Groups: []string{"Ops"}, Country: "de", ASN: 64496, Node: true, ClientName: "LT-0231", ClientVersion: "MSRASV5.20",
		Key: KeyNTLM, Given: GivenRecovery,
	}
	for when, want := range map[string]bool{
		"country: DE": true, "country: de": true, "country: home": true, "country: [FR, none]": false, "country: [FR, home]": true, "country: no": false,
		"asn: 64496": true, "asn: [AS64497, none]": false, "asn: as64496": true, "node: true": true, "node: false": false,
		"client: lt-0231": true, "client: none": false, "client_version: msrasv5.20": true, "key: ntlm": true, "key: [none, tls]": false,
		"factor: [code, recovery]": true, "factor: none": false, "group: staff": true, "group: [Sales, none]": false,
		"any: [{user: bob}, {group: staff, node: true}]": true, "any: [{user: bob}, {group: staff, node: false}]": false,
		"all: [{user: alice}, {node: true}]": true, "all: {user: alice, node: false}": false,
		"not: {user: alice, node: false}": true, "not: {user: alice}": false, "not: {any: [{user: bob}, {node: false}]}": true,
		"not: {all: [{not: {user: bob}}, {any: [{node: true}]}]}": false,
	} {
		src := "version: 1\nlists:\n  home: {countries: [DE, AT]}\n  staff: {groups: [Ops, Dev]}\nrules:\n  - {id: a, when: {" + when + "}, then: permit}\n"
		if got := load(t, src).Evaluate(noon, f).Verdict == Permit; got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
}
