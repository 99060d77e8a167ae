package policy

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the texts in testdata/broken.txt")

type brokenCase struct{ name, src, want string }

// readBroken reads testdata/broken.txt; head is its comment.
func readBroken(t testing.TB) (head string, cases []brokenCase) {
	b, err := os.ReadFile(filepath.Join("testdata", "broken.txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "\n== ")
	for _, block := range strings.Split(rest, "\n== ") {
		name, block, _ := strings.Cut(block+"\n", "\n")
		src, want, ok := strings.Cut("\n"+block, "\n--\n")
		if !ok {
			t.Fatalf("case %q has no --", name)
		}
		src = strings.TrimPrefix(src, "\n")
		if src != "" {
			src += "\n"
		}
		cases = append(cases, brokenCase{name, src, strings.TrimRight(want, "\n")})
	}
	return head, cases
}

func TestBrokenFiles(t *testing.T) {
	head, cases := readBroken(t)
	if len(cases) < 60 {
		t.Errorf("%d cases, want 60 or more", len(cases))
	}
	var out strings.Builder
	out.WriteString(head + "\n")
	for _, c := range cases {
		opts := []Option{Tested()}
		if c.name == "unknown groups" {
			opts = append(opts, Groups([]string{"VPN-Users", "Admins"}))
		}
		p, err := Load("p.yaml", []byte(c.src), opts...)
		var all Errors
		if p != nil || !errors.As(err, &all) {
			t.Errorf("%s: policy %v, error %v; want Errors", c.name, p, err)
			continue
		}
		if got := err.Error(); got != c.want && !*update {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		out.WriteString("== " + c.name + "\n" + c.src + "--\n" + err.Error() + "\n")
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "broken.txt"), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
