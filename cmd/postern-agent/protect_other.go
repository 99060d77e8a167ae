//go:build !windows

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func stateDir() string { return "/var/lib/postern-agent" }

// protect makes the agent's directories: its own, the key's for nobody else, and one in
// which everybody may leave a request and nobody else's can be taken away.
func protect(dir string) error {
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{dir, 0o755}, {filepath.Join(dir, privateDir), 0o700}, {filepath.Join(dir, requestsDir), 0o733 | os.ModeSticky},
	} {
		if err := os.MkdirAll(d.path, 0o755); err != nil {
			return err
		}
		info, err := os.Lstat(d.path)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || ok && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("%s is another's", d.path)
		}
		if err := os.Chmod(d.path, d.mode); err != nil {
			return err
		}
	}
	return nil
}

// become runs a command in the place of this program: what dials keeps its input, its
// output and its signals. It returns when it cannot.
func become(path string, args []string) error {
	return errors.Join(fmt.Errorf("run %s", path), syscall.Exec(path, args, os.Environ()))
}

// dialler is the command that dials a connection of the system's.
func dialler(name string) []string { return []string{"pon", name} }
