package policy

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var lintNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// lintDirectory has the groups that testdata/lint.txt names.
func lintDirectory(name string) (bool, error) {
	if name == "Elsewhere" {
		return false, errors.New("nobody to ask")
	}
	return slices.ContainsFunc([]string{"Staff", "Ops", "Plant"}, func(g string) bool { return strings.EqualFold(g, name) }), nil
}

func TestLint(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "lint.txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "\n== ")
	var out strings.Builder
	out.WriteString(head + "\n")
	seen := make(map[string]bool)
	for i, block := range strings.Split(strings.TrimSuffix(rest, "\n"), "\n== ") {
		name, block, _ := strings.Cut(block+"\n", "\n")
		src, want, ok := strings.Cut(block, "\n--\n")
		if !ok {
			t.Fatalf("case %q has no --", name)
		}
		p, err := Load("p.yaml", []byte(src))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cfg := LintConfig{Now: lintNow}
		if strings.HasPrefix(name, "groups") {
			cfg.GroupExists = lintDirectory
		}
		var got strings.Builder
		for _, f := range p.Lint(cfg) {
			if seen[f.Check] = true; i == 0 || f.Check != "no-owner" && f.Check != "no-description" && f.Check != "untested" {
				got.WriteString(f.String() + "\n")
			}
		}
		if got.String() != want && !*update {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got.String(), want)
		}
		out.WriteString("== " + name + "\n" + src + "\n--\n" + got.String())
	}
	for _, c := range Checks() {
		if !seen[c.Name] {
			t.Errorf("nothing finds %s", c.Name)
		}
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "lint.txt"), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// lintConditions are drawn from; some imply others.
var lintConditions = []string{
	"group: Trusted", "group: [Trusted, Guests]", "group: none", "group: [none, Guests]", "user: alice", "user: [alice, bob]", "user: none",
	"source: 192.0.2.0/24", "source: [192.0.2.1, none]", "source: [192.0.2.0/24, 203.0.113.0/24]", "source: none", "source: \"::/0\"",
	"nas: gw1", "nas: [gw1, 10.1.0.0/16]", "nas: 10.1.0.0/24", "nas: none", "tunnel: PPTP", "tunnel: [PPTP, L2TP]", "realm: corp", "realm: [corp, none]",
	"risk.user_failures: \">= 3\"", "risk.user_failures: \"> 5\"", "risk.user_failures: [\"< 2\", 7]", "risk.user_failures: 7",
	"device.compliant: true", "device.compliant: [true, none]", "device.compliant: false", "device.known: true", "device.known: false",
	"device.patch_age: \"<= 30d\"", "device.patch_age: \"< 10d\"", "device.patch_age: [\"> 45d\", none]", "device.confidence: directory",
	"any: [{group: Trusted}, {user: alice}]", "any: [{source: 192.0.2.1}, {nas: gw1, tunnel: PPTP}]", "all: {group: Trusted, user: alice}",
	"not: {group: Trusted}", "not: {group: [Trusted, Guests]}", "not: {device.compliant: true}", "not: {any: [{group: Trusted}, {user: bob}]}",
	"country: DE", "country: [DE, none]", "asn: 64496", "asn: [64496, none]", "key: [ntlm, tls]", "key: tls", "factor: code", "factor: [code, webauthn]",
	"device: LT-1", "device: [LT-1, none]", "device.os: windows", "device.join: [tag, none]", "device.join: tag", "device.group: Trusted", "device.group: [Trusted, none]",
	"cel: risk.user_failures > 3", `cel: "device.groups[0] == 'Trusted'"`, `any: [{cel: "device.groups[0] == 'Trusted'"}, {user: bob}]`,
	"last_success: \"< 7d\"", "last_success: \"<= 30d\"", "device.os_version: \">= 10\"",
}

// factsOfAll draws what someFacts leaves out.
func factsOfAll(r *rand.Rand) *Facts {
	f := someFacts(r)
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	ago := func() (t time.Time) {
		if r.IntN(4) > 0 {
			t = lintNow.Add(-time.Duration(r.IntN(60)) * day)
		}
		return t
	}
	f.Risk.UserFailures = r.IntN(9)
	f.Country, f.ASN = pick("", "DE", "AT"), []uint32{0, 64496, 64497}[r.IntN(3)]
	f.Key, f.Given, f.LastSuccess = KeyGrade(r.IntN(3)), Given(r.IntN(4)), ago()
	if r.IntN(3) > 0 {
		confidence := func() Confidence { return Confidence(r.IntN(5)) }
		f.Device = Device{ID: pick("LT-1", "LT-2"), Join: pick("tag", "client", "report")}
		f.Device.Compliant = Fact[Tri]{Value: Tri(r.IntN(3)), Confidence: confidence()}
		f.Device.Patched = Fact[time.Time]{Value: ago(), Confidence: confidence()}
		f.Device.OS = Fact[string]{Value: pick("", "windows", "linux"), Confidence: confidence()}
		f.Device.OSVersion = Fact[string]{Value: pick("", "10.0", "11.2"), Confidence: confidence()}
		f.Device.Reported[confidence()] = ago()
		if r.IntN(2) == 0 {
			f.Device.Groups = []string{pick("Trusted", "Others")}
		}
	}
	return f
}

