package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"

	"postern/authz"
	"postern/authz/activation"
	"postern/authz/directory"
	"postern/cmd/internal/cmdtest"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/store"
	"postern/internal/store/redistest"
	"postern/policy"
)

// policyNumber is a policy whose rule, filter and message all carry a number.
func policyNumber(n int) string {
	return fmt.Sprintf(`version: 1
pools: {staff: [203.0.113.0/24]}
rules:
  - {id: plant-%[1]d, when: {group: Plant-Devices}, accept: [permit-without-factor], then: {permit: {factor: none, filter: f%[1]d}}}
  - {id: others-%[1]d, then: deny, message: number %[1]d}
tests:
  - {name: plant, groups: [Plant-Devices], expect: {verdict: permit, rule: plant-%[1]d}}
`, n)
}

// bundle is a policy of one file, that a strict gate lets through.
func bundle(t testing.TB, text string) (activation.Bundle, *policy.Policy) {
	t.Helper()
	b := activation.Bundle{Files: []policy.File{{Name: "policy.yaml", Text: []byte(text)}}}
	p, _, err := (&activation.Gate{Strict: true}).Open(&b, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

// decisions are what the audit log of one service says of logins, in their order.
type decisions struct {
	mu   sync.Mutex
	list []decided
	all  []map[string]any
	put  []decided // what came into force; decision is empty
}

type decided struct {
	decision, version, rule string
	began, ended            time.Time
}

func (d *decisions) Write(line []byte) (int, error) {
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, m)
	now := time.Now()
	switch {
	case m["msg"] == "login":
		took := time.Duration(m["took"].(float64))
		d.list = append(d.list, decided{m["decision"].(string), m["policy"].(string), m["rule"].(string), now.Add(-took), now})
	case m["msg"] == "policy" && m["action"] != "refused":
		d.put = append(d.put, decided{version: m["after"].(string), began: now, ended: now})
	}
	return len(line), nil
}

// slack is how long after something happened its line may be written.
const slack = 100 * time.Millisecond

// under are those of what came into force that may have been it while a login was decided.
func under(put []decided, d decided) (list []int) {
	for k, p := range put {
		if d.ended.After(p.began.Add(-slack)) && (k+1 == len(put) || d.began.Before(put[k+1].began.Add(slack))) {
			list = append(list, k)
		}
	}
	return list
}

// events are the policy lines, as "action after".
func (d *decisions) events() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for _, m := range d.all {
		if m["msg"] == "policy" {
			list = append(list, fmt.Sprint(m["action"], " ", m["after"]))
		}
	}
	return list
}

func (d *decisions) last() map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[len(d.all)-1]
}

// inForce is the version in force at a service; "": none.
func (s *Service) inForce() string {
	if p, _ := s.decider.Policy(); p != nil {
		return p.Version()
	}
	return ""
}

