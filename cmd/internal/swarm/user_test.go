package swarm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/internal/mschap"
)

const testSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

func TestUsersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.csv")
	accounts := []Account{
		{"load-1", `with "quotes", and commas`, ""},
		{`CORP\load-2`, "second", testSecret},
		{"load-3", "third", "otpauth://totp/Postern:load-3?secret=" + testSecret + "&digits=8&period=60&algorithm=SHA256"},
	}
	if err := WriteUsers(path, accounts); err != nil {
		t.Fatal(err)
	}
	if err := WriteUsers(path, accounts); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("written over: %v", err)
	}
	users, err := ReadUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range accounts {
		if users[i].Name != a.Name || users[i].hash != mschap.NTHash(a.Password) || (users[i].token != nil) != (a.TOTP != "") {
			t.Errorf("%v became %v", a, users[i])
		}
	}
	now := time.Unix(1_700_000_000, 0)
	code, err := users[1].token.code(users[1].token.step(now))
	if want, _ := totp.GenerateCode(testSecret, now); err != nil || code != want {
		t.Errorf("code %s, %v, want %s", code, err, want)
	}
	if k := users[2].token; k.period != 60 || k.digits.Length() != 8 || k.until(k.step(now)).Sub(now) > time.Minute {
		t.Errorf("token %d s, %d digits", k.period, k.digits.Length())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, users[1]) + fmt.Sprintf(verb, accounts[1]); strings.Contains(s, "second") || strings.Contains(s, testSecret) {
			t.Errorf("%s prints %s", verb, s)
		}
	}

	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadUsers(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestParseUsersMistakes(t *testing.T) {
	for src, want := range map[string]string{
		"":                            "no users",
		"# nobody\n\nuser,password\n": "no users",
		"alice\n":                     "line 1: 1 fields; want user,password or user,password,totp",
		"alice,hunter2,x,y\n":         "line 1: 4 fields",
		",hunter2\n":                  "line 1: no name",
		"bob,b\nalice,\n":             "line 2: no password",
		"bob,b\n\nbob,c\n":            `line 3: user "bob" a second time`,
		"alice,b,hunter2!\n":          `line 1: the totp of "alice": `,
		"alice,b,otpauth://hotp/x?secret=hunter2":                   "neither a base32 secret",
		"alice,b,otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=0": "a period of 0",
		"\"alice,hunter2\n": "no CSV",
	} {
		_, err := parseUsers(strings.NewReader(src))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", src, err, want)
		}
	}
	if users, err := parseUsers(strings.NewReader("User,Password\nalice,secret\n# bob\ncarol,x,\n")); err != nil || len(users) != 2 {
		t.Errorf("%v, %v", users, err)
	}
}

func FuzzUsersFile(f *testing.F) {
	f.Add([]byte("user,password,totp\nalice,secret," + testSecret + "\n"))
	f.Add([]byte("# x\n\"a\"\"b\",c\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		users, err := parseUsers(strings.NewReader(string(src)))
		if err == nil && len(users) == 0 {
			t.Error("neither users nor an error")
		}
		for _, u := range users {
			if u.token != nil {
				if _, err := u.token.code(1); err != nil {
					t.Errorf("a token without codes: %v", err)
				}
			}
		}
	})
}
