package service

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"

	"postern/authz"
	"postern/cmd/internal/cmdtest"
	"postern/internal/radius"
	"postern/internal/store"
)

// shared is a store that outlives the services on it.
type shared struct{ store.Store }

func (shared) Close() error { return nil }

// lines is an audit log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// of are the lines about one decision, as "message reason answer".
func (l *lines) of(t *testing.T, decision string) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for line := range strings.Lines(l.b.String()) {
		var m struct{ Msg, Decision, Reason, Factor, Answer string }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m.Decision == decision {
			all = append(all, strings.TrimSpace(strings.Join([]string{m.Msg, m.Reason, m.Factor, m.Answer}, " ")))
		}
	}
	return all
}

// tunnelled asks for logins that come through PPTP.
type tunnelled struct{ radius.Exchanger }

func (x tunnelled) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	if err := rfc2868.TunnelType_Add(p, 0, rfc2868.TunnelType_Value_PPTP); err != nil {
		return nil, err
	}
	return x.Exchanger.Exchange(ctx, p)
}

// A session is let into quarantine by one service, its user steps up at that one, and
// the other, which alone reaches the node, has the node let it go.
func TestQuarantineOverTwoServices(t *testing.T) {
	cfg := site(t)
	write(t, filepath.Join(filepath.Dir(string(cfg.Policy)), "policy.yaml"), `version: 1
pools: {staff: [203.0.113.10-203.0.113.99]}
filters: {office: [{allow: {to: 10.20.0.0/16}}]}
rules:
  - id: staff
    when: {group: Plant-Devices}
    then: {permit: {pool: staff, filter: office, session_timeout: 8h, carriers: [inline, remembered, quarantine], remember: {for: 12h}, quarantine: 2m}}
`)
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
	d, url, held := radius.GetQuarantine(accept)
	token, ours := strings.CutPrefix(url, "https://portal.example.org/s/")
	if !held || d != 2*time.Minute || !ours || rfc2865.FilterID_GetString(accept) != "quarantine" {
		t.Fatalf("quarantine %v %v %q", held, d, url)
	}
	decision := rfc2865.Class_GetString(accept)

	v, err := b.decider.Visit(ctx, token)
	if err != nil || v.User != "plant" || !v.Held {
		t.Fatalf("%+v, %v", v, err)
	}
	began := time.Now()
	if res := a.decider.StepUp(ctx, authz.StepUp{Session: v.Session.ID, User: v.User, Code: code}); res.Reason != authz.Permitted {
		t.Fatalf("%+v", res)
	}
	select {
	case p := <-told:
		rules, err := radius.GetFilterRules(p)
		if p.Code != radius.CodeCoARequest || rfc2865.FilterID_GetString(p) != "office" || err != nil || len(rules) == 0 || rfc2865.SessionTimeout_Get(p) != 28800 {
			t.Errorf("the node is told %v, filter %q, rules %q, %v", p.Code, rfc2865.FilterID_GetString(p), rules, err)
		}
		t.Logf("the node was told after %v", time.Since(began))
	case <-time.After(10 * time.Second):
		t.Fatal("the node is told nothing")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if v, err = a.decider.Visit(ctx, token); err != nil || v.Held {
			t.Fatalf("%+v, %v", v, err)
		}
		if !v.Lifting {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the change is not known to be done")
		}
	}
	want := "login quarantined none; stepped up permitted code; session changed stepped up code done"
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // a line follows the answer
		got := strings.Join(append(here.of(t, decision), there.of(t, decision)...), "; ")
		if got == want {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("audit %q, want %q", got, want)
		}
	}
	// The next call from there needs no code, at whichever service.
	again := cmdtest.Expect(t, tunnelled{c}, "plant", cmdtest.Password, "s2", radius.CodeAccessAccept)
	if _, _, held := radius.GetQuarantine(again); held || rfc2865.FilterID_GetString(again) != "office" {
		t.Errorf("filter %q", rfc2865.FilterID_GetString(again))
	}
}
