package housekeeping

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment: which RFC, which sections, what is left out", p.ImportPath)
		}
	}
}

// trackedFiles are the files git knows of: what a clone would hold.
func trackedFiles(t *testing.T, patterns ...string) []string {
	t.Helper()
	top := root(t)
	out := string(output(t, top, "git", append([]string{"ls-files", "-z", "--"}, patterns...)...))
	var files []string
	for name := range strings.SplitSeq(strings.TrimRight(out, "\x00"), "\x00") {
		// A file may be deleted in the work tree and not yet in the index.
		if path := filepath.Join(top, name); name != "" && exists(path) {
			files = append(files, path)
		}
	}
	return files
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestNoLargeFile(t *testing.T) {
	for _, f := range trackedFiles(t) {
		info, err := os.Lstat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 1<<20 {
			t.Errorf("%s has %d octets; a clone should stay small: generate it or cut it", f, info.Size())
		}
	}
}

// Unfinished work belongs into an issue, where somebody looks for it.
func TestNothingLeftForLater(t *testing.T) {
	mark := regexp.MustCompile(`(?i)//.*\b(to[d]o|fix[m]e|not [i]mplemented|in a real [s]ystem)\b`) // does not fit itself
	for _, f := range trackedFiles(t, "*.go") {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if m := mark.Find(src); m != nil {
			t.Errorf("%s: %s", f, m)
		}
	}
}

// A function that is named after parsing and takes bytes reads what a stranger
// wrote, so its package has a fuzz target. Programs are exempt: what they parse
// is their own command line.
func TestParsersAreFuzzed(t *testing.T) {
	for _, p := range packages(t) {
		if p.Name == "main" || fits("integration/...", p.path()) {
			continue
		}
		parsers := functions(t, p.Dir, slices.Concat(p.GoFiles, p.CgoFiles), isParser)
		if len(parsers) == 0 {
			continue
		}
		if fuzz := functions(t, p.Dir, slices.Concat(p.TestGoFiles, p.XTestGoFiles), isFuzz); len(fuzz) == 0 {
			t.Errorf("%s parses (%s) and has no fuzz target", p.ImportPath, strings.Join(parsers, ", "))
		}
	}
}

func isFuzz(f *ast.FuncDecl) bool { return strings.HasPrefix(f.Name.Name, "Fuzz") }

func isParser(f *ast.FuncDecl) bool {
	name := strings.ToLower(f.Name.Name)
	if !strings.HasPrefix(name, "parse") && !strings.HasPrefix(name, "decode") {
		return false
	}
	return slices.ContainsFunc(f.Type.Params.List, func(p *ast.Field) bool {
		a, ok := p.Type.(*ast.ArrayType)
		if !ok || a.Len != nil {
			return false
		}
		elem, ok := a.Elt.(*ast.Ident)
		return ok && elem.Name == "byte"
	})
}

func functions(t *testing.T, dir string, files []string, want func(*ast.FuncDecl) bool) []string {
	t.Helper()
	var names []string
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && want(fn) {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
