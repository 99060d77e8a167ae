package directory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/seal"
)

func TestReseal(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	ring, err := seal.CreateFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	u := &Users{Path: filepath.Join(dir, "users"), Ring: ring}
	if _, err := u.Reseal(); err == nil {
		t.Error("resealed a file that is not there")
	}
	for _, name := range []string{"Alice", "bob", "carol"} {
		password := "password of " + name
		if name == "carol" {
			password = ""
		}
		if err := u.Add(User{Name: name, Groups: []string{"Domain Users"}}, password); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(u.Path, append([]byte("# mine\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := u.Reseal(); n != 0 || err != nil {
		t.Errorf("before a rotation: %d, %v", n, err)
	}
	old, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if u.Ring, err = seal.RotateFile(keys); err != nil {
		t.Fatal(err)
	}
	if err := u.SetPassword("bob", "another"); err != nil { // under the new key already
		t.Fatal(err)
	}
	if n, err := u.Reseal(); n != 1 || err != nil {
		t.Errorf("after a rotation: %d, %v", n, err)
	}
	now, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(now), "# mine\n") || strings.Count(string(now), "\n") != strings.Count(string(old), "\n") {
		t.Errorf("more than the hashes changed:\n%s", now)
	}

	// The new key alone opens all that is left.
	lines, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(lines)) {
		if kept = append(kept, line); !strings.HasPrefix(line, "#") {
			break
		}
	}
	ring, err = seal.ParseRing([]byte(strings.Join(kept, "")))
	if err != nil {
		t.Fatal(err)
	}
	alone := &Users{Path: u.Path, Ring: ring}
	if list, err := alone.List(); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := (&Users{Path: u.Path, Ring: ring}).Reseal(); err != nil {
		t.Error(err)
	}
	u.Ring = nil
	if _, err := u.Reseal(); err == nil {
		t.Error("resealed without a key ring")
	}
}
