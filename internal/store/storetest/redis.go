// Package storetest starts stores for tests and holds the one suite that every
// back end passes.
package storetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/store"
)

// Redis is a redis-server of a test's own: on a Unix socket in its own
// directory, with an append-only file written through, so that what was answered
// survives Kill.
type Redis struct {
	Socket string
	Port   int // with StartCluster and StartTCP, on loopback
	dir    string
	alone  bool // no cluster
	cmd    *exec.Cmd
}

// StartRedis starts a server that ends with the test. Without redis-server on
// the machine the test is skipped.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	return start(t, 0, true)
}

// StartTCP starts a server that programs find by its URL.
func StartTCP(t testing.TB) *Redis {
	t.Helper()
	return start(t, freePort(t), true)
}

// URL is where a server on a port is found.
func (r *Redis) URL() string {
	return "redis://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port))
}

// StartCluster starts a cluster of one server that has all slots: it refuses
// what a cluster refuses, scripts over several slots above all.
func StartCluster(t testing.TB) *Redis {
	t.Helper()
	r := start(t, freePort(t), false)
	c := r.Client()
	defer c.Close()
	ctx := context.Background()
	if err := c.Do(ctx, "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if info := c.ClusterInfo(ctx).Val(); strings.Contains(info, "cluster_state:ok") {
			return r
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the cluster does not come up")
	return nil
}

// freePort finds a port whose cluster bus port, 10000 above, exists.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port < 55000 {
			return port
		}
	}
}

func start(t testing.TB, port int, alone bool) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skipf("needs redis-server (apt-get install redis-server): %v", err)
	}
	dir, err := os.MkdirTemp("", "rd") // short: a socket's path has 107 octets
	if err != nil {
		t.Fatal(err)
	}
	r := &Redis{Socket: filepath.Join(dir, "s"), Port: port, dir: dir, alone: alone}
	t.Cleanup(func() {
		r.Kill()
		os.RemoveAll(dir)
	})
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// Start starts the server, again after Kill, and waits until it answers.
func (r *Redis) Start() error {
	args := []string{"--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1", "--unixsocket", r.Socket,
		"--dir", r.dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "",
		"--loglevel", "warning"}
	if !r.alone {
		args = append(args, "--cluster-enabled", "yes")
	}
	r.cmd = exec.Command("redis-server", args...)
	// A test that dies does not leave its server behind.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	c := r.Client()
	defer c.Close()
	var err error
	for range 500 {
		if err = c.Ping(context.Background()).Err(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("redis-server does not answer: %w", err)
}

// Kill ends the server without notice (SIGKILL).
func (r *Redis) Kill() {
	if r.cmd != nil {
		r.cmd.Process.Kill()
		r.cmd.Wait() // its error is our signal
		r.cmd = nil
	}
}

// Pause stops the server, which keeps its connections, until Resume.
func (r *Redis) Pause()  { r.cmd.Process.Signal(syscall.SIGSTOP) }
func (r *Redis) Resume() { r.cmd.Process.Signal(syscall.SIGCONT) }

// Client is a plain client, to look from outside.
func (r *Redis) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: r.Socket, MaxRetries: -1})
}

// Config is the store's configuration for this server.
func (r *Redis) Config() store.RedisConfig {
	// Generous: the machine of a test run is busy.
	c := store.RedisConfig{Addrs: []string{r.Socket}, Timeout: 10 * time.Second}
	if !r.alone {
		c.Addrs, c.Cluster = []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port))}, true
	}
	return c
}

// Open opens a store on the server that closes with the test.
func (r *Redis) Open(t testing.TB) store.Store {
	t.Helper()
	s, err := store.OpenRedis(r.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
