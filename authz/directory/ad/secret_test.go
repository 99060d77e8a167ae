package ad

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/seal"
)

func testRing(t testing.TB) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing([]byte("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	f := &SecretFile{Path: filepath.Join(dir, "machine"), Ring: testRing(t), Account: `LAB\RGW$`}
	if _, err := f.Load(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	want := &Secret{Password: []byte("first"), Pending: []byte("second"), Changed: testNow}
	for range 2 { // new, and in place of another
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := (&SecretFile{Path: f.Path, Ring: f.Ring, Account: `lab\rgw$`}).Load()
	if err != nil || string(got.Password) != "first" || string(got.Pending) != "second" || got.Old != nil || !got.Changed.Equal(testNow) {
		t.Errorf("%+v, %v", got, err)
	}
	if c := got.candidates(); len(c) != 2 || string(c[1]) != "second" {
		t.Errorf("%q", c)
	}
	if text := fmt.Sprintf("%v %+v %#v %x %s", got, *got, got, *got, got); strings.Contains(text, "first") || strings.Contains(text, "6669") || strings.Contains(text, "102") {
		t.Errorf("printed: %s", text)
	}
	got.Clear()
	if !bytes.Equal(got.Password, make([]byte, 5)) {
		t.Error("not wiped")
	}
	text, err := os.ReadFile(f.Path)
	if err != nil || bytes.Contains(text, []byte("first")) || bytes.Contains(text, []byte("Zmlyc3Q")) {
		t.Errorf("the file shows the secret: %s, %v", text, err)
	}
	if info, _ := os.Stat(f.Path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".machine-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	other := &SecretFile{Path: f.Path, Ring: f.Ring, Account: `LAB\OTHER$`}
	if s, err := other.Load(); err == nil {
		t.Errorf("another account's secret opens: %+v", s)
	}
	if err := (&SecretFile{Path: filepath.Join(dir, "no", "machine"), Ring: f.Ring}).Save(want); err == nil {
		t.Error("saved into no directory")
	}
	if err := (&SecretFile{Path: f.Path}).Save(want); err == nil {
		t.Error("saved without a key")
	}
}

func TestBadSecretFiles(t *testing.T) {
	ring := testRing(t)
	f := &SecretFile{Path: filepath.Join(t.TempDir(), "machine"), Ring: ring, Account: "x"}
	empty, _ := ring.Seal(secretPurpose, "X", []byte("{}"))
	noJSON, _ := ring.Seal(secretPurpose, "X", []byte("hunter2"))
	for about, text := range map[string]string{
		"empty": "", "comments": "# x\n\n", "two": "v1.a.b\nv1.c.d\n", "plain": "hunter2\n", "no password": empty + "\n", "no JSON": noJSON + "\n",
		"long": strings.Repeat("#", maxSecretFile+1),
	} {
		if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := f.Load()
		if err == nil {
			t.Errorf("%s: %+v", about, s)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a secret: %v", about, err)
		}
	}
}

// FuzzSecretFile: an envelope that is found can be written and is found again.
func FuzzSecretFile(f *testing.F) {
	f.Add([]byte(secretHead + "v1.k1.AAAA\n"))
	f.Add([]byte("\r\n v1.k1.AAAA \r\n#"))
	f.Add([]byte("a\nb"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseSecretFile(text)
		if err != nil {
			return
		}
		if again, err := parseSecretFile([]byte(secretHead + e + "\n")); err != nil || again != e {
			t.Fatalf("%q became %q, %v", e, again, err)
		}
	})
}
