package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type bundleCase struct {
	name  string
	files []File
	want  string
}

// readBundles reads testdata/broken-bundles.txt; head is its comment.
func readBundles(t testing.TB) (head string, cases []bundleCase) {
	b, err := os.ReadFile(filepath.Join("testdata", "broken-bundles.txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "\n== ")
	for _, block := range strings.Split(rest, "\n== ") {
		name, block, _ := strings.Cut(block+"\n", "\n")
		text, want, ok := strings.Cut(block, "--\n")
		if !ok {
			t.Fatalf("case %q has no --", name)
		}
		c := bundleCase{name: name, want: strings.TrimRight(want, "\n")}
		for _, part := range strings.Split("\n"+text, "\n-- ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			c.files = append(c.files, File{name, []byte(text)})
		}
		cases = append(cases, c)
	}
	return head, cases
}

// from reads the files of a case.
func from(files []File) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		for _, f := range files {
			if f.Name == name {
				return f.Text, nil
			}
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

func TestBrokenBundles(t *testing.T) {
	head, cases := readBundles(t)
	var out strings.Builder
	out.WriteString(head + "\n")
	for _, c := range cases {
		files, err := Collect(c.files[0].Name, from(c.files))
		if err == nil {
			_, err = LoadFiles(files, Tested())
		}
		var all Errors
		if !errors.As(err, &all) {
			t.Errorf("%s: error %v; want Errors", c.name, err)
			continue
		}
		if got := err.Error(); got != c.want && !*update {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		out.WriteString("== " + c.name + "\n")
		for _, f := range c.files {
			out.WriteString("-- " + f.Name + "\n" + string(f.Text))
		}
		out.WriteString("--\n" + err.Error() + "\n")
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "broken-bundles.txt"), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var bundle = []File{
	{"site/policy.yaml", []byte(`version: 1
include: [networks.yaml, munich/pools.yaml]
lists: {home: [192.0.2.0/24]}
rules:
  - id: plant
    when: {source: [plant, home]}
    then: {permit: {factor: none, pool: plant, filter: plant}}
tests:
  - {name: the plant, source: 10.1.2.3, expect: {verdict: permit, pool: plant, filter: plant}}
`)},
	{"site/networks.yaml", []byte("version: 1\nlists: {plant: [10.1.0.0/16]}\nfilters: {plant: [{allow: {to: [plant, home]}}]}\n")},
	{"site/munich/pools.yaml", []byte("pools: {plant: [10.30.0.0/24]}\n")},
}

func TestLoadFiles(t *testing.T) {
	files, err := Collect("site/policy.yaml", from(bundle))
	if err != nil || !reflect.DeepEqual(files, bundle) {
		t.Fatalf("%v %v", files, err)
	}
	p, err := LoadFiles(files, Tested())
	if err != nil {
		t.Fatal(err)
	}
	d := p.Evaluate(time.Time{}, &Facts{Source: netip.MustParseAddr("10.1.0.9")})
	if d.RuleID != "plant" || !slices.Equal(d.Obligations.Pools, []string{"plant"}) || len(d.Obligations.Rules) != 2 || d.Version != p.Version() {
		t.Errorf("%+v", d)
	}
	if p.Pool("plant").Size() != 254 {
		t.Errorf("pool %+v", p.Pool("plant"))
	}
	if !reflect.DeepEqual(p.Files(), bundle) {
		t.Errorf("made of %v", p.Files())
	}
	p.Files()[0].Text[0] = '#'
	if !reflect.DeepEqual(p.Files(), bundle) {
		t.Error("what Files returns belongs to the policy")
	}
	if _, err := LoadFiles(bundle[:2]); err == nil || !strings.Contains(err.Error(), "site/policy.yaml:2:26: the included file site/munich/pools.yaml is missing") {
		t.Errorf("%v", err)
	}
	if _, err := LoadFiles(append(bundle[:3:3], File{"site/x.yaml", []byte("version: 1")})); err == nil || !strings.Contains(err.Error(), "site/x.yaml:1:1: site/policy.yaml does not include this file") {
		t.Errorf("%v", err)
	}
	if _, err := LoadFiles(append(bundle[:3:3], bundle[2])); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("%v", err)
	}
	if _, err := LoadFiles(nil); err == nil || !strings.Contains(err.Error(), "an empty file") {
		t.Errorf("%v", err)
	}
	if _, err := Load("p.yaml", bundle[0].Text); err == nil || !strings.Contains(err.Error(), "networks.yaml is missing") {
		t.Errorf("%v", err)
	}
	if _, err := Collect("none.yaml", from(bundle)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestVersion: of one file it is the hash of the text; of several each name and text
// counts, but not where they are all together.
func TestVersion(t *testing.T) {
	if v := version([]File{{"a", []byte("x")}}); v != "2d711642b726b044" || v != version([]File{{"b", []byte("x")}}) {
		t.Error(v)
	}
	moved := cloneFiles(bundle)
	for _, dir := range []string{"", "/etc/postern/", "/", "../x/"} {
		for i := range moved {
			moved[i].Name = dir + strings.TrimPrefix(bundle[i].Name, "site/")
		}
		if version(moved) != version(bundle) {
			t.Errorf("another version in %q", dir)
		}
		if p, err := LoadFiles(moved); err != nil || p.Version() != version(bundle) {
			t.Errorf("%q: %v", dir, err)
		}
	}
	seen := map[string]string{version(bundle): "as it was"}
	for what, change := range map[string]func([]File){
		"a text":      func(f []File) { f[2].Text = append(f[2].Text, '\n') },
		"first text":  func(f []File) { f[0].Text = append(f[0].Text, '\n') },
		"a name":      func(f []File) { f[2].Name = "site/pools.yaml" },
		"a border":    func(f []File) { f[1].Text, f[2].Text = append(f[1].Text, f[2].Text...), nil },
		"two swapped": func(f []File) { f[1].Text, f[2].Text = f[2].Text, f[1].Text },
	} {
		files := cloneFiles(bundle)
		change(files)
		v := version(files)
		if other, ok := seen[v]; ok {
			t.Errorf("%s: the version of %s", what, other)
		}
		seen[v] = what
	}
}

func TestFilesAreBounded(t *testing.T) {
	big := File{"p.yaml", []byte("version: 1\ninclude: [l.yaml]\nrules: []\n")}
	rest := File{"l.yaml", []byte("# " + strings.Repeat("x", maxSize) + "\n")}
	if _, err := LoadFiles([]File{big, rest}); err == nil || !strings.Contains(err.Error(), "files of 1048") {
		t.Errorf("%v", err)
	}
	var many []File
	for i := range maxIncludes + 2 {
		many = append(many, File{fmt.Sprint(i), nil})
	}
	if _, err := LoadFiles(many); err == nil || !strings.Contains(err.Error(), "34 files") {
		t.Errorf("%v", err)
	}
}

// FuzzLoadFiles: two files, however they are, are loaded or refused with places inside
// one of them.
func FuzzLoadFiles(f *testing.F) {
	f.Add(string(bundle[0].Text), string(bundle[1].Text))
	_, cases := readBundles(f)
	for _, c := range cases {
		if len(c.files) > 1 {
			f.Add(string(c.files[0].Text), string(c.files[1].Text))
		}
	}
	f.Fuzz(func(t *testing.T, main, other string) {
		if len(main)+len(other) > 8192 {
			return // the YAML parser's work grows with the square
		}
		files, err := Collect("d/policy.yaml", func(name string) ([]byte, error) {
			if name == "d/policy.yaml" {
				return []byte(main), nil
			}
			if !strings.HasPrefix(name, "d/") || filepath.Clean(name) != name {
				t.Fatalf("reads %q", name)
			}
			return []byte(other), nil
		})
		var p *Policy
		if err == nil {
			p, err = LoadFiles(files)
		}
		var all Errors
		switch {
		case err == nil && p.Version() != version(files):
			t.Fatalf("version %s", p.Version())
		case err != nil && !errors.As(err, &all):
			t.Fatal(err)
		}
		for _, e := range all {
			text := main
			if e.File != "d/policy.yaml" {
				text = other
			}
			if e.Line < 1 || e.Column < 1 || e.Line > strings.Count(newlines.Replace(text), "\n")+1 {
				t.Fatalf("place outside: %+v", e)
			}
		}
	})
}

func TestNotText(t *testing.T) {
	for src, want := range map[string]string{
		"version: 1\nrules: [{id: ä\xff}]": "p.yaml:2:15: this is no character",
		"\xfe\xff\x00v":                    "p.yaml:1:1: this is no character",
		"a: b\r\n\rc: \x80":                "p.yaml:3:4: this is no character",
	} {
		if _, err := Load("p.yaml", []byte(src)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", src, err)
		}
	}
}
