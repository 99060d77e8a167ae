package mfa

import (
	"strings"
	"testing"
)

func TestSplitCode(t *testing.T) {
	for _, row := range []struct {
		typed, name, account, domain, code string
	}{
		{`alice`, `alice`, `alice`, ``, ``},
		{`alice+123456`, `alice`, `alice`, ``, `123456`},
		{`CORP\alice+123456`, `CORP\alice`, `alice`, `CORP`, `123456`},
		{`alice+123456@corp.example`, `alice@corp.example`, `alice`, `corp.example`, `123456`},
		{`alice@corp.example+123456`, `alice@corp.example`, `alice`, `corp.example`, `123456`},
		{`CORP\alice`, `CORP\alice`, `alice`, `CORP`, ``},
		{`alice@corp.example`, `alice@corp.example`, `alice`, `corp.example`, ``},
		{`alice+1234567`, `alice`, `alice`, ``, `1234567`},
		{`alice+12345678`, `alice`, `alice`, ``, `12345678`},
		// Not codes: too short, too long, no digits, other digits.
		{`alice+12345`, `alice+12345`, `alice+12345`, ``, ``},
		{`alice+123456789`, `alice+123456789`, `alice+123456789`, ``, ``},
		{`alice+12345x`, `alice+12345x`, `alice+12345x`, ``, ``},
		{`alice+١٢٣`, `alice+١٢٣`, `alice+١٢٣`, ``, ``},
		{`alice+`, `alice+`, `alice+`, ``, ``},
		// A name is never emptied.
		{`+123456`, `+123456`, `+123456`, ``, ``},
		{`CORP\+123456`, `CORP\+123456`, `+123456`, `CORP`, ``},
		{`+123456@corp.example`, `+123456@corp.example`, `+123456`, `corp.example`, ``},
		// One code only, the last; other separators belong to the name.
		{`a+b+123456`, `a+b`, `a+b`, ``, `123456`},
		{`alice+111111+222222`, `alice+111111`, `alice+111111`, ``, `222222`},
		{`alice+111111@corp+222222`, `alice+111111@corp`, `alice+111111`, `corp`, `222222`},
		// Both kinds of domain, or broken ones.
		{`CORP\alice@x.example+123456`, `CORP\alice@x.example`, `alice@x.example`, `CORP`, `123456`},
		{`CORP\alice+123456@x.example`, `CORP\alice@x.example`, `alice@x.example`, `CORP`, `123456`},
		{`\alice`, `\alice`, `alice`, ``, ``},
		{`CORP\`, `CORP\`, `CORP\`, ``, ``},
		{`alice@`, `alice@`, `alice@`, ``, ``},
		{`@corp`, `@corp`, `@corp`, ``, ``},
		{``, ``, ``, ``, ``},
	} {
		want := Name{Typed: row.typed, Name: row.name, Account: row.account, Domain: row.domain, Code: row.code}
		if got := SplitCode(row.typed, 0); got != want {
			t.Errorf("%q: %+v", row.typed, got)
		}
		other := strings.ReplaceAll(row.typed, "+", "#")
		if got := SplitCode(other, '#'); got.Code != row.code || got.Domain != row.domain {
			t.Errorf("%q: %+v", other, got)
		}
	}
	if got := SplitCode("alice+123456", '#'); got.Code != "" || got.Account != "alice+123456" {
		t.Errorf("another separator: %+v", got)
	}
}

func TestTagged(t *testing.T) {
	for _, row := range []struct {
		typed, name, account, domain, code, device string
	}{
		{`alice%LT-0231+123456`, `alice`, `alice`, ``, `123456`, `LT-0231`},
		{`alice%LT-0231`, `alice`, `alice`, ``, ``, `LT-0231`},
		{`CORP\alice%LT-0231+123456`, `CORP\alice`, `alice`, `CORP`, `123456`, `LT-0231`},
		{`alice%LT-0231+123456@corp.example`, `alice@corp.example`, `alice`, `corp.example`, `123456`, `LT-0231`},
		{`alice%LT-0231@corp.example+123456`, `alice@corp.example`, `alice`, `corp.example`, `123456`, `LT-0231`},
		{`alice@corp.example%LT-0231+123456`, `alice@corp.example`, `alice`, `corp.example`, `123456`, `LT-0231`},
		{`alice@corp.example%LT-0231`, `alice@corp.example`, `alice`, `corp.example`, ``, `LT-0231`},
		{`CORP\alice@x.example%LT.1`, `CORP\alice@x.example`, `alice@x.example`, `CORP`, ``, `LT.1`},
		{`CORP\a%b@corp`, `CORP\a%b@corp`, `a%b@corp`, `CORP`, ``, ``}, // behind the whole, or not at all
		{`a%b%LT-1`, `a%b`, `a%b`, ``, ``, `LT-1`},
		// No tags: nothing, something else, too long; a name is never emptied.
		{`alice%`, `alice%`, `alice%`, ``, ``, ``},
		{`%LT-1`, `%LT-1`, `%LT-1`, ``, ``, ``},
		{`alice%a b`, `alice%a b`, `alice%a b`, ``, ``, ``},
		{`alice%ä`, `alice%ä`, `alice%ä`, ``, ``, ``},
		{`alice%` + strings.Repeat("x", 65), `alice%` + strings.Repeat("x", 65), `alice%` + strings.Repeat("x", 65), ``, ``, ``},
		{`alice`, `alice`, `alice`, ``, ``, ``},
		{``, ``, ``, ``, ``, ``},
		// A code stands behind the tag.
		{`alice+123456%LT-1`, `alice+123456`, `alice+123456`, ``, ``, `LT-1`},
	} {
		want := Name{Typed: row.typed, Name: row.name, Account: row.account, Domain: row.domain, Code: row.code, Device: row.device}
		if got := SplitCode(row.typed, 0).Tagged('%'); got != want {
			t.Errorf("%q: %+v", row.typed, got)
		}
		if n := SplitCode(row.typed, 0); n.Tagged(0) != n {
			t.Errorf("%q: cut although there are no tags", row.typed)
		}
	}
}

func FuzzSplitCode(f *testing.F) {
	for _, s := range []string{``, `alice`, `CORP\alice+123456`, `alice+123456@corp.example`, `alice@corp.example+123456`, `+@\`, "a+00000\xff"} {
		f.Add(s, byte('+'))
	}
	f.Add(`al@x@123456`, byte('@'))
	f.Add(`a\b\123456`, byte('\\'))
	f.Fuzz(func(t *testing.T, typed string, sep byte) {
		n := SplitCode(typed, sep)
		if n.Typed != typed {
			t.Fatalf("typed name changed: %+v", n)
		}
		if (typed == "") != (n.Name == "") || (typed == "") != (n.Account == "") {
			t.Fatalf("%q: emptied: %+v", typed, n)
		}
		if sep == 0 {
			sep = DefaultSeparator
		}
		if c := n.Tagged('%'); c.Account == "" != (n.Account == "") || c.Code != n.Code ||
			len(c.Name)+len(c.Device) > len(n.Name) || (c.Device == "") != (c == n) {
			t.Fatalf("%+v with its tag cut: %+v", n, c)
		}
		// Nothing is lost or made up: with its code put back behind the whole
		// or behind the account it is what was typed.
		again := n.Name == typed && n.Code == ""
		if n.Code != "" {
			code := string([]byte{sep}) + n.Code
			again = n.Name+code == typed
			for i := 0; !again && i <= len(n.Name); i++ {
				again = n.Name[:i]+code+n.Name[i:] == typed
			}
		}
		if !again {
			t.Fatalf("%q: %+v", typed, n)
		}
	})
}
