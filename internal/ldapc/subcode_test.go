package ldapc

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestSubCode(t *testing.T) {
	for text, want := range map[string]string{
		"80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data 52e, v4563":     "52e",
		"80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 773, v1db1":     "773",
		"80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data 52E, v4563\x00": "52e",
		"8009030C: LdapErr: DSID-0C090569, comment: AcceptSecurityContext error, data 775":            "775",
		"invalid credentials": "",
		", data , v":          "",
		", data 52g, v":       "",
		", data 123456789, v": "",
		"data 52e":            "",
		"":                    "",
	} {
		code, ok := parseSubCode(text)
		if code != want || ok != (want != "") {
			t.Errorf("%q: %q %v", text, code, ok)
		}
	}
	if _, ok := SubCode(errors.New("x, data 52e, y")); ok {
		t.Error("an error of any kind has a code")
	}
	if _, ok := SubCode(&ldap.Error{ResultCode: ldap.ErrorNetwork, Err: errors.New("x, data 52e, y")}); ok {
		t.Error("an error of the network has a code")
	}
}

func FuzzSubCode(f *testing.F) {
	for _, s := range []string{
		"80090308: LdapErr: DSID-0C090449, comment: AcceptSecurityContext error, data 52e, v4563", ", data 0, ", ", data ffffffff", ", data 1ffffffff,", ", data , data 1,",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		code, ok := parseSubCode(text)
		if !ok {
			if code != "" {
				t.Fatalf("%q: %q", text, code)
			}
			return
		}
		if len(code) == 0 || len(code) > maxSubCode || strings.Trim(code, "0123456789abcdef") != "" || !strings.Contains(strings.ToLower(text), subCodeMark+code) {
			t.Fatalf("%q: %q", text, code)
		}
		if again, ok := parseSubCode("x" + subCodeMark + code + ", v1"); !ok || again != code {
			t.Fatalf("%q again is %q", code, again)
		}
	})
}
