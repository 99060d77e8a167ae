package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/internal/store"
)

// Server is one redis-server in a directory of its own.
type Server struct {
	Addr   string // 127.0.0.1:PORT
	Socket string // the same server on a Unix socket

	t   testing.TB
	dir string
	bin []string // the program and what stands behind its configuration

	cluster bool // Config says so
	tls     bool

	mu  sync.Mutex
	cmd *exec.Cmd
	end chan struct{} // closed when cmd has ended
}

// Option changes a server's configuration.
type Option func(conf map[string]string)

// Fsync is appendfsync. "always", the default, writes before it answers: what was
// acknowledged survives Kill. "everysec" is what most installations have.
func Fsync(how string) Option { return With("appendfsync", how) }

// With sets any line of redis.conf.
func With(key, value string) Option {
	return func(conf map[string]string) { conf[key] = value }
}

// TLS has a server speak TLS only on its port, and only with those who have a certificate
// of the same authority. Its socket stays plain.
func TLS(ca, cert, key string) Option {
	return func(conf map[string]string) {
		conf["tls-port"], conf["port"] = conf["port"], "0"
		conf["tls-ca-cert-file"], conf["tls-cert-file"], conf["tls-key-file"] = ca, cert, key
		conf["tls-auth-clients"], conf["tls-replication"] = "yes", "yes"
	}
}

// Start starts a server of a test's own.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return launch(t, nil, opts...)
}

// busAbove is how far a cluster's bus port is above the port for clients.
const busAbove = 10000

// freePort finds a port that, as its bus port, lies below the kernel's ephemeral ones
// (net.ipv4.ip_local_port_range, from 32768 on): no connection takes it while a server is
// down.
func freePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 12000 + rand.IntN(10000)
		if free(port) && free(port+busAbove) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func free(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// launch writes a configuration and starts a server with it, on another port if
// somebody was faster.
func launch(t testing.TB, base map[string]string, opts ...Option) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skipf("needs redis-server (apt-get install redis-server): %v", err)
	}
	dir, err := os.MkdirTemp("", "rd") // short: a socket's path has 107 octets
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, Socket: filepath.Join(dir, "s"), bin: []string{"redis-server", filepath.Join(dir, "redis.conf")}}
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(dir)
	})
	for range 5 {
		port := freePort(t)
		s.Addr = loopback(port)
		conf := map[string]string{
			"port": strconv.Itoa(port), "bind": "127.0.0.1", "unixsocket": s.Socket, "dir": dir,
			"appendonly": "yes", "appendfsync": "always", "save": `""`, "loglevel": "notice", "logfile": filepath.Join(dir, "log"),
			// A replica that is new gets its copy at once.
			"repl-diskless-sync-delay": "0", "repl-timeout": "10",
		}
		for k, v := range base {
			conf[k] = v
		}
		for _, o := range opts {
			o(conf)
		}
		s.cluster, s.tls = conf["cluster-enabled"] == "yes", conf["tls-port"] != ""
		if err = s.write(conf); err == nil {
			err = s.start()
		}
		if err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// write makes redis.conf. Redis writes it itself when its role changes.
func (s *Server) write(conf map[string]string) error {
	var b bytes.Buffer
	for k, v := range conf {
		// A key may stand for several lines, as sentinel's do.
		for line := range strings.SplitSeq(v, "\n") {
			fmt.Fprintf(&b, "%s %s\n", k, line)
		}
	}
	return os.WriteFile(s.bin[1], b.Bytes(), 0o600)
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := exec.Command(s.bin[0], s.bin[1:]...)
	// A test that dies does not leave its server behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	end := make(chan struct{})
	go func() { // Kill waits for it
		defer close(end)
		_ = cmd.Wait() // its error is our signal
	}()
	s.cmd, s.end = cmd, end
	c := s.Client()
	defer c.Close()
	var err error
	for range 500 {
		if err = c.Ping(context.Background()).Err(); err == nil || redis.HasErrorPrefix(err, "NOAUTH") || redis.HasErrorPrefix(err, "NOPERM") {
			return nil
		}
		select {
		case <-end:
			s.cmd = nil
			return fmt.Errorf("redis-server ended: %s", s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("redis-server does not answer: %w", err)
}

// Log is what the server wrote to its log.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(b)
}

// Kill ends the server without notice (SIGKILL), also one that is frozen.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.end
		s.cmd = nil
	}
}

// Restart starts the server again after Kill, on the same port with what is on its disk.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Error(err)
	}
}

// Freeze stops the server, which keeps its connections and its unread input, until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on: it does what it had not read yet.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// URL is where programs find the server.
func (s *Server) URL() string {
	if s.tls {
		return "rediss://" + s.Addr
	}
	return "redis://" + s.Addr
}

// Client is a plain client, to look from outside; the caller closes it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
}

// Config is the store's configuration for this server. Time-outs are generous: the
// machine of a test run is busy.
func (s *Server) Config() store.RedisConfig {
	return store.RedisConfig{Addrs: []string{s.Addr}, Cluster: s.cluster, Timeout: 10 * time.Second}
}

// Open opens a store on the server that closes with the test.
func (s *Server) Open(t testing.TB) store.Store {
	t.Helper()
	return open(t, s.Config())
}

func open(t testing.TB, c store.RedisConfig) store.Store {
	t.Helper()
	st, err := store.OpenRedis(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// do asks one server, with an answer in time: it may be frozen.
func (s *Server) do(args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c := s.Client()
	defer c.Close()
	return c.Do(ctx, args...).Result()
}

func (s *Server) text(args ...any) string {
	v, err := s.do(args...)
	if err != nil {
		return ""
	}
	text, _ := v.(string)
	return text
}

// info is one value of INFO.
func (s *Server) info(section, key string) string {
	for line := range strings.Lines(s.text("info", section)) {
		if v, found := strings.CutPrefix(strings.TrimSpace(line), key+":"); found {
			return v
		}
	}
	return ""
}

// alive says that the server runs and answers.
func (s *Server) alive() bool {
	s.mu.Lock()
	running := s.cmd != nil
	s.mu.Unlock()
	if !running {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	c := s.Client()
	defer c.Close()
	return c.Ping(ctx).Err() == nil
}

// eventually waits for what takes a while.
func eventually(t testing.TB, most time.Duration, what string, f func() bool) bool {
	t.Helper()
	for end := time.Now().Add(most); ; time.Sleep(50 * time.Millisecond) {
		if f() {
			return true
		}
		if time.Now().After(end) {
			t.Errorf("after %v: %s", most, what)
			return false
		}
	}
}
