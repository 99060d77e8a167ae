package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A module of its own, so that what it holds is nobody's test but this one's.
func module(t *testing.T, body string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module sample\n\ngo 1.26\n",
		"a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestQuiet(t *testing.T) { t.Log(\"chatter\") }\n\n" + body,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestRun(t *testing.T) {
	const skip = "func TestSkips(t *testing.T) { t.Skip(\"no server here\") }\n"
	const fail = "func TestFails(t *testing.T) { t.Error(\"wrong answer\") }\n"
	const died = "func TestDies(t *testing.T) { panic(\"at once\") }\n"
	for _, c := range []struct {
		name, body string
		strict     bool
		code       int
		says       []string
	}{
		{"pass", "", true, 0, []string{"ok  \tsample"}},
		{"skip tolerated", skip, false, 0, []string{"no server here", "ok  \tsample"}},
		{"skip refused", skip, true, 1, []string{"no server here", "FAIL: skipped", "TestSkips"}},
		{"fail", fail, false, 1, []string{"wrong answer", "--- FAIL: TestFails", "FAIL\tsample", "FAIL: sample TestFails\n    a_test.go:7: wrong answer\n"}},
		{"panic", died, false, 1, []string{"panic: at once", "FAIL\tsample"}},
		{"no build", "func nonsense() { return 1 }\n", false, 1, []string{"too many return values", "FAIL\tsample"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			module(t, c.body)
			var out bytes.Buffer
			if code := run([]string{"./..."}, &out, c.strict); code != c.code {
				t.Errorf("exit status %d, want %d", code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("output lacks %q:\n%s", s, &out)
				}
			}
			if c.name == "pass" && strings.Contains(out.String(), "chatter") {
				t.Errorf("a passing test is quoted:\n%s", &out)
			}
		})
	}
}
