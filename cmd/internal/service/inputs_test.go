package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/authz"
	"postern/authz/inputs"
	"postern/cmd/internal/cmdtest"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/policy"
)

// What a service decides by RADIUS is on its disk when it has ended, by the ID that the
// audit log has, and comes to the same when it is decided again.
func TestInputsOfLogins(t *testing.T) {
	cfg := site(t)
	dir := filepath.Dir(string(cfg.Policy))
	cfg.Inputs = config.Inputs{Dir: config.File(filepath.Join(dir, "inputs")), Keep: 24 * time.Hour}
	s, c := start(t, cfg, Options{})
	cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	cmdtest.Expect(t, c, "plant", "wrong", "s2", radius.CodeAccessReject)
	s.Stop()

	p, err := policy.Load("policy.yaml", []byte(cmdtest.PolicyText))
	if err != nil {
		t.Fatal(err)
	}
	audit, err := os.ReadFile(filepath.Join(dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(audit)); lines.Scan(); {
		var line struct{ Msg, Decision, Verdict, Reason, Rule, Policy, User string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg != "login" {
			continue
		}
		n++
		at, ok := authz.DecisionTime(line.Decision)
		if !ok {
			t.Fatalf("%+v", line)
		}
		list, err := inputs.Find(line.Decision, at, string(cfg.Inputs.Dir))
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		r := &list[0]
		if r.Verdict != line.Verdict || r.Reason != line.Reason || r.Rule != line.Rule || r.Policy != line.Policy || r.Facts.User != line.User || r.Asked != (line.Rule != "") {
			t.Errorf("kept %+v\naudited %+v", r, line)
		}
		if d := p.Evaluate(r.At, &r.Facts); r.Asked && (d.RuleID != r.Rule || d.Verdict != r.Outcome || d.Version != r.Policy) {
			t.Errorf("decided again: %+v\nkept %+v", d, r)
		}
	}
	if n != 2 {
		t.Errorf("%d audit lines", n)
	}
	if info, err := os.Stat(string(cfg.Inputs.Dir)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// A directory that others may read is refused, by the check and at the start.
func TestInputsDirectoryIsOpen(t *testing.T) {
	cfg := site(t)
	cfg.Inputs = config.Inputs{Dir: config.File(t.TempDir()), Keep: time.Hour}
	if err := os.Chmod(string(cfg.Inputs.Dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Check(cfg); err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("check: %v", err)
	}
	s, err := New(cfg, Options{})
	if err == nil {
		s.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("start: %v", err)
	}
}
