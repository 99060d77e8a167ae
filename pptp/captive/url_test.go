package captive

import (
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"https://portal.example.org/s/abc.DEF-1_2", "https://10.0.0.20:8443/s/x", "http://portal/s/x?lang=de&x=1", "https://[2001:db8::1]/s/x",
		"https://p/" + strings.Repeat("a", maxURL-len("https://p/")),
	} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for about, bad := range map[string]string{
		"nothing": "", "no scheme": "portal.example.org/s/x", "relative": "/s/x", "no host": "https:///s/x", "opaque": "https:x", "script": "javascript:alert(1)",
		"data": "data:text/html,x", "user": "https://a@b/", "a line break": "https://p/\r\nSet-Cookie: x", "a space": "https://p/a b", "quote": `https://p/"`,
		"apostrophe": "https://p/'", "markup": "https://p/<b>", "umlaut": "https://p/ä", "NUL": "https://p/\x00", "port only": "https://:443/", "a bad escape": "https://p/%zz",
		"long": "https://p/" + strings.Repeat("a", maxURL),
	} {
		if CheckURL(bad) == nil {
			t.Errorf("%s: %q passed", about, bad)
		}
	}
}

// What passes can stand in a header and in an attribute of HTML.
func FuzzCheckURL(f *testing.F) {
	f.Add("https://portal.example.org/s/x?a=b&c=d#e")
	f.Add("http://a\r\nb")
	f.Fuzz(func(t *testing.T, text string) {
		if CheckURL(text) == nil && (strings.ContainsAny(text, "\r\n\x00 \"'<>") || !strings.HasPrefix(strings.ToLower(text), "http")) {
			t.Fatalf("%q passed", text)
		}
	})
}
