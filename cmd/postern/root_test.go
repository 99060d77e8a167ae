package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestDoubleDashes(t *testing.T) {
	for in, want := range map[string]string{
		"-config f -test":           "--config f --test",
		"-config=f -version":        "--config=f --version",
		"--config f --test":         "--config f --test",
		"-o json -q user list":      "-o json -q user list",
		"user add -g x -- -test":    "user add -g x -- -test",
		"-configuration -t -tested": "-configuration -t -tested",
	} {
		if got := doubleDashes(strings.Fields(in)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s became %q", in, got)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"-version"}, {"--version"}, {"version"}} {
		if out, errs, err := run("", args...); err != nil || errs != "" || !strings.HasPrefix(out, "postern ") || !strings.Contains(out, "go1.") {
			t.Errorf("%v: %q %q %v", args, out, errs, err)
		}
		var v struct{ Version, Go, Platform string }
		(&site{}).asked(t, &v, args...)
		if v.Version == "" || !strings.HasPrefix(v.Go, "go1.") || !strings.Contains(v.Platform, "/") {
			t.Errorf("%v: %+v", args, v)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	s := newSite(t)
	s.must(t, "correct horse", "user", "add", "alice")
	for _, flag := range []string{"-test", "--test"} {
		if out := s.must(t, "", flag); out != s.path("radiusd.yaml")+" is right\n" {
			t.Errorf("%s: %s", flag, out)
		}
	}
	var v struct {
		Config string
		OK     bool
	}
	if s.asked(t, &v, "-test"); !v.OK || v.Config != s.path("radiusd.yaml") {
		t.Errorf("%+v", v)
	}
	if _, err := os.Stat(s.path("state")); err == nil {
		t.Error("-test opened the store")
	}
	s.write(t, "policy.yaml", "version: 2\n")
	s.write(t, "users", s.read(t, "users")+"eve nonsense\n")
	s.fails(t, "", "policy.yaml:1:10: ", "-test") // every mistake, not the first
	s.fails(t, "", "users:3:5: ", "-test")
	s.write(t, "radiusd.yaml", siteConfig+"adit: {}\n")
	s.fails(t, "", `radiusd.yaml:9:1: unknown key "adit", did you mean "audit"?`, "-test")
}

// Each command refuses a format that it has not, before it does anything.
func TestFormatIsChecked(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{
		{"user", "add", "alice"}, {"mfa", "list"}, {"lockout", "clear", "x"}, {"session", "list"}, {"policy", "check"}, {"keyring", "rotate"},
	} {
		s.fails(t, "correct horse", "-o yaml: want table or json", append([]string{"-o", "yaml"}, args...)...)
	}
	if _, err := os.Stat(s.path("users")); err == nil {
		t.Error("an account was made all the same")
	}
}

// No configuration, and each command that needs one says so.
func TestConfigurationIsMissing(t *testing.T) {
	for _, args := range [][]string{
		{"-test"}, {"user", "list"}, {"user", "add", "x"}, {"mfa", "list"}, {"lockout", "show", "x"}, {"session", "list"},
		{"session", "history"}, {"session", "end", "x"}, {"policy", "check"}, {"policy", "test"}, {"keyring", "create"}, {"keyring", "rotate"}, {"keyring", "reseal"},
	} {
		out, _, err := run("x", append([]string{"--config", "/nonexistent/x.yaml"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), "/nonexistent/x.yaml: no such file") || out != "" {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if c := newRoot(&cli{}).PersistentFlags().Lookup("config"); c.DefValue != "/etc/postern/radiusd.yaml" {
		t.Errorf("the default is %s", c.DefValue)
	}
}

// Every command says what it does, and none takes a password as an argument or flag.
func TestEveryCommand(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.RunE == nil {
			t.Errorf("%s: %q, runs %v", c.CommandPath(), c.Short, c.RunE != nil)
		}
		for _, name := range []string{"password", "pass", "secret", "code"} {
			if c.Flags().Lookup(name) != nil {
				t.Errorf("%s --%s: the process list shows it to everybody", c.CommandPath(), name)
			}
		}
		if c.HasSubCommands() && c.HasParent() {
			if out, _, err := run("", strings.Fields(c.CommandPath())[1:]...); err == nil || !strings.Contains(out, "Available Commands:") {
				t.Errorf("%s: %v\n%s", c.CommandPath(), err, out)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&cli{}))
}
