package seal

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	r, err := CreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	e, _ := r.Seal("p", "s", []byte("x"))
	if _, err := CreateFile(path); err == nil {
		t.Error("overwrote a ring")
	}
	n, err := RotateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := n.Open("p", "s", e); err != nil || string(got) != "x" || !n.Stale(e) {
		t.Errorf("after rotation: %q, %v", got, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	again, err := ReadFile(path)
	if err != nil || len(again.keys) != 2 {
		t.Fatalf("%v, %v", again, err)
	}
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil {
		t.Error("a ring others may write")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".ring-*")); left != nil {
		t.Errorf("left behind %v", left)
	}
}

func TestParseRingErrors(t *testing.T) {
	const secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISE="
	for _, row := range []struct{ text, want string }{
		{"", "no key"}, {"# only\n", "no key"}, {"a\n", "line 1"}, {"a AAAA\n", "line 1"},
		{lineA + lineA, "line 2"}, {"a.b " + secret, "line 1"}, {"# x\n" + secret, "line 2"},
		{"a " + secret[:40] + "\n", "line 1"},
	} {
		_, err := ParseRing([]byte(row.text))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q: %v", row.text, err)
		}
		if err != nil && strings.Contains(err.Error(), secret[:10]) {
			t.Errorf("shows the key: %v", err)
		}
	}
}
