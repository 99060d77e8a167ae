package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/authz/activation"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store/redistest"
)

// strictText is the site's policy as a linter lets it through.
var strictText = strings.Replace(cmdtest.PolicyText, "  - id: plant\n", "  - id: plant\n    accept: [permit-without-factor]\n", 1)

// activatedSite is a site whose services take their policy from a Redis.
func activatedSite(t *testing.T) (*site, *redistest.Server) {
	t.Helper()
	s, redis := newSite(t), redistest.Start(t)
	text := strings.Replace(s.read(t, "radiusd.yaml"), "store: {path: state/store.db}", "store: {kind: redis, urls: ['"+redis.URL()+"']}", 1)
	s.write(t, "radiusd.yaml", text+"policy: {from: store}\n")
	s.write(t, "policy.yaml", strictText)
	s.must(t, "x", "user", "add", "alice")
	return s, redis
}

// runs starts a service of the site under a name.
func (s *site) runs(t *testing.T, redis *redistest.Server, name string) *service.Service {
	t.Helper()
	cfg, err := config.LoadService(s.path("radiusd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Node, cfg.Radius.Auth, cfg.Clients = config.Name(name), "", nil
	svc, err := service.New(cfg, service.Options{Store: redis.Open(t), Audit: new(strings.Builder)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	if err := svc.Start(); err != nil {
		t.Fatal(err)
	}
	return svc
}

type activatedJSON struct {
	Version, Before string
	Serial          uint64
	Done            bool
	Changes         []json.RawMessage
	Services        []switchedJSON
}

func TestPolicyActivate(t *testing.T) {
	s, redis := activatedSite(t)
	s.fails(t, "", "nothing is activated", "policy", "show")
	s.fails(t, "", "nothing was in force before", "policy", "rollback", "--yes")
	if out := s.must(t, "", "policy", "activate", "--yes", "--comment", "first"); !strings.Contains(out, "nothing was activated before") || !strings.Contains(out, "serial 1") {
		t.Error(out)
	}
	s.runs(t, redis, "one")
	s.runs(t, redis, "two")
	draft := s.path("draft.yaml")
	s.write(t, "draft.yaml", strings.Replace(strictText, "8h", "6h", 1))
	// People are asked, and see what changes.
	out, _, err := s.run("", "policy", "activate", draft)
	if err == nil || !strings.Contains(err.Error(), "--yes") || !strings.Contains(out, "~ rule staff\n    session_timeout: 8h0m0s -> 6h0m0s\n") || !strings.Contains(out, "1 tests pass") {
		t.Errorf("%v\n%s", err, out)
	}
	var v activatedJSON
	began := time.Now()
	s.asked(t, &v, "policy", "activate", "--yes", "--comment", "shorter", draft)
	t.Logf("activated at two services in %v", time.Since(began))
	if !v.Done || v.Serial != 2 || len(v.Services) != 2 || !v.Services[0].OK || !v.Services[1].OK || v.Services[1].Service != "two" || v.Services[0].Version != v.Version ||
		len(v.Changes) != 1 || v.Before == "" {
		t.Fatalf("%+v", v)
	}
	if out := s.must(t, "", "policy", "activate", "--yes", draft); !strings.Contains(out, "is in force already") {
		t.Error(out)
	}
	if out := s.must(t, "", "policy", "show"); out != s.read(t, "draft.yaml") {
		t.Error(out)
	}
	if out := s.must(t, "", "policy", "show", v.Before[:6]); out != strictText {
		t.Error(out)
	}
	for args, want := range map[string]string{
		"policy diff":                               "session_timeout: 6h0m0s -> 8h0m0s", // of what is in force by policy_file
		"policy diff " + draft:                      "nothing that counts",
		"policy diff " + v.Before + " " + draft:     "session_timeout: 8h0m0s -> 6h0m0s",
		"policy diff " + v.Version + " " + v.Before: "session_timeout: 6h0m0s -> 8h0m0s",
		"policy status":                             "shorter",
	} {
		if out := s.must(t, "", strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("%s: %s", args, out)
		}
	}

	// A candidate, and its end.
	var c activatedJSON
	s.asked(t, &c, "policy", "activate", "--shadow", "--yes", s.path("policy.yaml"))
	if !c.Done || c.Version != v.Before || len(c.Services) != 2 || !c.Services[0].OK {
		t.Errorf("%+v", c)
	}
	s.must(t, "", "policy", "withdraw")
	s.fails(t, "", "no candidate", "policy", "withdraw")

	var back activatedJSON
	began = time.Now()
	s.asked(t, &back, "policy", "rollback", "--yes", "--comment", "too short")
	if took := time.Since(began); back.Version != v.Before || back.Before != v.Version || len(back.Services) != 2 || !back.Services[0].OK || took > 2*time.Second {
		t.Errorf("%+v after %v", back, took)
	}

	// Nothing that is broken gets as far.
	for text, want := range map[string]string{
		strings.Replace(strictText, "rule: staff, factor: code", "rule: plant", 1): "fails: rule staff, not plant",
		strictText + "nonsense: 1\n": `unknown key "nonsense"`,
		cmdtest.PolicyText:           "[permit-without-factor]",
	} {
		s.write(t, "draft.yaml", text)
		s.fails(t, "", want, "policy", "activate", "--yes", draft)
	}
	var events []activation.Event
	s.asked(t, &events, "policy", "history")
	var said []string
	for _, e := range events {
		said = append(said, e.Action.String())
	}
	if got := strings.Join(said, " "); got != "activate activate shadow withdraw rollback refused refused refused" {
		t.Error(got)
	}
	if e := events[1]; e.Comment != "shorter" || e.Before != v.Before || e.After != v.Version || e.From != draft || !strings.Contains(e.Who, "@") || e.At.IsZero() {
		t.Errorf("%+v", e)
	}
	if out := s.must(t, "", "policy", "history", "-n", "4"); !strings.Contains(out, "too short") || strings.Contains(out, "shorter") {
		t.Error(out)
	}
}

// A service that refuses is named, and the status says so.
func TestPolicyActivateWhereItCannotBe(t *testing.T) {
	s, redis := activatedSite(t)
	s.must(t, "", "policy", "activate", "--yes")
	s.runs(t, redis, "fine")
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Skipf("needs ssh-keygen: %v %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	// A host where signatures are asked for; the operator's asks for none.
	plain := s.read(t, "radiusd.yaml")
	s.write(t, "signers", "alice "+string(public))
	s.write(t, "radiusd.yaml", strings.Replace(plain, "{from: store}", "{from: store, signers_file: signers}", 1))
	s.must(t, "", "policy", "sign", "--key", key)
	s.must(t, "", "policy", "rollback", "--help")
	draft := s.path("draft.yaml")
	s.write(t, "draft.yaml", strings.Replace(strictText, "8h", "6h", 1))
	s.fails(t, "", "it is not signed", "policy", "activate", "--yes", draft)
	s.runs(t, redis, "strict") // what is activated is not signed: it has none
	s.write(t, "radiusd.yaml", plain)
	out, _, err := s.run("", "-o", "json", "policy", "activate", "--yes", draft)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 services have not switched") {
		t.Errorf("%v\n%s", err, out)
	}
	var v activatedJSON
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Services) != 2 || !v.Services[0].OK || v.Services[1].OK || !strings.Contains(v.Services[1].Error, "not signed") {
		t.Errorf("%s: %v", out, err)
	}
	// Signed by who may, it is in force at both.
	s.write(t, "radiusd.yaml", strings.Replace(plain, "{from: store}", "{from: store, signers_file: signers}", 1))
	s.write(t, "draft.yaml", strings.Replace(strictText, "8h", "7h", 1))
	s.must(t, "", "policy", "sign", "--key", key, draft)
	if out := s.must(t, "", "policy", "activate", "--yes", draft); !strings.Contains(out, "signed by alice") || strings.Count(out, "after ") != 2 {
		t.Error(out)
	}
}

// Where policies come from files nothing is activated; two files are compared all the same.
func TestPolicyFilesAlone(t *testing.T) {
	s := newSite(t)
	s.fails(t, "", "policy.from is file", "policy", "activate", "--yes")
	s.fails(t, "", "policy.from is file", "policy", "rollback", "--yes")
	s.write(t, "draft.yaml", strings.Replace(cmdtest.PolicyText, "8h", "6h", 1))
	if out := s.must(t, "", "policy", "diff", s.path("draft.yaml")); !strings.Contains(out, "session_timeout: 8h0m0s -> 6h0m0s") {
		t.Error(out)
	}
	if out := s.must(t, "", "policy", "manifest"); !strings.HasPrefix(out, "postern policy 1\n") || !strings.HasSuffix(out, "  policy.yaml\n") {
		t.Error(out)
	}
	s.fails(t, "", "ssh-keygen", "policy", "sign", "--key", s.path("none"))
}
