package directory

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"postern/internal/seal"
)

func TestParseUsers(t *testing.T) {
	ring := testRing(t)
	sealed, err := sealPassword(ring, "Alice", "wonderland")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseUsers("users", []byte("# users\nAlice nt="+sealed+" group=VPN-Users \"group=Domain Admins\" address=10.20.0.7\n\nbob disabled\n"), ring)
	if err != nil {
		t.Fatal(err)
	}
	want := &entry{name: "Alice", key: "alice", sealed: sealed, groups: []string{"VPN-Users", "Domain Admins"}, state: Active, addr: netip.MustParseAddr("10.20.0.7"), line: 2, column: 1}
	if !reflect.DeepEqual(got["alice"], want) || got["bob"].state != Disabled || len(got) != 2 {
		t.Errorf("alice %+v, bob %+v", got["alice"], got["bob"])
	}
	if passwordOf(t, ring, got["alice"], "wonderland") != "wonderland" {
		t.Error("another password")
	}
}

func TestParseUsersMistakes(t *testing.T) {
	ring := testRing(t)
	alice, err := sealPassword(ring, "alice", "x")
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.ParseRing([]byte("k9 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	if err != nil {
		t.Fatal(err)
	}
	lost, err := sealPassword(other, "alice", "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		about, src string
		want       []string
	}{
		{"words", "alice grp=x nt disabled=yes\nnt=" + alice + "\n", []string{
			"1:7: an unknown word; expected nt=, group=, address=, route= or disabled",
			"1:13: an unknown word; expected nt=, group=, address=, route= or disabled",
			"1:16: an unknown word; expected nt=, group=, address=, route= or disabled",
			"2:1: a word with = where a name should be; expected a line to begin with the user's name"}},
		{"routes", "a route=10.50.0.0/16 route=10.50.0.0/16 route=x\n", []string{
			`1:22: route 10.50.0.0/16 a second time`,
			`1:41: "x" is no IPv4 network such as 10.1.0.0/16; expected an IPv4 network behind the client such as 10.50.7.0/24`,
		}},
		{"twice", "alice group=A group=a nt=" + alice + " nt=" + alice + " address=10.0.0.1 address=10.0.0.2\nbob\nBOB\n", []string{
			`1:15: group "a" a second time`, "1:98: nt a second time", "1:187: address a second time",
			`3:1: user "BOB" a second time; the first is on line 2`}},
		{"values", "alice nt= group= address=ten\nbob address=::1 address=0.0.0.0\n", []string{
			"1:7: an empty nt; expected a sealed hash as `postern user passwd` writes it",
			"1:11: an empty name; expected the name of a group",
			`1:18: "ten"; expected an IPv4 address`,
			`2:5: "::1"; expected an IPv4 address`, `2:17: "0.0.0.0"; expected an IPv4 address`}},
		{"hash of another user", "bob nt=" + alice + "\n", []string{`1:1: the hash of user "bob": ` + seal.ErrOpen.Error()}},
		{"hash of another ring", "alice nt=" + lost + "\n", []string{`1:1: the hash of user "alice": ` + seal.ErrKey.Error() + `: "k9"`}},
		{"no hash", "alice nt=hunter2\n", []string{`1:1: the hash of user "alice": ` + seal.ErrFormat.Error()}},
		{"all at once", "a x\n\"b\nc\x07 y\n", []string{
			"1:3: an unknown word; expected nt=, group=, address=, route= or disabled",
			"2:1: quotes that do not end on this line",
			"3:1: a name with control characters; expected the name of a user",
			"3:4: an unknown word; expected nt=, group=, address=, route= or disabled"}},
	} {
		_, err := parseUsers("f", []byte(c.src), ring)
		if c.about == "twice" {
			var all Errors // the columns depend on the length of the seal
			if !errors.As(err, &all) || len(all) != 4 {
				t.Errorf("twice: %v", err)
			}
			for i, e := range all {
				if _, message, _ := strings.Cut(c.want[i], ": "); e.Message != message {
					t.Errorf("twice: %v, want %s", e, message)
				}
			}
			continue
		}
		compare(t, c.about, err, c.want)
	}
}

// FuzzUsers: what is read can be written and is read the same.
func FuzzUsers(f *testing.F) {
	ring := testRing(f)
	sealed, err := sealPassword(ring, "alice", "x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("alice nt=" + sealed + " group=A \"group=B C\"\n"))
	f.Add([]byte("# x\nbob disabled address=10.0.0.1\n\\\nc\n"))
	f.Add([]byte("a nt=v1.k1.AAAA\na\nA group=\n"))
	f.Add([]byte("a group='x\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		first, err := parseUsers("f", src, ring)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("error %v", err)
			}
			return
		}
		var out strings.Builder
		for _, e := range first {
			out.WriteString(e.format() + "\n")
		}
		again, err := parseUsers("f", []byte(out.String()), ring)
		if err != nil || len(again) != len(first) {
			t.Fatalf("%q: %v, %v", out.String(), again, err)
		}
		for k, e := range first {
			o := again[k]
			o.line, o.column = e.line, e.column
			if !reflect.DeepEqual(e, o) {
				t.Fatalf("%+v became %+v", e, o)
			}
		}
	})
}
