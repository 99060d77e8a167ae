package ad

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestSID(t *testing.T) {
	for _, c := range []struct{ octets, text string }{
		{"010500000000000515000000a065cf7e784b9b5fe77c8770091c0100", "S-1-5-21-2127521184-1604012920-1887927527-72713"}, // [MS-DTYP]'s blog example
		{"0102000000000005200000002002000020020000"[:32], "S-1-5-32-544"},
		{"010100000000000100000000", "S-1-1-0"},
		{"0100000000000000", "S-1-0"},
		{"010100010000000001000000", "S-1-0x000100000000-1"},
		{"010f00000000000f" + strings.Repeat("ffffffff", 15), "S-1-15" + strings.Repeat("-4294967295", 15)},
	} {
		b, err := hex.DecodeString(c.octets)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseSID(b)
		if err != nil || s.String() != c.text {
			t.Errorf("%s: %v, %v", c.text, s, err)
		}
		if again, err := sidOf(c.text); err != nil || again != s {
			t.Errorf("%s read back: %+v, %v", c.text, again, err)
		}
		if !bytes.Equal(s.Append(nil), b) {
			t.Errorf("%s written as %x", c.text, s.Append(nil))
		}
	}
}

func TestSIDParts(t *testing.T) {
	s, err := sidOf("S-1-5-21-1-2-3-525")
	if err != nil || s.rid() != ridProtectedUsers || !s.isDomain() || s.domain().String() != "S-1-5-21-1-2-3" {
		t.Errorf("%v: RID %d, domain %v, %v", s, s.rid(), s.domain(), err)
	}
	other, _ := sidOf("S-1-5-21-1-2-3-4000")
	if s.domain() != other.domain() {
		t.Error("two accounts of one domain have two domains")
	}
	if b, _ := sidOf("S-1-5-32-544"); b.isDomain() {
		t.Error("Administrators is no domain's")
	}
	if z := (sid{}); z.rid() != 0 || z.domain() != z || z.isDomain() {
		t.Errorf("zero: %v", z)
	}
}

func TestBadSIDs(t *testing.T) {
	for _, h := range []string{
		"", "01", "01000000000000", "0200000000000000", // short, another revision
		"0101000000000001000000", "01010000000000010000000000", // too short and too long for its count
		"0110" + "000000000005" + strings.Repeat("00000000", 16), // too many
	} {
		b, _ := hex.DecodeString(h)
		if s, err := parseSID(b); err == nil {
			t.Errorf("%q is %v", h, s)
		}
	}
	for _, text := range []string{"", "S", "S-1", "S-2-5", "X-1-5", "S-1-x", "S-1-5-", "S-1-5-4294967296", "S-1-5--1", "S-1-281474976710656", "S-1-5" + strings.Repeat("-1", 16)} {
		if s, err := sidOf(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

// FuzzSID: what is read is written the same, in both forms.
func FuzzSID(f *testing.F) {
	for _, h := range []string{"010500000000000515000000a065cf7e784b9b5fe77c8770091c0100", "01020000000000052000000020020000", "010100010000000001000000", "0100000000000000", "0102000000000005"} {
		b, _ := hex.DecodeString(h)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSID(b)
		if err != nil {
			return
		}
		if got := s.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x became %x", b, got)
		}
		if again, err := sidOf(s.String()); err != nil || again != s {
			t.Fatalf("%x is %v, which is %v, %v", b, s, again, err)
		}
	})
}
