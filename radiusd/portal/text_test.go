package portal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// All languages say the same: the same keys, with the same places in them.
func TestLanguagesAgree(t *testing.T) {
	if len(languages) < 2 || languages["en"] == nil || languages["de"] == nil {
		t.Fatalf("languages %v", languages)
	}
	en := languages["en"]
	for tag, l := range languages {
		for key, text := range l.texts {
			want := placeholder.FindAllString(en.texts[key], -1)
			got := placeholder.FindAllString(text, -1)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s has the places %v, want %v", tag, key, got, want)
			}
			if strings.ContainsAny(text, "\n\r<>") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %s is not one line of plain text", tag, key)
			}
			if l != en && len(text) > 20 && text == en.texts[key] {
				t.Errorf("%s: %s is not translated", tag, key)
			}
		}
		if l.name == "" || l.tag != tag || !regexp.MustCompile(`^[a-z-]+$`).MatchString(l.text("recovery.file_name")) {
			t.Errorf("%s: %q, file %q", tag, l.name, l.text("recovery.file_name"))
		}
		at := time.Date(2026, 3, 9, 14, 5, 0, 0, time.UTC)
		for _, want := range []string{"9", "2026", "14:05", "UTC"} {
			if !strings.Contains(l.time(at), want) {
				t.Errorf("%s: time %q", tag, l.time(at))
			}
		}
	}
}

// sources are the package's own templates and code, tests left out.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") {
				all[name] = string(b)
			}
		}
	}
	return all
}

// Every key is used, and what is used is there: a text that is missing would be seen
// by somebody on a bad day.
func TestEveryTextIsUsed(t *testing.T) {
	en := languages["en"].texts
	sections := map[string]bool{}
	for key := range en {
		section, _, _ := strings.Cut(key, ".")
		sections[section] = true
	}
	used := map[string]bool{}
	quoted := regexp.MustCompile(`"([a-z]+)\.([a-z_.]+)"`)
	for name, src := range sources(t) {
		for _, m := range quoted.FindAllStringSubmatch(src, -1) {
			key := m[1] + "." + m[2]
			if !sections[m[1]] || strings.HasSuffix(key, ".html") || strings.HasSuffix(key, ".js") {
				continue
			}
			switch {
			case en[key] != "":
				used[key] = true
			case en[key+".one"] != "" && en[key+".other"] != "":
				used[key+".one"], used[key+".other"] = true, true
			default:
				t.Errorf("%s: no text %q", name, key)
			}
		}
	}
	// Made of a prefix and something else: see the places named.
	for _, prefix := range []string{"field.", "factor."} { // page.Field, page.Factor
		for key := range en {
			used[key] = used[key] || strings.HasPrefix(key, prefix)
		}
	}
	for _, field := range []string{"code", "recovery"} { // stepUpWrong
		used["wrong."+field] = true
	}
	for key := range en {
		if !used[key] {
			t.Errorf("text %q is not used", key)
		}
	}
	for _, f := range []string{"none", "code", "recovery", "webauthn", "remembered"} {
		if en["factor."+f] == "" {
			t.Errorf("no name of factor %s", f)
		}
	}
}

func TestMissingTextIsAnError(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		files fs.FS
		want  string
	}{
		{fstest.MapFS{}, "no texts"},
		{fstest.MapFS{"texts/en.yaml": file("a.b: x\nc.d: y\n"), "texts/fr.yaml": file("a.b: x\n")}, `texts fr: no "c.d"`},
		{fstest.MapFS{"texts/en.yaml": file("a.b: [\n")}, "texts en"},
	} {
		if _, err := loadTexts(c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	all, err := loadTexts(fstest.MapFS{"texts/en.yaml": file("language.name: English\n"), "texts/pt-BR.yaml": file("language.name: Português\n")})
	if err != nil || all["pt-BR"].name != "Português" {
		t.Errorf("another file is another language: %v, %v", all, err)
	}
}

func TestText(t *testing.T) {
	l := &language{texts: map[string]string{"a": "{x} and {y}", "n.one": "one", "n.other": "{n} of them", "format.decimal": ","}}
	if got := l.text("a", "x", "{y}", "y", 2); got != "2 and 2" && got != "{y} and 2" {
		t.Errorf("%q", got)
	}
	for n, want := range map[int]string{0: "0 of them", 1: "one", 2: "2 of them"} {
		if got := l.count("n", n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1,0 kB", 1234: "1,2 kB", 99_400: "99,4 kB", 123_456_789: "123 MB", 1 << 63: "9,2 EB"} {
		if got := l.size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]int{time.Second: 1, time.Minute: 1, 61 * time.Second: 2, 5 * time.Minute: 5} {
		if got := minutes(d); got != want {
			t.Errorf("%v: %d minutes", d, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a text that is not there")
		}
	}()
	_ = l.text("nowhere")
}

func TestNegotiate(t *testing.T) {
	all, err := newChoice(nil, "en")
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{
		"": "en", "de": "de", "de-DE": "de", "DE-at, en": "de", "en;q=0.5, de;q=0.6": "de", "fr, it": "en", "fr, *;q=0.5, de;q=0.1": "en",
		"de;q=0, en": "en", "xx-de, de;q=0.1": "de", "nonsense;;;": "en",
	} {
		if got := all.negotiate(accept).tag; got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
	if c, err := newChoice([]string{"de"}, "de"); err != nil || c.negotiate("en").tag != "de" {
		t.Errorf("German only: %v", err)
	}
	for _, bad := range []struct {
		tags     []string
		fallback string
	}{{nil, "fr"}, {[]string{"de"}, "en"}, {[]string{"de", "xx"}, "de"}} {
		if _, err := newChoice(bad.tags, bad.fallback); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestAcceptLanguage(t *testing.T) {
	for header, want := range map[string]string{
		"":                                  "[]",
		"de-DE, de;q=0.9, en;q=0.8,*;q=0.5": "[de-DE de en *]",
		" en ; q = 0.2 , de ; Q=1.000":      "[de en]",
		"a;q=0.1,b;q=0.10,c;q=0.100,d;q=0.001,e;q=1,f;q=1.": "[e f a b c d]",
		"a;q=1.001,b;q=2,c;q=-1,d;q=0.1234,e;q=.5,f;q=,g;q": "[]",
		"a;x=1, b c, -, a-, toolongsubtag, de_DE, ü, \x00":  "[]",
		strings.Repeat("en,", 200):                          "[]",
		strings.Repeat("en,", 20):                           fmt.Sprint(slices.Repeat([]string{"en"}, maxTags)),
	} {
		if got := fmt.Sprint(parseAcceptLanguage(header)); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

// Whatever comes, ranges go, few and each as it stood in the header; joined they mean
// the same again.
func FuzzAcceptLanguage(f *testing.F) {
	for _, seed := range []string{"", "de-DE, de;q=0.9, en;q=0.8,*;q=0.5", "a;q=1.001,b;q=0", ";q=1", "de;q=0.5;x=y", ",,,", "*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags := parseAcceptLanguage(header)
		if len(tags) > maxTags {
			t.Fatalf("%d tags", len(tags))
		}
		for _, tag := range tags {
			if !isRange(tag) || !strings.Contains(header, tag) {
				t.Fatalf("%q from %q", tag, header)
			}
		}
		if again := parseAcceptLanguage(strings.Join(tags, ",")); !slices.Equal(again, tags) {
			t.Fatalf("%q becomes %q", tags, again)
		}
	})
}
