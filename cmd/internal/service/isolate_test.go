package service

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"

	"postern/authz"
	"postern/authz/posture"
	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/internal/radius"
	"postern/internal/store"
	"postern/policy"
)

const isolatePolicy = `version: 1
pools: {staff: [203.0.113.10-203.0.113.99]}
filters: {office: [{allow: {to: 10.20.0.0/16}}]}
rules:
  - id: healthy
    when: {group: Plant-Devices, device.disk_encrypted: true}
    then: {permit: {pool: staff, filter: office, carriers: [inline, quarantine], quarantine: 2m}}
  - id: ill
    when: {group: Plant-Devices}
    then: {permit: {pool: staff, carriers: [inline, quarantine], isolate: true, quarantine: 2m, banner: "Encrypt your disk, then dial again."}}
`

// A session of a device that nobody knows is isolated, and stays so when its user gives the
// factor. The device's report lets it out, by the other service, which alone reaches the
// node, within two seconds; one that says otherwise puts it back; and an expired report
// ends nothing.
func TestIsolatedUntilItReports(t *testing.T) {
	cfg := site(t)
	write(t, filepath.Join(filepath.Dir(string(cfg.Policy)), "policy.yaml"), isolatePolicy)
	cfg.Portal.URL = "https://portal.example.org"
	st, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	var here, there lines
	a, c := start(t, cfg, Options{Store: shared{st}, Audit: &here})
	b, _ := start(t, cfg, Options{Store: shared{st}, Audit: &there})
	told := make(chan *radius.Packet, 10)
	node, err := radius.NewDynamic(radius.DynamicConfig{CarryOut: func(_ context.Context, p *radius.Packet) error {
		told <- p
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Dynamic().Attach("nas1", node)
	ctx := t.Context()
	next := func(about string) *radius.Packet {
		t.Helper()
		began := time.Now()
		select {
		case p := <-told:
			t.Logf("%s: the node was told after %v", about, time.Since(began))
			return p
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the node is told nothing", about)
			return nil
		}
	}

	clock := &store.Time{}
	if err := st.Do(ctx, store.Seq{clock}); err != nil {
		t.Fatal(err)
	}
	e, err := a.MFA().Enroll(ctx, clock.Now, "plant", "phone")
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCode(e.Secret, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	accept := cmdtest.Expect(t, tunnelled{c}, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	_, url, held := radius.GetQuarantine(accept)
	token, ours := strings.CutPrefix(url, "https://portal.example.org/s/")
	if !held || !ours {
		t.Fatalf("quarantine %v %q", held, url)
	}
	decision := rfc2865.Class_GetString(accept)
	v, err := b.decider.Visit(ctx, token)
	if err != nil || !v.Held || !v.Waits || !v.Isolated || v.Session.Banner != "Encrypt your disk, then dial again." {
		t.Fatalf("%+v, %v", v, err)
	}
	if res := a.decider.StepUp(ctx, authz.StepUp{Session: v.Session.ID, User: "plant", Code: code}); res.Reason != authz.Isolated || res.Factor != authz.FactorCode {
		t.Fatalf("%+v", res)
	}
	if v, err = b.decider.Visit(ctx, token); err != nil || !v.Held || v.Waits || !v.Isolated {
		t.Fatalf("%+v, %v", v, err)
	}

	devices := posture.New(st, posture.Config{Review: a.Sessions().AskReview})
	report := func(encrypted policy.Tri) {
		t.Helper()
		_, err := devices.Put(ctx, posture.Record{
			Device: "lt-1", Source: posture.FromAgent, Confidence: policy.Attested, Owners: []string{"Plant"}, At: time.Now(), Got: time.Now(),
			From: v.Session.Source, Facts: posture.Facts{OS: "windows", Encrypted: encrypted},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	report(policy.Yes)
	if p := next("released"); p.Code != radius.CodeCoARequest || rfc2865.FilterID_GetString(p) != "office" {
		t.Errorf("released: %v, filter %q", p.Code, rfc2865.FilterID_GetString(p))
	}
	if rec, _, err := a.Sessions().Get(ctx, v.Session.ID); err != nil || !rec.Quarantine.IsZero() || rec.Isolated || rec.Rule != "healthy" || rec.Factor != "code" || rec.Device != "lt-1" || rec.Banner != "" {
		t.Errorf("%+v, %v", rec, err)
	}
	report(policy.Yes) // says nothing new
	report(policy.No)
	p := next("isolated again")
	if _, url, held := radius.GetQuarantine(p); !held || !strings.HasPrefix(url, "https://portal.example.org/s/") {
		t.Errorf("isolated again: %v, filter %q", p.Code, rfc2865.FilterID_GetString(p))
	}
	want := []string{
		"login quarantined none", "stepped up isolated code", "session reviewed released code", "session changed released code done",
		"session reviewed isolated code", "session changed isolated code done",
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // a line follows the answer
		got := append(here.of(t, decision), there.of(t, decision)...)
		missing := ""
		for _, w := range want {
			if !strings.Contains(strings.Join(got, "; ")+";", w+";") {
				missing = w
			}
		}
		if missing == "" && len(got) == len(want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("audit %q, want %q", got, want)
		}
	}
	if _, err := a.Sessions().Stop(ctx, session.Report{Node: v.Session.Node, Acct: v.Session.Acct}); err != nil {
		t.Error(err)
	}
}
