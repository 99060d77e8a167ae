package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/inputs"
	"postern/cmd/internal/cmdtest"
	"postern/policy"
)

// keep writes decisions down as a service would, one a minute up to now, and returns
// their IDs.
func (s *site) keep(t testing.TB, facts ...policy.Facts) (ids []string) {
	t.Helper()
	p, err := policy.Load("policy.yaml", []byte(s.read(t, "policy.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	k, err := inputs.New(inputs.Config{Dir: s.path("inputs"), Keep: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	k.Start()
	now := time.Now()
	for i := range facts {
		f := facts[i]
		at := now.Add(-time.Duration(len(facts)-i) * time.Minute)
		d := p.Evaluate(at, &f)
		r := &inputs.Record{
			Decision: decisionID(at), At: at, Kind: inputs.Login, Verdict: "reject", Reason: "policy denied", Asked: true,
			Outcome: d.Verdict, Rule: d.RuleID, Policy: d.Version, Facts: f,
		}
		if d.Verdict == policy.Permit {
			r.Verdict, r.Reason, r.Factor, r.Terms = "accept", "permitted", "code", d.Obligations.Terms()
		}
		k.Write(r)
		ids = append(ids, r.Decision)
	}
	k.Stop()
	return ids
}

func staff(user string) policy.Facts {
	return policy.Facts{
		User: user, Groups: []string{"Domain Users", "VPN-Users"}, Source: netip.MustParseAddr("192.0.2.5"), NAS: "gw1", Tunnel: "PPTP", Key: policy.KeyNTLM, Node: true,
	}
}

func TestPolicyReplay(t *testing.T) {
	s := newSite(t)
	if _, _, err := s.run("", "policy", "replay", s.path("policy.yaml")); err == nil || !strings.Contains(err.Error(), "inputs.dir") {
		t.Errorf("nothing is kept: %v", err)
	}
	s.write(t, "radiusd.yaml", siteConfig+"inputs: {dir: inputs}\n")
	plant := policy.Facts{User: "plc1", Groups: []string{"Plant-Devices"}, Source: netip.MustParseAddr("203.0.113.7")}
	ids := s.keep(t, staff("alice"), staff("bob"), plant, staff("alice"))

	out, _, err := s.run("", "policy", "replay", s.path("policy.yaml"))
	if err != nil || !strings.Contains(out, "decides again 4 logins") || !strings.Contains(out, "Nothing changes") {
		t.Errorf("%v\n%s", err, out)
	}

	// Alice is to be refused; staff may stay longer.
	candidate := strings.Replace(cmdtest.PolicyText, "rules:\n", "rules:\n  - {id: no-alice, when: {user: Alice}, then: deny}\n", 1)
	s.write(t, "candidate.yaml", strings.Replace(candidate, "session_timeout: 8h", "session_timeout: 9h", 1))
	out, _, err = s.run("", "policy", "replay", s.path("candidate.yaml"), "--since", "2d")
	var status exitStatus
	if !errors.As(err, &status) || status != 3 {
		t.Errorf("%v", err)
	}
	for _, want := range []string{
		"2 logins of 1 user: permitted by staff -> refused by no-alice\n", "1 login of 1 user: permitted by staff -> permitted by staff\n",
		"    session_timeout: 8h0m0s -> 9h0m0s\n", "    groups: Domain Users 2, VPN-Users 2\n", ids[0], ids[1], ids[3],
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, ids[2]) {
		t.Errorf("the plant's login:\n%s", out)
	}

	// For programs; only who is newly refused; against a file.
	var rep inputs.Report
	out, _, err = s.run("", "policy", "replay", "-o", "json", "--new-only", "--from", s.path("inputs"), s.path("candidate.yaml"))
	if !errors.As(err, &status) || json.Unmarshal([]byte(out), &rep) != nil || rep.Changed != 2 || len(rep.Differences) != 1 || rep.Differences[0].Logins[1].Decision != ids[3] {
		t.Errorf("%v: %+v\n%s", err, rep, out)
	}
	if out, _, err = s.run("", "policy", "replay", "--against", s.path("candidate.yaml"), s.path("candidate.yaml")); err != nil || !strings.Contains(out, "Nothing changes") {
		t.Errorf("%v\n%s", err, out)
	}
	p, err := policy.Load("policy.yaml", []byte(s.read(t, "policy.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = s.run("", "policy", "replay", "--against", p.Version(), s.path("candidate.yaml")); !errors.As(err, &status) {
		t.Errorf("%v", err)
	}
	if _, _, err = s.run("", "policy", "replay", "--against", "0123456789abcdef", s.path("candidate.yaml")); !errors.Is(err, errNotAtHand) {
		t.Errorf("%v", err)
	}
	if _, errs, err := s.run("", "policy", "replay", "--since", "10s", s.path("candidate.yaml")); err != nil || !strings.Contains(errs, "nothing to decide again") {
		t.Errorf("%v, %q", err, errs)
	}
	// What a pipeline sees.
	for name, want := range map[string]int{"policy.yaml": 0, "candidate.yaml": 3, "none.yaml": 1} {
		r := cmdtest.Run(t, "", "postern", "-config", s.path("radiusd.yaml"), "policy", "replay", s.path(name))
		if r.Status != want || (r.Errs != "") != (want == 1) {
			t.Errorf("%s: status %d, want %d\n%s", name, r.Status, want, r.Errs)
		}
	}
	for _, bad := range [][]string{{"--since", "soon"}, {"--since", "-1d"}, {"--until", "1x"}, {"--from", s.path("none")}} {
		if _, _, err := s.run("", append([]string{"policy", "replay", s.path("candidate.yaml")}, bad...)...); err == nil || errors.As(err, &status) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	for s, want := range map[string]time.Time{
		"": {}, "14d": now.AddDate(0, 0, -14), "1d12h": now.AddDate(0, 0, -1).Add(-12 * time.Hour), "36h": now.Add(-36 * time.Hour), "0d": now,
		"2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local), "2026-11-01 08:30": time.Date(2026, 11, 1, 8, 30, 0, 0, time.Local),
		"2026-11-01T08:30:00Z": time.Date(2026, 11, 1, 8, 30, 0, 0, time.UTC),
	} {
		if got, err := ago(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
}

func TestBar(t *testing.T) {
	var b bytes.Buffer
	drawBar(&b, 50, 200, 3*time.Second)
	if got := b.String(); got != "\r\x1b[K[#######.......................]  25 %, 9s left" {
		t.Errorf("%q", got)
	}
	b.Reset()
	if drawBar(&b, 0, 0, 0); b.Len() != 0 {
		t.Errorf("%q", b.String())
	}
	for n, want := range map[int]string{1: "1 login", 0: "0 logins", 999: "999 logins", 1000: "1,000 logins", 1234567: "1,234,567 logins"} {
		if got := many(n, "login"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// decisionID is an ID as services make them.
func decisionID(at time.Time) string {
	var b [15]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16)
	rand.Read(b[6:])
	return base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding).EncodeToString(b[:])
}
