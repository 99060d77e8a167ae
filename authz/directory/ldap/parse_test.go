package ldap

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
)

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"20260304123015Z":     "2026-03-04T12:30:15Z",
		"202603041230Z":       "2026-03-04T12:30:00Z",
		"2026030412Z":         "2026-03-04T12:00:00Z",
		"20260304123015.25Z":  "2026-03-04T12:30:15.25Z",
		"202603041230,5Z":     "2026-03-04T12:30:30Z",
		"2026030412.5Z":       "2026-03-04T12:30:00Z",
		"20260304123015+0200": "2026-03-04T10:30:15Z",
		"20260304123015-0130": "2026-03-04T14:00:15Z",
		"20260304123015+02":   "2026-03-04T10:30:15Z",
		"20161231235960Z":     "2016-12-31T23:59:59Z", // a leap second
		"99991231235959Z":     "9999-12-31T23:59:59Z",
		"000001010000Z":       "0000-01-01T00:00:00Z",
		"":                    "",
		"2026":                "",
		"20260304123015":      "",
		"20260304123015z":     "",
		"20260304123015.Z":    "",
		"20260231123015Z":     "",
		"20261304123015Z":     "",
		"20260304243015Z":     "",
		"20260304126015Z":     "",
		"20260304123061Z":     "",
		"20260304123015+2460": "",
		"20260304123015+020":  "",
		"20260304123015*0200": "",
		"20260304123015Z ":    "",
		"-0260304123015Z":     "",
		"20260304123015\x00":  "",
	} {
		got, err := parseTime(s)
		if want == "" {
			if err == nil {
				t.Errorf("%q: %v", s, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %v, %v; want %s", s, got, err, want)
		}
	}
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"20260304123015Z", "2026030412.5Z", "202603041230,5+0130", "20161231235960Z", "000001010000Z", "20260229123015Z", "2026030412.99999999999999999999Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTime(s)
		if err != nil {
			return
		}
		if len(s) < len("2026030412Z") || got.Year() < -1 || got.Year() > 10000 {
			t.Fatalf("%q: %v", s, got)
		}
		if got.Year() < 0 || got.Year() > 9999 {
			return
		}
		again, err := parseTime(got.Format("20060102150405.999999999Z"))
		if err != nil || !again.Equal(got) {
			t.Fatalf("%q: %v, again %v, %v", s, got, again, err)
		}
	})
}

func FuzzAcctFlags(f *testing.F) {
	for _, s := range []string{"[U          ]", "[]", "[UDLX]", "[", "]", "[W", "U]", "[Q]", "[u]", "[U\x00]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		flags, err := parseAcctFlags(s)
		if err != nil {
			if flags != 0 {
				t.Fatalf("%q: %v, %b", s, err, flags)
			}
			return
		}
		var b strings.Builder
		for letter, flag := range flagLetters {
			if flags.has(flag) {
				b.WriteRune(letter)
			}
		}
		if again, err := parseAcctFlags("[" + b.String() + "]"); err != nil || again != flags {
			t.Fatalf("%q: %b, again %b", s, flags, again)
		}
	})
}

func FuzzHours(f *testing.F) {
	f.Add(strings.Repeat("F", 42))
	f.Add(strings.Repeat("0", 41))
	f.Add(strings.Repeat("g", 42))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHours(s)
		if err != nil {
			if h != (weekHours{}) {
				t.Fatalf("%q: %x", s, h)
			}
			return
		}
		if !strings.EqualFold(hex.EncodeToString(h[:]), s) {
			t.Fatalf("%q: %x", s, h)
		}
	})
}

func TestParseHash(t *testing.T) {
	hash := [16]byte{0x32, 0xED, 0x87, 0xBD, 0xB5, 0xFD, 0xC5, 0xE9, 0xCB, 0xA8, 0x85, 0x47, 0x37, 0x68, 0x18, 0xD4}
	for _, c := range []struct {
		text  string
		form  HashForm
		there bool
		ok    bool
	}{
		{"32ED87BDB5FDC5E9CBA88547376818D4", HashHex, true, true},
		{"32ed87bdb5fdc5e9cba88547376818d4", HashHex, true, true},
		{noPassword, HashHex, false, true},
		{"32ED87BDB5FDC5E9CBA88547376818D", HashHex, false, false},
		{"32ED87BDB5FDC5E9CBA88547376818DX", HashHex, false, false},
		{"", HashHex, false, false},
		{string(hash[:]), HashBinary, true, true},
		{string(hash[:15]), HashBinary, false, false},
		{"32ED87BDB5FDC5E9CBA88547376818D4", HashBinary, false, false},
		{string(hash[:]), HashUnknown, false, false},
	} {
		got, there, err := parseHash([]byte(c.text), c.form)
		if there != c.there || (err == nil) != c.ok || there && got != hash || !there && got != [16]byte{} {
			t.Errorf("%q: %x %v %v", c.text, got, there, err)
		}
		if err != nil && len(c.text) > 8 && strings.Contains(err.Error(), c.text[:8]) {
			t.Errorf("a hash in %q", err)
		}
	}
}

func FuzzHash(f *testing.F) {
	f.Add([]byte("32ED87BDB5FDC5E9CBA88547376818D4"), true)
	f.Add([]byte(noPassword), true)
	f.Add(bytes.Repeat([]byte{0xff}, 16), false)
	f.Fuzz(func(t *testing.T, b []byte, inHex bool) {
		form, text := HashBinary, string(b)
		if inHex {
			form = HashHex
		}
		hash, there, err := parseHash(b, form)
		switch {
		case err != nil || !there:
			if hash != [16]byte{} {
				t.Fatalf("%q: %x, %v", b, hash, err)
			}
		case inHex && !strings.EqualFold(fmt.Sprintf("%x", hash), text), !inHex && string(hash[:]) != text:
			t.Fatalf("%q: %x", b, hash)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add("v1 1772627400 1772620000 000102030405060708090a0b0c0d0e0f")
	f.Add("v1 0 0 x")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMark(directory.Mark(s))
		if err != nil {
			return
		}
		if again, err := parseMark(directory.Mark(m.String())); err != nil || again != m {
			t.Fatalf("%q: %v, again %v, %v", s, m, again, err)
		}
	})
}
