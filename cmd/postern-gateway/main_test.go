package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/internal/cmdtest"
)

func TestMain(m *testing.M) { os.Exit(cmdtest.Main(m, program, "postern-radiusd", "postern")) }

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"-version", 0, "postern-gateway "},
		{"--version", 0, "linux/"},
		{"-help", 0, "-config FILE"},
		{"", 2, "-config FILE is missing"},
		{"-config", 2, "flag needs an argument"},
		{"-config x y", 2, `unexpected argument "y"`},
		{"-listen :1723", 2, "flag provided but not defined: -listen"},
		{"-config /nonexistent/gateway.yaml -test", 1, "/nonexistent/gateway.yaml: no such file"},
	} {
		r := cmdtest.Run(t, "", program, strings.Fields(c.args)...)
		if r.Status != c.status || !strings.Contains(r.Out+r.Errs, c.says) {
			t.Errorf("%s: status %d, want %d and %q:\n%s%s", c.args, r.Status, c.status, c.says, r.Out, r.Errs)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	s := cmdtest.NewSite(t)
	for _, flag := range []string{"-test", "--test"} {
		if out := cmdtest.Must(t, "", program, "-config", s.Gateway, flag); out != s.Gateway+" is right\n" {
			t.Errorf("%s: %q", flag, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "spool*")); len(left) > 0 {
		t.Errorf("-test made %v", left)
	}

	t.Run("every mistake with its place", func(t *testing.T) {
		s := cmdtest.NewSite(t)
		s.Edit(t, "gateway.yaml", "drain: 2s", "drian: 2s")
		s.Edit(t, "gateway.yaml", "timeout: 1s", "timeout: never")
		r := cmdtest.Run(t, "", program, "-config", s.Gateway, "-test")
		if r.Status != 1 {
			t.Errorf("status %d", r.Status)
		}
		for _, want := range []string{
			s.Gateway + `:2:`, `unknown key "drian", did you mean "drain"?`,
			s.Gateway + `:4:12: "never": not a duration`, "expected a duration such as 30s",
		} {
			if !strings.Contains(r.Errs, want) {
				t.Errorf("no %q in\n%s", want, r.Errs)
			}
		}
	})
	t.Run("certificates and secrets too", func(t *testing.T) {
		s := cmdtest.NewSite(t)
		s.Edit(t, "gateway.yaml", "}]", "}, {name: other, transport: udp, address: 127.0.0.1:1812, acct_address: 127.0.0.1:1813, secret_file: gone}]")
		if err := os.Remove(filepath.Join(s.Dir, "tls", "gw1.key")); err != nil {
			t.Fatal(err)
		}
		r := cmdtest.Run(t, "", program, "-config", s.Gateway, "-test")
		if r.Status != 1 || !strings.Contains(r.Errs, "gw1.key") || !strings.Contains(r.Errs, "server other: read secret") {
			t.Errorf("status %d:\n%s", r.Status, r.Errs)
		}
	})
	t.Run("udp to other hosts is allowed for all or none", func(t *testing.T) {
		s := cmdtest.NewSite(t)
		udp := ", {name: %, transport: udp, address: 192.0.2.1:1812, acct_address: 192.0.2.1:1813, secret_file: secret%}"
		a := strings.Replace(strings.Replace(udp, "%", "a", 1), "%", ", allow_mschap_over_udp: true", 1)
		b := strings.Replace(strings.Replace(udp, "%", "b", 1), "%", "", 1)
		s.Edit(t, "gateway.yaml", "}]", "}"+a+"]")
		cmdtest.Must(t, "", program, "-config", s.Gateway, "-test")
		s.Edit(t, "gateway.yaml", a, a+b)
		r := cmdtest.Run(t, "", program, "-config", s.Gateway, "-test")
		if r.Status != 1 || !strings.Contains(r.Errs, "servers a and b: allow_mschap_over_udp must be the same") {
			t.Errorf("status %d:\n%s", r.Status, r.Errs)
		}
	})
}

// A node is what an attacker reaches first.
func TestNothingToGiveAway(t *testing.T) {
	b, err := os.ReadFile(cmdtest.Path(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postern/authz", "postern/policy", "postern/internal/store", "redis/go-redis", "go-ldap/ldap", "pquerna/otp", "bbolt"} {
		if strings.Contains(string(b), name) {
			t.Errorf("the binary contains %s", name)
		}
	}
	if strings.Contains(string(b), "ld-linux") {
		t.Error("the binary is not static")
	}
}

func contains(s string, all ...string) bool {
	for _, want := range all {
		if !strings.Contains(s, want) {
			return false
		}
	}
	return true
}
