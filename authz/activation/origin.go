package activation

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// Origin says where a file is, for the history: its name, and before it the commit that is
// checked out there, when it lies in a git checkout. What is in force is known by its
// content; this tells people where to look for its story.
func Origin(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	for dir := filepath.Dir(abs); ; dir = filepath.Dir(dir) {
		if commit := headOf(filepath.Join(dir, ".git")); commit != "" {
			if rel, err := filepath.Rel(dir, abs); err == nil {
				return "git " + commit + " " + rel
			}
		}
		if dir == filepath.Dir(dir) {
			return abs
		}
	}
}

// headOf is the commit that a repository's HEAD means (gitrepository-layout(5)); "": there
// is none. It runs no git: that would do what the checkout's configuration says.
func headOf(git string) string {
	if text := line(git); strings.HasPrefix(text, "gitdir: ") { // a worktree or a submodule
		git = join(filepath.Dir(git), strings.TrimPrefix(text, "gitdir: "))
	}
	head := line(filepath.Join(git, "HEAD"))
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		return commit(head)
	}
	if !strings.HasPrefix(ref, "refs/") || strings.Contains(ref, "..") {
		return ""
	}
	common := git
	if text := line(filepath.Join(git, "commondir")); text != "" {
		common = join(git, text)
	}
	for _, dir := range []string{git, common} {
		if c := commit(line(filepath.Join(dir, filepath.FromSlash(ref)))); c != "" {
			return c
		}
	}
	return packed(filepath.Join(common, "packed-refs"), ref)
}

func join(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// line is the first line of a small file; "" where there is none.
func line(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [1024]byte
	n, _ := f.Read(b[:]) // a directory has no line either
	text, _, _ := strings.Cut(string(b[:n]), "\n")
	return strings.TrimSpace(text)
}

// packed finds a ref among those that git has put into one file.
func packed(name, ref string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if c, found := strings.CutSuffix(s.Text(), " "+ref); found {
			return commit(c)
		}
	}
	return ""
}

// commit is the name of a commit, of either hash.
func commit(s string) string {
	if hexadecimal(s, 40) || hexadecimal(s, 64) {
		return s
	}
	return ""
}
