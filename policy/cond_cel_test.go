package policy

import (
	"strings"
	"testing"
	"time"

	celref "cel.dev/cel-go/common/types/ref"
)

var noon = time.Date(2026, 11, 24, 12, 0, 30, 0, time.UTC)

// laptop is a device of which everything is known, by the inventory but for the report.
func laptop() Device {
	d := Device{ID: "LT-0231", Name: "lt-0231", Join: "tag", Owned: Yes, Groups: []string{"Laptops"}}
	d.OS, d.OSVersion = Fact[string]{Value: "windows", Confidence: Inventory}, Fact[string]{Value: "10.0.22631", Confidence: Inventory}
	for _, f := range []*Fact[Tri]{&d.Managed, &d.Compliant, &d.Encrypted, &d.Firewall, &d.Antivirus, &d.Lock, &d.Enabled} {
		*f = Fact[Tri]{Value: Yes, Confidence: Inventory}
	}
	for _, f := range []*Fact[time.Time]{&d.Patched, &d.Booted, &d.LastLogon} {
		*f = Fact[time.Time]{Value: noon.Add(-24 * time.Hour), Confidence: Inventory}
	}
	d.Reported[Inventory], d.Reported[Attested] = noon.Add(-time.Hour), noon.Add(-2*time.Hour)
	return d
}

// ruled is what a policy of these rules decides.
func ruled(t testing.TB, rules string, f *Facts) Decision {
	t.Helper()
	return load(t, "version: 1\nrules:\n"+rules).Evaluate(noon, f)
}

// TestCELFactsAreAlwaysThere: every variable has a value of its type, whether anything is
// known or not.
func TestCELFactsAreAlwaysThere(t *testing.T) {
	p := load(t, "version: 1\nrules: []\n")
	for _, f := range []*Facts{{}, {User: "alice", Groups: []string{"A"}, Source: addr("192.0.2.1"), NASAddress: addr("10.0.0.1"), LastSuccess: noon, Device: laptop()}} {
		for _, now := range []time.Time{noon, {}} {
			e := p.evaluation(now, f)
			for _, v := range celVariables {
				value, ok := e.ResolveName(v.name)
				rv, isVal := value.(celref.Val)
				if !ok || !isVal || rv.Type().TypeName() != v.kind.TypeName() {
					t.Errorf("%s is %T", v.name, value)
				}
			}
			e.done()
		}
	}
}

func TestCEL(t *testing.T) {
	full := &Facts{
		User: "alice", Groups: []string{"VPN-Users", "Staff"}, Source: addr("::ffff:192.0.2.1"), Country: "DE", ASN: 64496, Node: true,
		ClientName: "test-7", Key: KeyTLS, Given: GivenCode, LastSuccess: noon.Add(-3 * time.Hour), Risk: Risk{UserFailures: 3}, Device: laptop(),
	}
	for _, c := range []struct {
		expr        string
		full, empty bool
	}{
		{`user == "alice" && groups.exists(g, g.startsWith("VPN-"))`, true, false},
		{`source == "192.0.2.1" && country == "DE" && asn == 64496 && node`, true, false},
		{`key == "tls" && factor == "code" && client.matches("^test-[0-9]$")`, true, false},
		{`risk.user_failures > 2 * risk.code_failures`, true, false},
		{`last_success < duration("4h")`, true, false},
		{`last_success > duration("87600h")`, false, true}, // what is not known is long ago
		{`now == timestamp("2026-11-24T12:00:00Z")`, true, true},
		{`device.known && device.owned && device.join == "tag" && device.id == "LT-0231" && "Laptops" in device.groups`, true, false},
		{`device.report_age <= duration("1h") && device.patch_age < duration("25h")`, true, false},
		{`device.confidence == "attested"`, true, false},
		{`device.compliant && device.firewall && device.managed`, true, false},
		{`"compliant" in device.unknown && size(device.unknown) == 16`, false, true},
		{`device.os == "windows" && device.os_version.atLeast("10.0.19045") && !device.os_version.atLeast("11")`, true, false},
		{`tunnel == "" && nas == "" && nas_address == "" && realm == "" && client_version == ""`, true, true},
	} {
		rules := "  - {id: a, when: {cel: '" + c.expr + "'}, then: permit}\n"
		if d := ruled(t, rules, full); (d.Verdict == Permit) != c.full || d.Fault != "" {
			t.Errorf("%s: %+v", c.expr, d)
		}
		if d := ruled(t, rules, &Facts{}); (d.Verdict == Permit) != c.empty || d.Fault != "" {
			t.Errorf("%s of nothing: %+v", c.expr, d)
		}
	}
}