func soon(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

const generous = 15 * time.Second

// Acceptance of the whole: two services on one Redis are asked two hundred times a second
// while policies are activated, broken ones among them, and taken back. Every decision is
// of one policy from beginning to end, each service goes from one to the next and never
// back by itself, and both have switched within two seconds.
func TestActivationUnderLoad(t *testing.T) {
	redis := redistest.Start(t)
	cfg := site(t)
	cfg.PolicySource.From = config.PolicyFromStore
	write(t, string(cfg.Policy), policyNumber(0))
	ring, err := OpenRing(cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&directory.Users{Path: string(cfg.Users), Ring: ring}).Add(directory.User{Name: "visitor"}, cmdtest.Password); err != nil {
		t.Fatal(err)
	}
	other := *cfg
	other.Node = "other"
	var services []*Service
	var clients []*radius.Client
	var logs []*decisions
	for _, c := range []*config.Service{cfg, &other} {
		log := new(decisions)
		s, client := start(t, c, Options{Store: redis.Open(t), Audit: log, Registerer: prometheus.NewRegistry()})
		services, clients, logs = append(services, s), append(clients, client), append(logs, log)
	}
	both := func(version string) func() bool {
		return func() bool { return services[0].inForce() == version && services[1].inForce() == version }
	}
	texts := []string{policyNumber(0), policyNumber(1), policyNumber(2)}
	versions := make([]string, len(texts))
	for i, text := range texts {
		_, p := bundle(t, text)
		versions[i] = p.Version()
	}
	if !both(versions[0])() {
		t.Fatal("the file's policy is not in force")
	}

	// A hundred logins a second at each, half of them permitted.
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	var filters sync.Map // by decision
	var load sync.WaitGroup
	for i, c := range clients {
		load.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				load.Go(func() {
					name := "plant"
					if n%2 == 1 {
						name = "visitor"
					}
					asked.Add(1)
					p, err := cmdtest.Login(t, c, name, cmdtest.Password, fmt.Sprintf("s%d-%d", i, n))
					switch {
					case err != nil:
						t.Error(err)
					case p.Code == radius.CodeAccessAccept:
						filters.Store(rfc2865.Class_GetString(p), rfc2865.FilterID_GetString(p))
					}
				})
			}
		})
	}
	began := time.Now()
	desk := activation.NewDesk(redis.Open(t))
	by := activation.By{Who: "alice@host", From: "policy.yaml"}
	state := func() activation.State {
		s, err := desk.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var took []time.Duration
	change := func(what, want string, do func(activation.State) (activation.State, error)) {
		t.Helper()
		time.Sleep(5 * slack)
		base, at := state(), time.Now()
		if _, err := do(base); err != nil {
			t.Fatal(err)
		}
		soon(t, generous, what, both(want))
		took = append(took, time.Since(at))
		t.Logf("%s: both services have switched after %v", what, took[len(took)-1].Round(100*time.Microsecond))
	}
	activate := func(i int) func(activation.State) (activation.State, error) {
		return func(s activation.State) (activation.State, error) {
			b, p := bundle(t, texts[i])
			return desk.Activate(ctx, s, b, p, by)
		}
	}
	back := func(s activation.State) (activation.State, error) { return desk.Rollback(ctx, s, "", by) }
	change("activate 1", versions[1], activate(1))
	change("activate 2", versions[2], activate(2))
	change("roll back to 1", versions[1], back)
	change("activate 2 again", versions[2], activate(2))
	// What does not load changes nothing, however it came into the store.
	_, fine := bundle(t, texts[0])
	if _, err := desk.Activate(ctx, state(), activation.Bundle{Files: []policy.File{{Name: "p", Text: []byte("nonsense: 1\n")}}}, fine, by); err != nil {
		t.Fatal(err)
	}
	soon(t, generous, "refused", func() bool {
		return slices.Contains(logs[0].events(), "refused "+versions[0]) && slices.Contains(logs[1].events(), "refused "+versions[0])
	})
	if !both(versions[2])() {
		t.Error("a broken policy has changed something")
	}
	if _, err := back(state()); err != nil { // to what is in force there all the time
		t.Fatal(err)
	}
	change("roll back to 1", versions[1], back)
	time.Sleep(5 * slack)
	stop()
	load.Wait()
	rate := float64(asked.Load()) / time.Since(began).Seconds()

	total := 0
	for i, log := range logs {
		log.mu.Lock()
		var order []int
		for _, p := range log.put {
			order = append(order, slices.Index(versions, p.version))
		}
		if want := []int{0, 1, 2, 1, 2, 1}; !slices.Equal(order, want) {
			t.Errorf("service %d: in force %v, want %v", i, order, want)
		}
		firm := make([]int, len(order))
		for _, d := range log.list {
			n := slices.Index(versions, d.version)
			if d.rule != fmt.Sprintf("plant-%d", n) && d.rule != fmt.Sprintf("others-%d", n) {
				t.Fatalf("service %d: rule %q of policy %d (%s)", i, d.rule, n, d.version)
			}
			if filter, permitted := filters.Load(d.decision); permitted != strings.HasPrefix(d.rule, "plant") || permitted && filter != fmt.Sprintf("f%d", n) {
				t.Fatalf("service %d: permitted %v with filter %v by rule %q", i, permitted, filter, d.rule)
			}
			// The policy is one that was in force while the login was under way; lines are
			// written a moment after what they tell of.
			can := under(log.put, d)
			if !slices.ContainsFunc(can, func(k int) bool { return order[k] == n }) {
				t.Fatalf("service %d: a decision of policy %d while %v of %v were in force", i, n, can, order)
			}
			if len(can) == 1 {
				firm[can[0]]++
			}
		}
		if slices.Contains(firm, 0) {
			t.Errorf("service %d: decisions by policy %v of %v", i, firm, order)
		}
		total += len(log.list)
		log.mu.Unlock()
	}
	t.Logf("%d decisions at %.0f a second on two services, all of one policy each; slowest switch %v", total, rate, slices.Max(took).Round(100*time.Microsecond))
}

