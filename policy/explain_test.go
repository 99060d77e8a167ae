package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const explained = `version: 1
lists:
  offices: [203.0.113.0/24]
  work: {times: {days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}}
pools:
  staff: [10.20.0.10-10.20.0.250]
rules:
  - id: banned
    when: {group: Banned}
    then: deny
    message: Ask the service desk
  - id: sunset
    expires: 2026-06-30
    when: {group: PPTP-Users}
    then: permit
  - id: no-travel
    owner: security@example.com
    shadow: true
    when: {country: [KP, IR]}
    then: deny
  - id: administrators
    description: Managed devices, and a key.
    when:
      group: [Domain Admins, Server Admins]
      device.confidence: inventory
      device.disk_encrypted: true
      device.patch_age: "<= 45d"
    then: {permit: {factor: webauthn, carriers: quarantine, pool: staff}}
  - id: contractors
    when:
      group: Contractors
      time: work
    unless: {not: {any: [{source: offices}, {device.known: true}]}}
    then: {permit: {pool: staff, session_timeout: 8h}}
  - id: staff
    description: Everybody with a computer of ours.
    owner: it@example.com
    when: {group: VPN-Users}
    unless: {source: [198.51.100.0/24], tunnel: PPTP}
    then: {permit: {pool: staff}}
  - {id: guests, when: {group: Guests}, then: {permit: {factor: none}}}
  - {id: plant, when: {source: 192.0.2.0/24, user: plc1}, then: {permit: {factor: none}}}
`

