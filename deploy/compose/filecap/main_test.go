package main

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// `setcap cap_net_admin,cap_net_raw+ep FILE` writes these octets.
const wanted = "0100000200300000000000000000000000000000"

func TestCapData(t *testing.T) {
	if got := hex.EncodeToString(capData(node)); got != wanted {
		t.Errorf("%s, not %s", got, wanted)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	made, to, state := filepath.Join(dir, "file"), filepath.Join(dir, "to"), filepath.Join(dir, "state")
	file := filepath.Join(to, "file")
	if err := os.WriteFile(made, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {made}, {made, to}, {made + "x", to, state}} {
		if run(args) == nil {
			t.Errorf("%q was right", args)
		}
	}
	if os.Geteuid() != 0 {
		return // nobody else may give capabilities away
	}
	if err := run([]string{made, to, state}); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(state); err != nil || !i.IsDir() {
		t.Error(err)
	}
	value := make([]byte, 64)
	n, err := unix.Getxattr(file, "security.capability", value)
	if got := hex.EncodeToString(value[:max(n, 0)]); err != nil || got != wanted {
		t.Errorf("%s, %v; want %s", got, err, wanted)
	}
	// The kernel's word, where somebody is there to say it.
	if out, err := exec.Command("getcap", file).Output(); err == nil && !strings.Contains(string(out), "cap_net_admin,cap_net_raw=ep") {
		t.Errorf("getcap: %s", out)
	}
}