// A service that does not know which policy is activated is silent and not healthy, until
// the store says so.
func TestStartWithoutStore(t *testing.T) {
	redis := redistest.Start(t)
	rc := redis.Config()
	rc.Timeout = 200 * time.Millisecond
	open := func() store.Store {
		st, err := store.OpenRedis(rc)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	cfg := site(t)
	cfg.PolicySource.From = config.PolicyFromStore
	write(t, string(cfg.Policy), policyNumber(0))
	st := open()
	b, p := bundle(t, policyNumber(1))
	if _, err := activation.NewDesk(st).Activate(t.Context(), activation.State{}, b, p, activation.By{}); err != nil {
		t.Fatal(err)
	}
	st.Close()
	redis.Kill()
	log := new(decisions)
	s, _ := start(t, cfg, Options{Store: open(), Audit: log, Registerer: prometheus.NewRegistry()})
	if s.inForce() != "" || s.Healthy(t.Context()) == nil {
		t.Errorf("%q is in force, %v", s.inForce(), s.Healthy(t.Context()))
	}
	res := s.decider.Decide(t.Context(), &authz.Request{User: "plant", Method: authz.MethodPAP, AllowPAP: true, Password: []byte(cmdtest.Password)})
	if res.Verdict != authz.Silent || res.Reason != authz.StoreDown {
		t.Errorf("%v, %v", res.Verdict, res.Reason)
	}
	redis.Restart()
	soon(t, generous, "the store's policy", func() bool { return s.inForce() == p.Version() })
	soon(t, generous, "healthy", func() bool { return s.Healthy(t.Context()) == nil })
	if want := "in force " + p.Version(); !slices.Contains(log.events(), want) {
		t.Errorf("%q", log.events())
	}
}

// signingKey makes a key with the real ssh-keygen.
func signingKey(t *testing.T) (file, public string) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skipf("needs ssh-keygen (apt-get install openssh-client): %v", err)
	}
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, string(text)
}

func sign(t *testing.T, key, policyFile string) {
	t.Helper()
	b, err := activation.Collect(policyFile, activation.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "postern-policy", "-f", key)
	cmd.Stdin = bytes.NewReader(b.Manifest())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, policyFile+".sig", string(out))
}

