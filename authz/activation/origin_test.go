package activation

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The commit is the one that git names, in a checkout, a worktree, and after git has put
// its refs into one file.
func TestOrigin(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skipf("needs git: %v", err)
	}
	dir := t.TempDir()
	git := func(where string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", where, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", cmd, out)
		}
		return strings.TrimSpace(string(out))
	}
	repo := filepath.Join(dir, "repo")
	write(t, repo, "vpn/policy.yaml", goodText)
	git(dir, "init", "-q", repo)
	name := filepath.Join(repo, "vpn", "policy.yaml")
	if got := Origin(name); got != name {
		t.Errorf("without a commit: %q", got)
	}
	git(repo, "add", ".")
	git(repo, "commit", "-q", "-m", "first")
	want := "git " + git(repo, "rev-parse", "HEAD") + " vpn/policy.yaml"
	if got := Origin(name); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	tree := filepath.Join(dir, "tree")
	git(repo, "worktree", "add", "-q", tree, "-b", "other")
	if got := Origin(filepath.Join(tree, "vpn", "policy.yaml")); got != want {
		t.Errorf("worktree: %q, want %q", got, want)
	}
	git(repo, "pack-refs", "--all")
	if got := Origin(name); got != want {
		t.Errorf("packed: %q, want %q", got, want)
	}
	git(repo, "checkout", "-q", "--detach")
	if got := Origin(name); got != want {
		t.Errorf("detached: %q, want %q", got, want)
	}
	if got := Origin(filepath.Join(dir, "p.yaml")); got != filepath.Join(dir, "p.yaml") {
		t.Errorf("outside: %q", got)
	}
}