// TestCoversIsSound: a rule that is called unreachable never matches where the other does
// not, whatever the facts.
func TestCoversIsSound(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	some := func() string {
		var parts []string
		keys := make(map[string]bool)
		for range r.IntN(3) {
			c := lintConditions[r.IntN(len(lintConditions))]
			if key, _, _ := strings.Cut(c, ":"); !keys[key] {
				keys[key] = true
				parts = append(parts, c)
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	var facts []*Facts
	for range 400 {
		facts = append(facts, factsOfAll(r))
	}
	rule := func(id string) string {
		text := "  - {id: " + id
		for _, key := range []string{"when", "unless"} {
			if c := some(); c != "{}" && (key == "when" || r.IntN(4) == 0) {
				text += ", " + key + ": " + c
			}
		}
		return text + ", then: deny}\n"
	}
	covered, pairs := 0, 0
	for range 4000 {
		p, err := Load("p.yaml", []byte("version: 1\nrules:\n"+rule("a")+rule("b")))
		if err != nil {
			continue // two demands in a rule
		}
		pairs++
		a, b := &p.rules[0], &p.rules[1]
		if !covers(a, b) {
			continue
		}
		covered++
		for _, f := range facts {
			e := p.evaluation(lintNow, f)
			if b.match(e) && !a.match(e) {
				t.Fatalf("%+v matches b and not a in\n%s", f, p.files[0].Text)
			}
			e.done()
		}
	}
	if covered < 100 || covered > pairs/2 {
		t.Errorf("%d of %d pairs cover", covered, pairs)
	}
	t.Logf("%d of %d pairs cover", covered, pairs)
}

func TestSeverity(t *testing.T) {
	var zero Severity
	if zero.String() != "error" || Severity(9).String() != "error" {
		t.Errorf("%v", zero)
	}
	if b, err := SeverityInfo.MarshalText(); string(b) != "info" || err != nil {
		t.Errorf("%s %v", b, err)
	}
	for _, c := range Checks() {
		if c.Name == "" || !strings.HasSuffix(c.Says, ".") {
			t.Errorf("%+v", c)
		}
	}
}

func TestAcceptMistakes(t *testing.T) {
	for accept, want := range map[string]string{
		"[permit-without-facter]": `p.yaml:2:26: unknown finding "permit-without-facter", did you mean "permit-without-factor"?`,
		"unused":                  `p.yaml:2:25: unknown finding "unused"`, // about no rule
		"[expired, expired]":      `p.yaml:2:35: "expired" a second time`,
		"[]":                      "p.yaml:2:25: an empty list matches nothing",
		"7":                       "p.yaml:2:25: the number 7 is not possible here",
	} {
		_, err := Load("p.yaml", []byte("version: 1\nrules: [{id: a, accept: "+accept+", then: deny}]\n"))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", accept, err)
		}
	}
}

// TestShippedPolicies: what we show people has nothing to find and is formatted.
func TestShippedPolicies(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "deploy", "policies", "*.yaml"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d policies, %v", len(names), err)
	}
	for _, name := range append(names, filepath.Join("..", "deploy", "policy.example.yaml")) {
		files, err := Collect(name, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		p, err := LoadFiles(files, Tested())
		if err != nil {
			t.Error(err)
			continue
		}
		for _, f := range p.Lint(LintConfig{Now: lintNow}) {
			if f.Severity != SeverityInfo {
				t.Error(f.String())
			}
		}
		for _, f := range files {
			if out, err := Format(f.Name, f.Text); err != nil || string(out) != string(f.Text) {
				t.Errorf("%s is not formatted: postern policy fmt -w (%v)", f.Name, err)
			}
		}
	}
}

// TestGuideKnowsTheFindings: the guide's table says of each what we say.
func TestGuideKnowsTheFindings(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "deploy", "POLICY.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Checks() {
		if row := "\n| `" + c.Name + "` | " + c.Says + " |\n"; !strings.Contains(string(b), row) {
			t.Errorf("POLICY.md has no row%s", row)
		}
	}
}