// From a file: signed or not at all, with a candidate beside, read again when it changes
// and when somebody asks for it.
func TestPolicyFromFile(t *testing.T) {
	key, public := signingKey(t)
	cfg := site(t)
	dir := filepath.Dir(string(cfg.Policy))
	signers, next := filepath.Join(dir, "signers"), filepath.Join(dir, "next.yaml")
	write(t, signers, "alice "+public)
	write(t, string(cfg.Policy), policyNumber(1))
	cfg.PolicySource.Signers, cfg.PolicySource.Watch = config.File(signers), time.Second
	var refusal *activation.Refusal
	if _, err := New(cfg, Options{Audit: io.Discard}); !errors.As(err, &refusal) || refusal.Why != activation.WhySignature {
		t.Fatalf("not signed: %v", err)
	}
	if err := Check(cfg); err == nil || !strings.Contains(err.Error(), "it is not signed") {
		t.Errorf("-test: %v", err)
	}
	sign(t, key, string(cfg.Policy))
	if err := Check(cfg); err != nil {
		t.Errorf("-test: %v", err)
	}
	log := new(decisions)
	s, c := start(t, cfg, Options{Audit: log, Registerer: prometheus.NewRegistry()})
	_, one := bundle(t, policyNumber(1))
	_, two := bundle(t, policyNumber(2))
	cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	if m := log.last(); m["policy"] != one.Version() || m["candidate"] != nil {
		t.Errorf("%v", m)
	}
	// The signature comes after the text: until then it is half of a change.
	write(t, string(cfg.Policy), policyNumber(2))
	soon(t, generous, "refused once", func() bool { return slices.Contains(log.events(), "refused ") })
	if s.inForce() != one.Version() {
		t.Error("what is not signed is in force")
	}
	sign(t, key, string(cfg.Policy))
	soon(t, generous, "found", func() bool { return s.inForce() == two.Version() })
	// A candidate.
	write(t, next, "version: 1\nrules: [{id: shut, then: deny}]\n")
	sign(t, key, next)
	with := *cfg
	with.PolicySource.Shadow = config.File(next)
	if err := s.Reload(&with); err != nil {
		t.Fatal(err)
	}
	cmdtest.Expect(t, c, "plant", cmdtest.Password, "s2", radius.CodeAccessAccept)
	if m := log.last(); m["policy"] != two.Version() || m["candidate_rule"] != "shut" || m["candidate_verdict"] != "deny" {
		t.Errorf("%v", m)
	}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	cmdtest.Expect(t, c, "plant", cmdtest.Password, "s3", radius.CodeAccessAccept)
	if m := log.last(); m["candidate"] != nil {
		t.Errorf("%v", m)
	}
	// Signers are read again, and broken ones change nothing.
	write(t, signers, "nonsense\n")
	if err := s.Reload(cfg); err == nil || !strings.Contains(err.Error(), "signers:1:") {
		t.Errorf("%v", err)
	}
	if s.inForce() != two.Version() {
		t.Error("another policy")
	}
	events := log.events()
	if want := []string{"in force " + one.Version(), "refused ", "in force " + two.Version()}; !slices.Equal(events[:3], want) {
		t.Errorf("%q", events)
	}
}

// From the store, with a checkout that is watched: what is committed is in force at all
// services, what was rolled back stays so, and only signed and tested policies are.
func TestPolicyWatchedForTheStore(t *testing.T) {
	redis := redistest.Start(t)
	cfg := site(t)
	cfg.PolicySource.From, cfg.PolicySource.Watch = config.PolicyFromStore, time.Second
	write(t, string(cfg.Policy), policyNumber(1))
	other := *cfg
	other.Node = "other"
	log := new(decisions)
	a, _ := start(t, cfg, Options{Store: redis.Open(t), Audit: log, Registerer: prometheus.NewRegistry()})
	b, _ := start(t, &other, Options{Store: redis.Open(t), Audit: io.Discard, Registerer: prometheus.NewRegistry()})
	_, one := bundle(t, policyNumber(1))
	_, two := bundle(t, policyNumber(2))
	desk := activation.NewDesk(redis.Open(t))
	state := func() activation.State {
		s, err := desk.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	soon(t, generous, "the first is activated", func() bool { return state().Active.Version == one.Version() })
	write(t, string(cfg.Policy), policyNumber(2))
	soon(t, generous, "found", func() bool { return a.inForce() == two.Version() && b.inForce() == two.Version() })
	if _, err := desk.Rollback(t.Context(), state(), "", activation.By{Who: "bob"}); err != nil {
		t.Fatal(err)
	}
	soon(t, generous, "rolled back", func() bool { return a.inForce() == one.Version() && b.inForce() == one.Version() })
	// Errors of the linter are refused there as well: a permit without a factor from anywhere.
	write(t, string(cfg.Policy), strings.Replace(policyNumber(3), "accept: [permit-without-factor], ", "", 1))
	soon(t, generous, "refused", func() bool {
		events, err := desk.History(t.Context(), 1)
		return err == nil && len(events) == 1 && events[0].Action == activation.Refused && strings.Contains(events[0].Error, "permit-without-factor")
	})
	if a.inForce() != one.Version() || b.inForce() != one.Version() {
		t.Error("what was rolled back is in force")
	}
}

// New gives back what it took when there is no policy to begin with.
func TestStoreWithoutPolicy(t *testing.T) {
	cfg := site(t)
	cfg.PolicySource.From = config.PolicyFromStore
	cfg.Policy += ".gone"
	if _, err := New(cfg, Options{Audit: io.Discard}); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	st, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
}