// TestCELBelievesWhatItsRuleDoes: the confidence that a rule demands holds in its
// expressions.
func TestCELBelievesWhatItsRuleDoes(t *testing.T) {
	f := &Facts{Device: laptop()}
	for _, c := range []struct {
		demand, expr string
		want         bool
	}{
		{"inventory", "device.compliant", true},
		{"attested", "device.compliant", false},
		{"attested", `"compliant" in device.unknown && device.os == ""`, true},
		{"attested", `device.report_age == duration("2h") - duration("30s")`, true}, // its clock is on the minute
		{"inventory", `device.report_age < duration("1h")`, true},
		{"attested", `size(device.groups) == 0`, true},
	} {
		d := ruled(t, "  - {id: a, when: {device.confidence: "+c.demand+", cel: '"+c.expr+"'}, then: permit}\n", f)
		if (d.Verdict == Permit) != c.want {
			t.Errorf("%s, %s: %+v", c.demand, c.expr, d)
		}
	}
}

// TestFailedRuleDenies: whatever a rule would say, and wherever in it the expression is.
func TestFailedRuleDenies(t *testing.T) {
	const broken = `cel: 'groups[9] == "x"'`
	for _, rule := range []string{
		"{id: a, when: {" + broken + "}, then: permit}",
		"{id: a, unless: {" + broken + "}, then: permit}",
		"{id: a, when: {not: {" + broken + "}}, then: permit}",
		"{id: a, when: {any: [{" + broken + "}, {user: none}]}, then: permit}",
		"{id: a, when: {" + broken + "}, then: deny, message: No.}",
	} {
		d := ruled(t, "  - "+rule+"\n  - {id: b, then: permit}\n", &Facts{})
		if d.Verdict != Deny || d.Reason != RuleFailed || d.RuleID != "a" || !strings.HasPrefix(d.Fault, "cel: ") || d.Message != "" || d.Version == "" {
			t.Errorf("%s: %+v", rule, d)
		}
	}
	// Conditions beside it are looked at before, wherever they stand; and a rule that
	// failed leaves nothing behind.
	d := ruled(t, "  - {id: a, when: {"+broken+", user: bob}, then: permit}\n  - {id: b, then: permit}\n", &Facts{User: "alice"})
	if d.RuleID != "b" || d.Reason != Permitted || d.Fault != "" {
		t.Errorf("%+v", d)
	}
	d = ruled(t, "  - {id: a, shadow: true, when: {"+broken+"}, then: permit}\n  - {id: b, then: permit}\n", &Facts{})
	if d.RuleID != "b" || d.Verdict != Permit || d.Fault != "" || d.Shadow == nil || d.Shadow.RuleID != "a" || d.Shadow.Reason != RuleFailed {
		t.Errorf("in shadow: %+v", d)
	}
}

// TestCELIsBounded: an expression that takes more than it may fails.
func TestCELIsBounded(t *testing.T) {
	f := &Facts{Groups: make([]string, 100_000)}
	for i := range f.Groups {
		f.Groups[i] = strings.Repeat("g", 400)
	}
	began := time.Now()
	d := ruled(t, "  - {id: a, when: {cel: 'groups.exists(g, g.endsWith(\"x\"))'}, then: permit}\n", f)
	if d.Reason != RuleFailed || !strings.Contains(d.Fault, "cost") {
		t.Errorf("%+v", d)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
