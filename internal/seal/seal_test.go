package seal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const (
	lineA = "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	lineB = "b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
)

func ring(t testing.TB, text string) *Ring {
	t.Helper()
	r, err := ParseRing([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealOpen(t *testing.T) {
	r := ring(t, lineA)
	for _, plain := range []string{"", "secret", strings.Repeat("x", 4096)} {
		e, err := r.Seal("totp", "alice", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if plain != "" && strings.Contains(e, plain) {
			t.Error("plaintext shows")
		}
		got, err := r.Open("totp", "alice", e)
		if err != nil || string(got) != plain {
			t.Errorf("%q, %v", got, err)
		}
	}
	a, _ := r.Seal("p", "s", []byte("x"))
	b, _ := r.Seal("p", "s", []byte("x"))
	if a == b {
		t.Error("equal secrets have equal envelopes")
	}
}

func TestBinding(t *testing.T) {
	r := ring(t, lineA)
	e, _ := r.Seal("totp", "alice", []byte("secret"))
	for _, row := range [][2]string{{"totp", "bob"}, {"nthash", "alice"}, {"totpa", "lice"}, {"", "totpalice"}} {
		if _, err := r.Open(row[0], row[1], e); !errors.Is(err, ErrOpen) {
			t.Errorf("%v: %v", row, err)
		}
	}
	// Every octet counts.
	for i := range e {
		c := []byte(e)
		c[i] ^= 1
		if got, err := r.Open("totp", "alice", string(c)); err == nil {
			t.Errorf("octet %d altered: opens to %q", i, got)
		}
	}
}

func TestRotation(t *testing.T) {
	old, both, other := ring(t, lineA), ring(t, lineB+lineA), ring(t, lineB)
	e, _ := old.Seal("p", "s", []byte("x"))
	if got, err := both.Open("p", "s", e); err != nil || string(got) != "x" {
		t.Errorf("old key: %q, %v", got, err)
	}
	if old.Stale(e) || !both.Stale(e) || !both.Stale("junk") {
		t.Error("stale is wrong")
	}
	if _, err := other.Open("p", "s", e); !errors.Is(err, ErrKey) {
		t.Errorf("key that is gone: %v", err)
	}
	n, _ := both.Seal("p", "s", []byte("x"))
	if !strings.HasPrefix(n, "v1.b.") {
		t.Errorf("sealed under an old key: %s", n)
	}
	// The same secret bits under another ID do not open it: the ID is bound.
	if _, err := ring(t, "c"+lineA[1:]).Open("p", "s", "v1.c."+e[5:]); !errors.Is(err, ErrOpen) {
		t.Errorf("renamed key: %v", err)
	}
}

func TestFormat(t *testing.T) {
	r := ring(t, lineA)
	e, _ := r.Seal("p", "s", nil)
	for _, bad := range []string{"", "v1", "v1.", "v1.a", "v1.a.", "v1..AAAA", "v2" + e[2:], e + "=", e[:20], e + "\n", e[:9] + "\n" + e[9:]} {
		if _, err := r.Open("p", "s", bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	var none *Ring
	if _, err := none.Seal("p", "s", nil); !errors.Is(err, ErrKey) {
		t.Errorf("nil ring: %v", err)
	}
	if _, err := none.Open("p", "s", e); !errors.Is(err, ErrKey) {
		t.Errorf("nil ring: %v", err)
	}
}

func TestPrintsNothing(t *testing.T) {
	r := ring(t, lineA+lineB)
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "ring", r)
	fmt.Fprintf(&b, "%v %+v %#v %s", r, r, r, r)
	if s := strings.ReplaceAll(b.String(), "seal.Ring(2 keys)", ""); strings.ContainsAny(s, "[{") {
		t.Errorf("shows its inside: %s", b.String())
	}
}

func FuzzOpen(f *testing.F) {
	r := ring(f, lineA+lineB)
	for _, s := range []string{"", "x", "longer secret"} {
		e, _ := r.Seal("p", "s", []byte(s))
		f.Add(e)
	}
	f.Add("v1.a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, e string) {
		if id, sealed, err := parse(e); err == nil {
			if again := version + "." + id + "." + encode(sealed); again != e {
				t.Fatalf("%q is also written %q", e, again)
			}
		}
		if plain, err := r.Open("p", "s", e); err == nil && len(plain)+overhead > len(e) {
			t.Fatal("more out than in")
		}
	})
}

func FuzzParseRing(f *testing.F) {
	f.Add([]byte(lineA + "# c\n\n" + lineB))
	f.Add([]byte("a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRing(text)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if err == nil {
			if e, err := r.Seal("p", "s", []byte("x")); err != nil {
				t.Fatal(err)
			} else if _, err := r.Open("p", "s", e); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestDigest(t *testing.T) {
	old, rotated, other := ring(t, lineA), ring(t, lineB+lineA), ring(t, lineB)
	d, err := old.Digest("recovery", "alice", []byte("secret"))
	if err != nil || !strings.HasPrefix(d, "d1.a.") || strings.Contains(d, "secret") {
		t.Fatalf("%q, %v", d, err)
	}
	for _, row := range []struct {
		about                    string
		r                        *Ring
		purpose, subject, secret string
		digest                   string
		want                     bool
	}{
		{"the same", old, "recovery", "alice", "secret", d, true},
		{"after a rotation", rotated, "recovery", "alice", "secret", d, true},
		{"without its key", other, "recovery", "alice", "secret", d, false},
		{"another secret", old, "recovery", "alice", "secreT", d, false},
		{"another user's", old, "recovery", "bob", "secret", d, false},
		{"another purpose", old, "ticket", "alice", "secret", d, false},
		{"parts moved", old, "recoverya", "lice", "secret", d, false},
		{"cut", old, "recovery", "alice", "secret", d[:len(d)-1], false},
		{"none", old, "recovery", "alice", "secret", "", false},
		{"no ring", nil, "recovery", "alice", "secret", d, false},
	} {
		if got := row.r.Matches(row.purpose, row.subject, []byte(row.secret), row.digest); got != row.want {
			t.Errorf("%s: %v", row.about, got)
		}
	}
	if old.StaleDigest(d) || !rotated.StaleDigest(d) || !(*Ring)(nil).StaleDigest(d) {
		t.Error("which key it is under")
	}
	if _, err := (*Ring)(nil).Digest("p", "s", nil); !errors.Is(err, ErrKey) {
		t.Errorf("without a ring: %v", err)
	}
}
