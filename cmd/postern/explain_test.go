package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/activation"
	"postern/authz/inputs"
	"postern/authz/posture"
	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
)

func TestExplain(t *testing.T) {
	s := newSite(t)
	unknown := decisionID(time.Now())
	s.fails(t, "", "inputs.dir", "explain", unknown)
	s.write(t, "radiusd.yaml", siteConfig+"inputs: {dir: inputs}\n")
	stranger := policy.Facts{User: "mallory", Groups: []string{"Guests"}, Source: netip.MustParseAddr("198.51.100.9")}
	ids := s.keep(t, staff("alice"), stranger)

	out := s.must(t, "", "explain", strings.ToLower(ids[0]))
	for _, want := range []string{
		"alice is permitted by rule staff, because the user is in VPN-Users; a one-time code is demanded, and was given: code.\n",
		ids[0], "accept, permitted", s.path("policy.yaml"), "  group   Domain Users, VPN-Users  the directory\n",
		"  1  plant  no       the user is not in Plant-Devices", "  2  staff  DECIDES", "  session_timeout  8h0m0s\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := s.must(t, "", "explain", ids[1]); !strings.HasPrefix(out, "mallory is refused, because none of the 2 rules matches.\n") {
		t.Errorf("got\n%s", out)
	}

	// For programs.
	var list []explained
	s.asked(t, &list, "explain", ids[0])
	if len(list) != 1 || list[0].Rule != "staff" || list[0].Sentence == "" || len(list[0].Rules) != 2 || list[0].Rules[1].Fate != policy.Matched || len(list[0].Facts) < 5 {
		t.Errorf("%+v", list)
	}

	// What happens later to the session goes by the same ID.
	s.more(t, nil, inputs.Record{Decision: ids[0], At: time.Now(), Kind: inputs.StepUp, Verdict: "reject", Reason: "code wrong", Facts: policy.Facts{User: "alice"}})
	if out = s.must(t, "", "explain", ids[0]); !strings.Contains(out, "Later of this session\n") || !strings.Contains(out, "step-up  code wrong") {
		t.Errorf("got\n%s", out)
	}
	if out = s.must(t, "", "explain", "--all", ids[0]); strings.Count(out, "What was known") != 2 {
		t.Errorf("got\n%s", out)
	}

	// A login whose password was wrong, and one with names that are kept as pseudonyms.
	wrong := inputs.Record{Decision: decisionID(time.Now()), At: time.Now(), Kind: inputs.Login, Verdict: "reject", Reason: "wrong password", Facts: policy.Facts{User: "alice"}}
	s.more(t, nil, wrong)
	if out = s.must(t, "", "explain", wrong.Decision); !strings.HasPrefix(out, "alice: refused, before any policy was asked: wrong password.\n") {
		t.Errorf("got\n%s", out)
	}
	ring, err := seal.ReadFile(s.path("keys"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load("policy.yaml", []byte(s.read(t, "policy.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	hidden := inputs.Record{
		Decision: decisionID(time.Now()), At: time.Now(), Kind: inputs.Login, Verdict: "reject", Reason: "code missing", Asked: true,
		Outcome: policy.Permit, Rule: "staff", Policy: p.Version(), Facts: staff("alice"),
	}
	s.more(t, ring, hidden)
	out = s.must(t, "", "explain", hidden.Decision)
	if strings.Contains(out, "alice") || !strings.Contains(out, "are pseudonyms") || !strings.Contains(out, "a one-time code is demanded. All the same it was refused: code missing.\n") {
		t.Errorf("got\n%s", out)
	}

	// The policy is another one by now: what is kept is told.
	s.write(t, "policy.yaml", strings.Replace(s.read(t, "policy.yaml"), "8h", "9h", 1))
	out = s.must(t, "", "explain", ids[0])
	if !strings.HasPrefix(out, "alice: permitted by rule staff of policy version "+p.Version()+", which is not at hand any more") || !strings.Contains(out, "8h0m0s") ||
		!strings.Contains(out, "Domain Users, VPN-Users") {
		t.Errorf("got\n%s", out)
	}

	s.fails(t, "", "no inputs of this decision are kept", "explain", unknown)
	s.fails(t, "", "no ID of a decision", "explain", "alice")
	s.fails(t, "", "read inputs", "explain", "--from", s.path("none"), ids[0])
}

// more writes one record more.
func (s *site) more(t testing.TB, ring *seal.Ring, r inputs.Record) {
	t.Helper()
	k, err := inputs.New(inputs.Config{Dir: s.path("inputs"), Keep: 24 * time.Hour, Pseudonyms: ring != nil, Ring: ring})
	if err != nil {
		t.Fatal(err)
	}
	k.Start()
	k.Write(&r)
	k.Stop()
}

func TestPolicyExplain(t *testing.T) {
	s := newSite(t)
	s.must(t, "a password\n", "user", "add", "alice", "--group", "VPN-Users")
	s.must(t, "a password\n", "user", "add", "bob")
	out := s.must(t, "", "policy", "explain", "--user", `CORP\Alice+123456`, "--source", "192.0.2.5")
	if !strings.HasPrefix(out, "alice is permitted by rule staff, because the user is in VPN-Users; a one-time code is demanded.\n") || !strings.Contains(out, "192.0.2.5") {
		t.Errorf("got\n%s", out)
	}
	if out = s.must(t, "", "policy", "explain", "--user", "bob"); !strings.HasPrefix(out, "bob is refused, because none of the 2 rules matches.\n") {
		t.Errorf("got\n%s", out)
	}
	if out = s.must(t, "", "policy", "explain", "--user", "bob", "--group", "Plant-Devices", "--at", "2026-11-23 22:00"); !strings.HasPrefix(out, "bob is permitted by rule plant") {
		t.Errorf("got\n%s", out)
	}
	if out = s.must(t, "", "policy", "explain", "--user", "nobody"); !strings.Contains(out, "The directories do not know this user") {
		t.Errorf("got\n%s", out)
	}
	s.must(t, "", "user", "set", "bob", "--disable")
	if out = s.must(t, "", "policy", "explain", "--user", "bob"); !strings.Contains(out, "The account is disabled") {
		t.Errorf("got\n%s", out)
	}
	// Another file, facts of all kinds, for programs.
	s.write(t, "other.yaml", `version: 1
rules:
  - id: all
    when: {nas: gw1, node: false, tunnel: none, country: DE, asn: 64500, client: LT-1, client_version: MSRASV5.20, key: tls, factor: webauthn, nas: [gw1, 192.0.2.10]}
    then: deny
`)
	text := strings.Replace(s.read(t, "other.yaml"), ", nas: [gw1, 192.0.2.10]", "", 1)
	s.write(t, "other.yaml", text)
	out = s.must(t, "", "-o", "json", "policy", "explain", "--user", "alice", "--source", "192.0.2.5", "--nas", "gw1", "--nas-address", "192.0.2.10", "--foreign", "--tunnel", "",
		"--country", "de", "--asn", "64500", "--client", "LT-1", "--client-version", "MSRASV5.20", "--key", "tls", "--factor", "webauthn", "--device", "LT-1", s.path("other.yaml"))
	var got struct {
		Explanation policy.Explanation
		Notes       []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Explanation.Rule != "all" || got.Explanation.Verdict != "deny" {
		t.Errorf("%v\n%s", err, out)
	}
	for _, bad := range [][]string{{"--source", "x"}, {"--nas-address", "x"}, {"--key", "x"}, {"--factor", "x"}, {"--at", "x"}} {
		if _, _, err := s.run("", append([]string{"policy", "explain", "--user", "alice"}, bad...)...); err == nil || !strings.Contains(err.Error(), bad[0]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	s.fails(t, "", "user", "policy", "explain")
}

// What was activated is at hand when the file is another one by now; what the store knows
// of devices and failures is part of what is supposed.
func TestExplainFromTheStore(t *testing.T) {
	s := newSite(t)
	s.write(t, "radiusd.yaml", siteConfig+"inputs: {dir: inputs}\n")
	s.must(t, "a password\n", "user", "add", "alice", "--group", "VPN-Users")
	ids := s.keep(t, staff("alice"))
	old := s.read(t, "policy.yaml")
	now := time.Now()
	s.open(t, func(cfg *config.Service, st store.Store) {
		p, err := policy.Load("policy.yaml", []byte(old))
		if err != nil {
			t.Fatal(err)
		}
		b := activation.Bundle{Files: []policy.File{{Name: "policy.yaml", Text: []byte(old)}}}
		if _, err := activation.NewDesk(st).Activate(t.Context(), activation.State{}, b, p, activation.By{Who: "test"}); err != nil {
			t.Fatal(err)
		}
		if _, err := posture.New(st, posture.Config{}).Put(t.Context(), posture.Record{
			Device: "LT-0231", Name: "lt-0231", Source: "intune", Confidence: policy.Inventory, Owners: []string{"alice"}, At: now, Got: now,
			Facts: posture.Facts{OS: "windows", Encrypted: policy.Yes},
		}); err != nil {
			t.Fatal(err)
		}
	})
	s.write(t, "policy.yaml", strings.Replace(old, "8h", "9h", 1))
	out := s.must(t, "", "explain", ids[0])
	if !strings.Contains(out, "as it was activated") || !strings.Contains(out, "8h0m0s") || !strings.Contains(out, "DECIDES") {
		t.Errorf("got\n%s", out)
	}
	out = s.must(t, "", "policy", "explain", "--user", "alice%LT-0231", "--source", "192.0.2.5")
	for _, want := range []string{"alice is permitted by rule staff", "device.join", "tag", "true (inventory by intune"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out = s.must(t, "", "policy", "explain", "--user", "alice", "--device", "LT-9"); !strings.Contains(out, "Nothing is known of a device LT-9.") {
		t.Errorf("got\n%s", out)
	}
}
