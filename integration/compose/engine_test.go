//go:build integration

package compose

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// engineTime is how long an engine may take to start, and to end.
const engineTime = 30 * time.Second

// engine returns the environment in which docker finds an engine: one that runs
// already, or one of our own that ends with the test.
func engine(t *testing.T) []string {
	t.Helper()
	if exec.Command("docker", "info").Run() == nil {
		t.Log("an engine runs already")
		return os.Environ()
	}
	if os.Geteuid() != 0 {
		t.Skip("no Docker engine runs, and starting one needs root")
	}
	for _, tool := range []string{"docker", "dockerd", "containerd", "debootstrap", "iptables-save"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (integration/apt.sh)", tool)
		}
	}
	// Not below /tmp, which may be in memory or on an overlay itself.
	dir, err := os.MkdirTemp("/var/tmp", "postern-docker-")
	if err != nil {
		t.Fatal(err)
	}
	restore := keepHost(t)
	host := "unix://" + filepath.Join(dir, "socket")
	var said bytes.Buffer
	cmd := exec.Command("dockerd", "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--host", host, "--pidfile", filepath.Join(dir, "pid"), "--group", "root")
	cmd.Stdout, cmd.Stderr = &said, &said
	// Ctrl-C is for us: we end it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // read by the clean-up
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(engineTime):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			text := said.String()
			t.Logf("dockerd said at last:\n%s", text[max(0, len(text)-4000):])
		}
		if err := restore(); err != nil {
			t.Errorf("the host's network: %v", err)
		}
		if err := sweep(dir); err != nil {
			t.Errorf("the engine's data is left in %s: %v", dir, err)
		}
	})
	env := append(os.Environ(), "DOCKER_HOST="+host, "DOCKER_CONFIG="+filepath.Join(dir, "config"))
	for late := time.Now().Add(engineTime); ; time.Sleep(100 * time.Millisecond) {
		cmd := exec.Command("docker", "info")
		cmd.Env = env
		if cmd.Run() == nil {
			return env
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("dockerd has ended: %v", err)
		default:
		}
		if time.Now().After(late) {
			t.Fatal("dockerd does not answer")
		}
	}
}

// sweep unmounts what is left below a directory and removes it.
func sweep(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // the innermost first
		if f := strings.Fields(lines[i]); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
	for range 20 {
		if err = os.RemoveAll(dir); !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("still in use: %w", err)
}
