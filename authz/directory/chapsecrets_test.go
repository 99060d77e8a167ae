package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/mschap"
	"postern/internal/seal"
)

// testRing is a ring of one key.
func testRing(t testing.TB) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing([]byte("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// passwordOf finds out whose hash an entry has.
func passwordOf(t testing.TB, r *seal.Ring, e *entry, among ...string) string {
	t.Helper()
	hash, err := openHash(r, e.name, e.sealed)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range among {
		if mschap.NTHash(p) == hash {
			return p
		}
	}
	return "?"
}

func TestChapSecrets(t *testing.T) {
	const src = `# Secrets for authentication using CHAP
# client	server	secret			IP addresses
alice		*	wonderland		*
"bob smith"	gw	"pass # word"		10.20.0.7
carol@isp.example	gw	'it''s'
dave	gw	pa\x73s\ word	-
erin	*	first
erin	gw	second	# ours goes first
frank	gw	one
frank	*	two
grace	gw	same
grace	gw	same
ours	otherserver	clientsecret
*	otherserver	whatever
heidi gw @literal
`
	ring := testRing(t)
	got, err := parseChapSecrets("chap-secrets", []byte(src), "gw", ring)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 8 {
		t.Errorf("%d accounts: %v", len(got), got)
	}
	for name, want := range map[string]string{
		"alice": "wonderland  active", "bob smith": "pass # word 10.20.0.7 active", "carol@isp.example": "its  active",
		"dave": "pass word  no dial-in", "erin": "second  active", "frank": "one  active", "grace": "same  active", "heidi": "@literal  active",
	} {
		e := got[name]
		if e == nil {
			t.Errorf("no %q", name)
			continue
		}
		addr := ""
		if e.addr.IsValid() {
			addr = e.addr.String()
		}
		p := passwordOf(t, ring, e, "wonderland", "pass # word", "its", "pass word", "first", "second", "one", "two", "same", "@literal")
		if s := fmt.Sprintf("%s %s %v", p, addr, e.state); s != want {
			t.Errorf("%s: %q, want %q", name, s, want)
		}
	}
}

func TestChapSecretsMistakes(t *testing.T) {
	for _, c := range []struct {
		about, src string
		want       []string
	}{
		{"words", "alice\nbob gw\n", []string{
			"1:1: 1 words, expected client, server, secret and perhaps an address",
			"2:1: 2 words, expected client, server, secret and perhaps an address"}},
		{"any client", `"*" gw hunter2`, []string{`1:1: client "*" would make every name an account; expected a name`}},
		{"empty", `alice gw ""` + "\n" + `"" gw hunter2`, []string{
			"1:10: an empty secret would let anybody in; expected a password",
			"2:1: an empty name; expected a client"}},
		{"file", "alice gw @/etc/hunter2", []string{"1:10: secrets in other files are not read; expected the password itself"}},
		{"long", "alice gw " + strings.Repeat("ä", 257), []string{"1:10: a secret of more than 256 characters"}},
		{"address", "a gw x 10.0.0.0/24\nb gw x !10.0.0.1\nc gw x host\nd gw x ::1\ne gw x hunter2\n", slices.Repeat([]string{
			"N:8: not an address; expected one IPv4 address, * or -: secrets with spaces need quotes, and networks belong into the policy's pools"}, 5)},
		{"more", "a gw x 10.0.0.1 10.0.0.2\n", []string{
			"1:17: a word behind the address; expected the end of the line: further addresses and options belong into the policy"}},
		{"options", "a gw x -- nomppe\n", []string{
			"1:8: not an address; expected one IPv4 address, * or -: secrets with spaces need quotes, and networks belong into the policy's pools"}},
		{"two secrets", "a gw x\nb gw y\na gw hunter2\n", []string{
			`3:1: a second secret for client "a", the first is on line 1; expected one for each client, or a server name to tell them apart`}},
		{"case", "alice gw x\nAlice gw x\n", []string{`2:1: client "Alice" differs by case alone from "alice" on line 1`}},
		{"name", "a\\x07 gw x\n\\xff gw x\n" + strings.Repeat("n", 257) + " gw x\n", []string{
			"1:1: a name with control characters; expected a client", "2:1: a name that is not UTF-8; expected a client",
			"3:1: a name of 257 octets, more than 256; expected a client"}},
		{"quotes", "a gw \"hunter2\nb gw x\n", []string{"1:6: quotes that do not end on this line"}},
	} {
		_, err := parseChapSecrets("f", []byte(c.src), "gw", testRing(t))
		compare(t, c.about, err, c.want)
	}
	// Without a server name all lines are ours.
	_, err := parseChapSecrets("f", []byte("a s1 x\na s2 hunter2\n"), "", testRing(t))
	compare(t, "no server", err, []string{
		`2:1: a second secret for client "a", the first is on line 1; expected one for each client, or a server name to tell them apart`})
}

// compare checks places and texts; "N" stands for any line.
func compare(t *testing.T, about string, err error, want []string) {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) {
		t.Errorf("%s: error %v, want Errors", about, err)
		return
	}
	var got []string
	for i, e := range all {
		line := fmt.Sprint(e.Line)
		if i < len(want) && strings.HasPrefix(want[i], "N:") {
			line = "N"
		}
		got = append(got, fmt.Sprintf("%s:%d: %s", line, e.Column, e.Message))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", about, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%s: a secret is shown: %v", about, err)
	}
}

// FuzzChapSecrets: what is read can be written and is read the same.
func FuzzChapSecrets(f *testing.F) {
	f.Add([]byte("alice * wonderland *\n\"bob smith\" gw \"pass # word\" 10.20.0.7 # x\n"))
	f.Add([]byte("a gw x\\\ny\nb gw '\\x41\\101' -\n* o s\nc gw @/f\n"))
	f.Add([]byte("a gw \"x\n"))
	f.Add([]byte("a gw x -- y\na gw x\nA gw x\n"))
	ring := testRing(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		records, _ := split("f", src)
		size := 0
		var out strings.Builder
		for _, r := range records {
			for _, w := range r.words {
				out.WriteString(quoted(w.text) + " ")
				size += len(w.text)
			}
			out.WriteString("\n")
		}
		if size > len(src) {
			t.Fatalf("%d octets of words from %d", size, len(src))
		}
		first, err := parseChapSecrets("f", src, "gw", ring)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := parseChapSecrets("f", []byte(out.String()), "gw", ring)
		if err != nil || len(again) != len(first) {
			t.Fatalf("%q: %v, %v", out.String(), again, err)
		}
		for k, e := range first {
			o := again[k]
			if o == nil || o.name != e.name || o.addr != e.addr || o.state != e.state {
				t.Fatalf("%+v became %+v", e, o)
			}
			a, errA := openHash(ring, e.name, e.sealed)
			b, errB := openHash(ring, o.name, o.sealed)
			if a != b || errA != nil || errB != nil {
				t.Fatalf("the secret of %q changed: %v, %v", e.name, errA, errB)
			}
		}
	})
}
