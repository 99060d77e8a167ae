package policy

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

type formatCase struct{ name, src, want string }

func readFormats(t testing.TB) (head string, cases []formatCase) {
	b, err := os.ReadFile(filepath.Join("testdata", "format.txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "\n== ")
	for _, block := range strings.Split(strings.TrimSuffix(rest, "\n"), "\n== ") {
		name, block, _ := strings.Cut(block+"\n", "\n")
		src, want, ok := strings.Cut(block, "\n--\n")
		if !ok {
			t.Fatalf("case %q has no --", name)
		}
		if src += "\n"; want == "" {
			want = src
		}
		cases = append(cases, formatCase{name, src, want})
	}
	return head, cases
}

// comments are those of a file, sorted.
func comments(src string) (all []string) {
	for _, t := range lexer.Tokenize(newlines.Replace(src)) {
		if t.Type == token.CommentType {
			all = append(all, strings.TrimRight(t.Value, " \t\n"))
		}
	}
	slices.Sort(all)
	return all
}

func TestFormat(t *testing.T) {
	head, cases := readFormats(t)
	var out strings.Builder
	out.WriteString(head + "\n")
	for _, c := range cases {
		got, err := Format("p.yaml", []byte(c.src))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if string(got) != c.want && !*update {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if before, after := comments(c.src), comments(string(got)); !slices.Equal(before, after) {
			t.Errorf("%s: comments %q became %q", c.name, before, after)
		}
		again, err := Format("p.yaml", got)
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: a second time: %v\n%s", c.name, err, again)
		}
		out.WriteString("== " + c.name + "\n" + c.src + "--\n")
		if string(got) != c.src {
			out.Write(got)
		}
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "format.txt"), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for src, want := range map[string]string{
		"version: 1\nrules: [":                 "p.yaml:2:8: not YAML",
		"- a":                                  "p.yaml:1:1: a list is not possible here",
		"rules: &x []":                         "p.yaml:1:8: anchors",
		"rules: !!seq []":                      "p.yaml:1:8: tags",
		"rules: [{<<: a}]":                     "p.yaml:1:10: this cannot be a key",
		"filters: {f: [{allow: {to: ::1}}]}\n": "",
		"filters: {f: [{allow: {to: {1:db8::}}}]}": "p.yaml:1:28: an IPv6 address inside braces needs quotes",
	} {
		out, err := Format("p.yaml", []byte(src))
		var all Errors
		switch {
		case want == "" && err == nil:
		case out != nil || !errors.As(err, &all) || !strings.HasPrefix(err.Error(), want):
			t.Errorf("%s: %s %v", src, out, err)
		}
	}
}

// sameDecisions fails unless both policies decide alike.
func sameDecisions(t *testing.T, a, b *Policy) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 12))
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for range 50 {
		f := someFacts(r)
		x, y := a.Evaluate(at, f), b.Evaluate(at, f)
		x.Version, y.Version = "", ""
		if x.Shadow != nil && y.Shadow != nil {
			sx, sy := *x.Shadow, *y.Shadow
			sx.Version, sy.Version = "", ""
			x.Shadow, y.Shadow = &sx, &sy
		}
		if !reflect.DeepEqual(x, y) {
			t.Fatalf("%+v: %+v, and formatted %+v", f, x, y)
		}
	}
	if !reflect.DeepEqual(a.Pools(), b.Pools()) {
		t.Fatalf("pools %v, and formatted %v", a.Pools(), b.Pools())
	}
	x, y := a.RunTests(), b.RunTests()
	if len(x) != len(y) {
		t.Fatalf("%d tests, and formatted %d", len(x), len(y))
	}
	for i := range x {
		if x[i].Name != y[i].Name || (x[i].Err == nil) != (y[i].Err == nil) || x[i].Decision.RuleID != y[i].Decision.RuleID {
			t.Fatalf("test %+v, and formatted %+v", x[i], y[i])
		}
	}
}

// mess is the text in another shape of the same meaning: indented and spaced otherwise,
// with comments put in.
func mess(r *rand.Rand, src string) string {
	var b strings.Builder
	for line := range strings.Lines(src) {
		line = strings.TrimRight(line, "\n")
		blank := len(line) - len(strings.TrimLeft(line, " "))
		if r.IntN(4) == 0 {
			b.WriteString(strings.Repeat("\n", r.IntN(3)) + strings.Repeat(" ", 2*blank) + "# above " + strings.TrimSpace(strings.ReplaceAll(line, "#", "")) + "\n")
		}
		rest := strings.ReplaceAll(line[blank:], ": ", ":  ")
		if strings.HasPrefix(rest, "- ") {
			rest = "-   " + rest[2:]
		}
		b.WriteString(strings.Repeat(" ", 2*blank) + rest)
		if r.IntN(4) == 0 && !strings.Contains(line, "#") {
			b.WriteString(strings.Repeat(" ", 1+r.IntN(3)) + "# beside " + strings.TrimSpace(line))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestFormatKeepsMeaningAndComments: however a policy is spaced and commented, formatted
// it decides the same, has the same comments, and formatting it again changes nothing.
func TestFormatKeepsMeaningAndComments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	p := load(t, sample)
	shape, err := Format("p.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	sameDecisions(t, p, load(t, string(shape)))
	for range 60 {
		src := mess(r, sample)
		if _, err := Load("p.yaml", []byte(src)); err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		checkFormat(t, src)
		var lines []string
		out, _ := Format("p.yaml", []byte(src))
		for line := range strings.Lines(string(out)) {
			if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		for line := range strings.Lines(string(shape)) {
			if len(lines) == 0 || strings.TrimSpace(line) != lines[0] {
				t.Fatalf("line %q became %q in\n%s", line, lines[0], out)
			}
			lines = lines[1:]
		}
	}
}

// checkFormat has Format's promises. It says whether there was anything to check.
func checkFormat(t *testing.T, src string) bool {
	t.Helper()
	out, err := Format("p.yaml", []byte(src))
	before, loadErr := Load("p.yaml", []byte(src))
	if err != nil {
		var all Errors
		if out != nil || !errors.As(err, &all) {
			t.Fatalf("%v", err)
		}
		if loadErr == nil {
			t.Fatalf("a policy that is not formatted: %v\n%s", err, src)
		}
		return false
	}
	again, err := Format("p.yaml", out)
	if err != nil || string(again) != string(out) {
		t.Fatalf("a second time: %v\n%s\nbecomes\n%s\nthe file is\n%s", err, out, again, src)
	}
	if b, a := comments(src), comments(string(out)); !slices.Equal(b, a) {
		t.Fatalf("comments %q became %q in\n%s", b, a, out)
	}
	if loadErr == nil {
		after, err := Load("p.yaml", out)
		if err != nil {
			t.Fatalf("%v\nin\n%s\nwhich was\n%s", err, out, src)
		}
		sameDecisions(t, before, after)
	}
	return true
}

// FuzzFormat: what is formatted is formatted the same again, has all its comments, and
// means what it meant.
func FuzzFormat(f *testing.F) {
	f.Add(sample)
	_, cases := readFormats(f)
	for _, c := range cases {
		f.Add(c.src)
		f.Add(strings.ReplaceAll(c.src, "\n", "\r\n"))
	}
	_, broken := readBroken(f)
	for _, c := range broken {
		f.Add(c.src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 8192 {
			return // the YAML parser's work grows with the square
		}
		checkFormat(t, src)
	})
}