// TestExplain reads the explanations as people see them, from files that are to be read,
// too: testdata/explain.
func TestExplain(t *testing.T) {
	p := load(t, explained)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday
	from := netip.MustParseAddr
	managed := Device{
		ID: "LT-0231", Name: "lt-0231", Join: "tag", Owned: Yes,
		Encrypted: Fact[Tri]{Yes, Inventory, "intune", now.Add(-3 * time.Hour)},
		Patched:   Fact[time.Time]{now.Add(-60 * 24 * time.Hour), Attested, "agent", now.Add(-5 * time.Minute)},
	}
	managed.Reported[Inventory], managed.Reported[Attested] = now.Add(-3*time.Hour), now.Add(-5*time.Minute)
	fresh := managed
	fresh.Patched.Value = now.Add(-20 * 24 * time.Hour)
	for name, f := range map[string]Facts{
		"permitted": {User: "alice", Groups: []string{"Domain Users", "VPN-Users"}, Source: from("203.0.113.9"), NAS: "gw1", Node: true, Tunnel: "PPTP", Key: KeyNTLM, Country: "IR"},
		"shadow":    {User: "admin", Groups: []string{"Server Admins"}, Source: from("203.0.113.9"), Country: "KP", Device: fresh},
		"denied":    {User: "mallory", Groups: []string{"Banned"}, Source: from("203.0.113.9"), Risk: Risk{UserFailures: 3}},
		"stale":     {User: "root", Groups: []string{"Domain Admins"}, Source: from("203.0.113.9"), Tunnel: "PPTP", Device: managed},
		"excused":   {User: "bob", Groups: []string{"VPN-Users"}, Source: from("198.51.100.7"), Tunnel: "PPTP"},
		"hours":     {User: "carol", Groups: []string{"Contractors"}, Source: from("192.0.2.9"), ClientName: "CAROL-PC"},
		"nobody":    {},
	} {
		t.Run(name, func(t *testing.T) {
			x := p.Explain(now, &f)
			if d := p.Evaluate(now, &f); x.Verdict != d.Verdict.String() || x.Rule != d.RuleID || x.Decision.RuleID != d.RuleID {
				t.Errorf("%s by %q, and the decision is %v by %q", x.Verdict, x.Rule, d.Verdict, d.RuleID)
			}
			path, got := filepath.Join("testdata", "explain", name+".txt"), x.String()
			if os.Getenv("POSTERN_WRITE_EXPLAIN") != "" {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || got != string(want) {
				t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
			}
			if b, err := json.Marshal(&x); err != nil || !json.Valid(b) || !strings.Contains(string(b), `"sentence":`) {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
}

// Whatever the facts are, the explanation is of the decision that was made, and says of
// each rule what becomes of it.
func TestExplainIsOfTheDecision(t *testing.T) {
	p := load(t, explained)
	now := time.Date(2026, 6, 29, 12, 0, 0, 0, time.UTC)
	for _, group := range []string{"", "Banned", "PPTP-Users", "Domain Admins", "Contractors", "VPN-Users", "Guests"} {
		for _, source := range []string{"", "203.0.113.1", "198.51.100.1", "192.0.2.1"} {
			for day := range 4 {
				f := Facts{User: "plc1", Tunnel: "PPTP"}
				if group != "" {
					f.Groups = []string{group}
				}
				if source != "" {
					f.Source = netip.MustParseAddr(source)
				}
				at := now.AddDate(0, 0, day)
				x, d := p.Explain(at, &f), p.Evaluate(at, &f)
				matched := ""
				for i, r := range x.Rules {
					switch r.Fate {
					case Matched:
						if matched != "" {
							t.Errorf("%s and %s match", matched, r.ID)
						}
						matched = r.ID
					case NotReached:
						if matched == "" {
							t.Errorf("%s is not reached, and none decided before", r.ID)
						}
					case Stopped:
						if n := len(r.When); n == 0 || r.When[n-1].Held {
							t.Errorf("%s is stopped by %+v", r.ID, r.When)
						}
					case Excused, Expired, Shadowed, Failed:
					}
					if r.ID != p.rules[i].id || r.Place == "" {
						t.Errorf("%+v", r)
					}
				}
				if matched != d.RuleID || x.Verdict != d.Verdict.String() || !strings.HasSuffix(x.Sentence, ".") {
					t.Errorf("%v: %s by %q, want %v by %q", f, x.Verdict, matched, d.Verdict, d.RuleID)
				}
			}
		}
	}
	if got := fmt.Sprint(Fate(200), Matched, HowUnknown, How(99)); got != "not reached matched unknown unknown" {
		t.Error(got)
	}
}

// A rule that cannot be evaluated refuses, and the explanation says why; in shadow it
// decides nothing.
func TestExplainOfAFault(t *testing.T) {
	text := `version: 1
rules:
  - {id: odd, SHADOW when: {user: alice, any: [{tunnel: PPTP}, {cel: 'groups[3] == "x"'}]}, then: permit}
  - {id: rest, when: {user: alice}, then: permit}
`
	f := Facts{User: "alice", Groups: []string{"Staff"}}
	p := load(t, strings.Replace(text, "SHADOW", "", 1))
	x, d := p.Explain(time.Time{}, &f), p.Evaluate(time.Time{}, &f)
	if d.Fault == "" || x.Rules[0].Fate != Failed || x.Rules[0].Fault != d.Fault || x.Rules[1].Fate != NotReached ||
		x.Sentence != "alice is refused by rule odd, which could not be evaluated: "+d.Fault+"." {
		t.Errorf("%+v\n%s", d, x.String())
	}
	// What is not asked, for another of any holds, cannot fail.
	f.Tunnel = "PPTP"
	if x, d := p.Explain(time.Time{}, &f), p.Evaluate(time.Time{}, &f); d.RuleID != "odd" || d.Fault != "" || x.Rules[0].Fate != Matched {
		t.Errorf("%+v\n%s", d, x.String())
	}
	f.Tunnel = ""
	p = load(t, strings.Replace(text, "SHADOW", "shadow: true,", 1))
	if x := p.Explain(time.Time{}, &f); x.Rules[0].Fate != Failed || x.Rules[1].Fate != Matched || x.Verdict != "permit" {
		t.Errorf("%s", x.String())
	}
	q, left := p.Renamed(func(_, name string) string { return name })
	if len(left) != 1 || !strings.HasPrefix(left[0], `policy.yaml:3: rule odd: cel: groups[3] == "x"`) || q.Evaluate(time.Time{}, &f).RuleID != "rest" {
		t.Errorf("%q", left)
	}
}
