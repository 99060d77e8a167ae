package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The token of RFC 6238's appendix B, cut to six digits.
func TestCodeNow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("otpauth://totp/Postern:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Postern\n")
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 2000000000: "279037"} {
		if got, err := codeNow(file, time.Unix(at, 0)); err != nil || got != want {
			t.Errorf("at %d: %q, %v; want %s", at, got, err, want)
		}
	}
	for _, text := range []string{"", "GEZDGNBVGY3TQOJQ", "otpauth://totp/x", "\x7f://"} {
		write(text)
		got, err := codeNow(file, time.Now())
		if err == nil || !strings.Contains(err.Error(), "holds no otpauth URL") || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := codeNow(file+"x", time.Now()); err == nil {
		t.Error("a file that is not there has a code")
	}
}

func TestResolve(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:1723", "192.0.2.1:99": "192.0.2.1:99",
		"192.0.2.1:0": "", "192.0.2.1:x": "", "192.0.2.1:99999": "", "::1": "",
	} {
		got, err := resolve(t.Context(), in)
		if want == "" && err == nil || want != "" && (err != nil || got != netip.MustParseAddrPort(want)) {
			t.Errorf("%s: %v, %v; want %s", in, got, err, want)
		}
	}
}

// What is wrong with the flags is said before anybody is asked for a password.
func TestDialFlags(t *testing.T) {
	for want, args := range map[string]string{
		`"user" not set`:         "192.0.2.1",
		"requires at least 1":    "--user alice",
		"--route is for --tun":   "192.0.2.1 --user alice --route 10.0.0.0/8",
		"--ping \"x\"":           "192.0.2.1 --user alice --ping x",
		"--ping \"::1\"":         "192.0.2.1 --user alice --ping ::1",
		"--source \"y\"":         "192.0.2.1 --user alice --source y",
		"--every: more than 0":   "192.0.2.1 --user alice --every 0s",
		"--route: ":              "192.0.2.1 --user alice --tun t --route 10.0.0.0",
		"read password: none":    "192.0.2.1 --user alice",
		"holds no otpauth URL":   "192.0.2.1 --user alice --totp-file /dev/null --password-file " + pass(t),
		"no such file":           "192.0.2.1 --user alice --password-file /nonexistent",
		"no control connection ": "127.0.0.1:1 --user alice --password-file " + pass(t),
	} {
		if strings.HasPrefix(want, "no control") && os.Geteuid() != 0 {
			want = "" // the GRE socket is refused first
		}
		out, _, err := run("", append([]string{"dial"}, strings.Fields(args)...)...)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, said %q; want %q", args, err, out, want)
		}
	}
}

// pass is a file with a password.
func pass(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
