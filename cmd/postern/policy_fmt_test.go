package main

import (
	"os"
	"strings"
	"testing"

	"postern/cmd/internal/cmdtest"
)

func TestPolicyFormat(t *testing.T) {
	s := newSite(t)
	untidy := "rules:\n- then:   deny # shut\n  id: a\nversion: 1\n"
	const tidy = "version: 1\nrules:\n  - id: a\n    then: deny # shut\n"
	s.write(t, "tidy.yaml", tidy)
	s.write(t, "untidy.yaml", untidy)
	if err := os.Chmod(s.path("untidy.yaml"), 0o640); err != nil {
		t.Fatal(err)
	}
	if out := s.must(t, "", "policy", "fmt", s.path("untidy.yaml")); out != tidy {
		t.Errorf("%q", out)
	}
	if out := s.must(t, untidy, "policy", "fmt", "-"); out != tidy {
		t.Errorf("%q", out)
	}
	if out := s.must(t, "", "policy", "fmt", "--check", s.path("tidy.yaml")); out != "" {
		t.Errorf("%q", out)
	}
	out, _, err := s.run("", "policy", "fmt", "--check", s.path("tidy.yaml"), s.path("untidy.yaml"))
	if err == nil || err.Error() != "1 of 2 files are not formatted" || out != s.path("untidy.yaml")+"\n" {
		t.Errorf("%q %v", out, err)
	}
	var v struct{ Files []string }
	s.asked(t, &v, "policy", "fmt", "-w", s.path("tidy.yaml"), s.path("untidy.yaml"))
	if len(v.Files) != 1 || v.Files[0] != s.path("untidy.yaml") {
		t.Errorf("%v", v)
	}
	b, err := os.ReadFile(s.path("untidy.yaml"))
	if info, _ := os.Stat(s.path("untidy.yaml")); err != nil || string(b) != tidy || info.Mode().Perm() != 0o640 {
		t.Errorf("%q %v %v", b, info, err)
	}
	if entries, _ := os.ReadDir(s.path(".")); strings.Contains(entries[0].Name(), "untidy") {
		t.Errorf("leaves %v", entries)
	}
	s.write(t, "broken.yaml", "rules: [")
	s.fails(t, "", "1:8: not YAML", "policy", "fmt", "-w", s.path("tidy.yaml"), s.path("broken.yaml"))
	s.fails(t, "", "read policy: open", "policy", "fmt", s.path("none.yaml"))
	s.fails(t, "", "-w writes", "policy", "fmt", "-w", "--check", s.path("tidy.yaml"))
	s.fails(t, "", "requires at least 1 arg", "policy", "fmt")
	if out := s.must(t, cmdtest.PolicyText, "policy", "fmt", "-"); !strings.Contains(out, "rules:") {
		t.Error(out)
	}
}
