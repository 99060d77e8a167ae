package mschap

import "testing"

func TestErrorText(t *testing.T) {
	challenge := [16]byte(unhex("00112233445566778899AABBCCDDEEFF"))
	for _, row := range []struct {
		from, text string
		want       Error
		again      string // what String gives, where it differs
	}{
		{"RFC 2759", "E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=Access denied",
			Error{691, true, challenge, 3, "Access denied"}, ""},
		{"pptpd", "E=691 R=1 C=00112233445566778899aabbccddeeff V=0 M=Access denied",
			Error{691, true, challenge, 0, "Access denied"}, "E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=0 M=Access denied"},
		{"no challenge, no message", "E=649 R=0 V=3", Error{Code: 649, Version: 3}, "E=649 R=0 C=00000000000000000000000000000000 V=3"},
		{"E only", "E=691", Error{Code: 691}, "E=691 R=0 C=00000000000000000000000000000000 V=0"},
		{"message with keys in it", "E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=E=1 R=1  two spaces ",
			Error{648, false, challenge, 3, "E=1 R=1  two spaces "}, ""},
		{"unknown key, other order", "V=3 X=y R=0  E=646", Error{Code: 646, Version: 3}, "E=646 R=0 C=00000000000000000000000000000000 V=3"},
	} {
		e, err := ParseError(row.text)
		if err != nil || e != row.want {
			t.Errorf("%s: %+v, %v; want %+v", row.from, e, err, row.want)
		}
		again := row.again
		if again == "" {
			again = row.text
		}
		if e.String() != again {
			t.Errorf("%s: String = %q, want %q", row.from, e, again)
		}
	}
}

func TestErrorTextRefused(t *testing.T) {
	for _, s := range []string{
		"", "   ", "R=0 V=3", "M=E=691", "E=", "E=-1", "E=0x2b3", "E=12345678901", "E=691 R=2", "E=691 R=",
		"E=691 R=1", "E=691 R=1 V=3 M=C=00112233445566778899AABBCCDDEEFF",
		"E=691 C=0011", "E=691 C=00112233445566778899AABBCCDDEEFG", "E=691 V=three",
	} {
		if e, err := ParseError(s); err == nil || e != (Error{}) {
			t.Errorf("ParseError(%q) = %+v, %v; want refusal", s, e, err)
		}
	}
}

func FuzzParseError(f *testing.F) {
	f.Add("E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=Access denied")
	f.Add("E=649 R=0 V=3")
	f.Add("V=3 X=y R=0  E=646")
	f.Add("M=E=1")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseError(s)
		if err != nil {
			return
		}
		again, err := ParseError(e.String())
		if err != nil || again != e {
			t.Fatalf("%q read as %+v, written and read again as %+v, %v", s, e, again, err)
		}
	})
}
