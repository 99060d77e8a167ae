package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSplit follows pppd's getword (options.c of ppp 2.4.9).
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		about, src string
		want       []string // records; words in [] with their places
	}{
		{"words", "a b\tc\n\n  d\r\n", []string{"1:1[a] 1:3[b] 1:5[c]", "3:3[d]"}},
		{"comments", "# a b\na#b c\n a #b\n", []string{"2:1[a]", "3:2[a]"}},
		{"quotes", `"a b" 'c "d' e"f g"h "" "#"` + "\n", []string{`1:1[a b] 1:7[c "d] 1:14[ef gh] 1:22[] 1:25[#]`}},
		{"escapes", `a\ b \#c \"d \\ \s\t\n\r\a\b\f x\q` + "\n", []string{"1:1[a b] 1:6[#c] 1:10[\"d] 1:14[\\] 1:17[ \t\n\r\a\b\f] 1:32[xq]"}},
		{"escapes inside quotes", `"a\"b" 'c\'d'` + "\n", []string{`1:1[a"b] 1:8[c'd]`}},
		{"numbers", `\101\x42\x4g \0601 \778` + "\n", []string{"1:1[AB\x04g] 1:14[01] 1:20[?8]"}},
		{"joined lines", "a \\\nb c\\\nd\ne", []string{"1:1[a] 2:1[b] 2:3[cd]", "4:1[e]"}},
		{"no newline at the end", "a b", []string{"1:1[a] 1:3[b]"}},
		{"octets beyond ASCII", "\xff\xe4 ä", []string{"1:1[\xff\xe4] 1:4[ä]"}},
	} {
		records, errs := split("f", []byte(c.src))
		var got []string
		for _, r := range records {
			var ws []string
			for _, w := range r.words {
				ws = append(ws, fmt.Sprintf("%d:%d[%s]", w.line, w.column, w.text))
			}
			got = append(got, strings.Join(ws, " "))
		}
		if !slices.Equal(got, c.want) || len(errs) > 0 {
			t.Errorf("%s: got %q %v, want %q", c.about, got, errs, c.want)
		}
	}
}

func TestSplitMistakes(t *testing.T) {
	for src, want := range map[string]string{
		"a \"b\nc d\n":                   "f:1:3: quotes that do not end on this line",
		"a\nx 'b":                        "f:2:3: quotes that do not end on this line",
		"a b\\":                          "f:1:3: a backslash at the end of the file",
		"a " + strings.Repeat("x", 1024): "f:1:3: a word of 1024 octets, more than 1023",
		"a b\x00c":                       "f:1:3: a word with a NUL, where pppd would cut it",
		"a \\0":                          "f:1:3: a word with a NUL, where pppd would cut it",
	} {
		if _, errs := split("f", []byte(src)); errs.Error() != want {
			t.Errorf("%q: %v, want %s", src, errs, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for _, s := range []string{"a", "", "a b", `a"b\c`, "#x", "a#b", "it's", "tab\there", "\n", "\x7f\x80\xff", "ä", "x\\", `\x41`} {
		records, errs := split("f", []byte(quoted(s)+" end\n"))
		if len(errs) > 0 || len(records) != 1 || len(records[0].words) != 2 || records[0].words[0].text != s {
			t.Errorf("%q written as %s, read as %+v, %v", s, quoted(s), records, errs)
		}
	}
}
