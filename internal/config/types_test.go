package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) File {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return File(p)
	}
	t.Setenv("POSTERN_TEST_SECRET", "from env")
	t.Setenv("POSTERN_TEST_EMPTY", "")
	for _, c := range []struct {
		name string
		s    Secret
		want string
		err  string
	}{
		{"file", Secret{File: file("a", " pass word \n")}, " pass word ", ""},
		{"file from Windows", Secret{File: file("w", "pass\r\n")}, "pass", ""},
		{"one newline only", Secret{File: file("n", "pass\n\n")}, "pass\n", ""},
		{"environment", Secret{Env: "POSTERN_TEST_SECRET"}, "from env", ""},
		{"empty file", Secret{File: file("e", "\n")}, "", "is empty"},
		{"empty variable", Secret{Env: "POSTERN_TEST_EMPTY"}, "", "$POSTERN_TEST_EMPTY is empty"},
		{"long", Secret{File: file("l", strings.Repeat("x", maxSecret+1))}, "", "more than"},
		{"no file", Secret{File: File(filepath.Join(dir, "none"))}, "", "no such file"},
		{"no variable", Secret{Env: "POSTERN_TEST_NONE"}, "", "is not set"},
		{"nothing", Secret{}, "", "none configured"},
	} {
		got, err := c.s.Read()
		if string(got) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, got, err, c.want, c.err)
		}
	}
}

func TestEnumNames(t *testing.T) {
	for got, want := range map[string]string{
		TransportUDP.String(): "udp", TransportRadSec.String(): "radsec", StoreEmbedded.String(): "embedded",
		StoreRedis.String(): "redis", AuthMSCHAPv2.String(): "mschapv2", LogText.String(): "text",
		Transport(9).String(): "unknown", StoreUnknown.String(): "unknown",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
