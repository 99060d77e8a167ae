package freeradius

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is its name on Debian; elsewhere it is radiusd.
const program = "freeradius"

// Options say how the server differs from the usual.
type Options struct {
	NoMPPE     bool // mschap's use_mppe = no
	Unsigned   bool // no Message-Authenticator in replies, as 3.2.1 comes from the box
	KnowsCodes bool // strips the code behind the name before it looks the user up
	TLS        bool // RadSec beside UDP
	Acct       bool // accounting over UDP; Accounted is what was stored
}

// Server is a running FreeRADIUS.
type Server struct {
	Options
	Dir      string // the configuration
	Secret   string
	Addr     string // UDP, host:port
	Port     int
	AcctAddr string // accounting, host:port; "" without
	AcctPort int
	TLSAddr  string // RadSec, host:port; "" without
	TLSPort  int
	// Client is what a RadSec client connects with; nil without TLS.
	Client *tls.Config

	mu  sync.Mutex
	cmd *exec.Cmd
	log []string // what it printed
	end chan struct{}
}

// ready is what it prints when its ports are open.
const ready = "Ready to process requests"

// Start starts a server that ends with the test. A test without FreeRADIUS skips.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	need(t)
	s := &Server{Options: o, Dir: t.TempDir(), Secret: rand.Text()}
	if o.TLS {
		if err := s.certify(); err != nil {
			t.Fatalf("make FreeRADIUS's certificates: %v", err)
		}
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("FreeRADIUS at %s printed at last:\n%s", s.Addr, strings.Join(s.last(60), "\n"))
		}
	})
	var err error
	for range 5 { // another process may take the port before it does
		if err = s.choosePorts(); err != nil {
			break
		}
		if err = s.write(); err != nil {
			break
		}
		if err = s.start(); err == nil || !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	if err != nil {
		t.Fatalf("start FreeRADIUS: %v", err)
	}
	return s
}

// need skips where FreeRADIUS is not installed.
func need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (integration/apt.sh)", program)
	}
}

// Version is the server's own word.
func Version(t testing.TB) string {
	t.Helper()
	need(t)
	out, err := exec.Command(program, "-v").Output()
	if err != nil {
		t.Fatalf("%s -v: %v", program, err)
	}
	line, _, _ := strings.Cut(string(out), ",")
	return strings.TrimPrefix(line, "radiusd: ")
}

func (s *Server) choosePorts() error {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer udp.Close()
	s.Addr = udp.LocalAddr().String()
	s.Port = udp.LocalAddr().(*net.UDPAddr).Port
	if s.Acct {
		acct, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer acct.Close()
		s.AcctAddr = acct.LocalAddr().String()
		s.AcctPort = acct.LocalAddr().(*net.UDPAddr).Port
	}
	if s.TLS {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer tcp.Close()
		s.TLSAddr = tcp.Addr().String()
		s.TLSPort = tcp.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// start runs the server and waits until its ports are open.
func (s *Server) start() error {
	cmd := exec.Command(program, "-fxx", "-l", "stdout", "-n", "radiusd", "-d", s.Dir)
	// A test that dies does not leave its server behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return err
	}
	opened, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go func() { // ends with the server's output; Kill waits for it
		defer close(end)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			s.mu.Lock()
			s.log = append(s.log, lines.Text())
			s.mu.Unlock()
			if strings.Contains(lines.Text(), ready) {
				once.Do(func() { close(opened) })
			}
		}
	}()
	s.mu.Lock()
	s.cmd, s.end = cmd, end
	s.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-end:
	case <-time.After(30 * time.Second):
	}
	s.Kill()
	return fmt.Errorf("it did not get ready:\n%s", strings.Join(s.last(15), "\n"))
}

// last are the last n lines it printed.
func (s *Server) last(n int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log[max(0, len(s.log)-n):]...)
}

// Log is everything it printed.
func (s *Server) Log() string { return strings.Join(s.last(1<<30), "\n") }

// Accounted is the accounting records that the server has stored, as its rlm_detail writes
// them: a line for each attribute.
func (s *Server) Accounted() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, "detail"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	// Records end with an empty line; one that is being written does not yet.
	records := strings.Split(string(text), "\n\n")
	return records[:len(records)-1], err
}

// Freeze stops the server, which keeps its ports: what is sent to it stays unanswered
// until Resume.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Resume lets a frozen server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// Kill ends the server without notice.
func (s *Server) Kill() {
	s.mu.Lock()
	cmd, end := s.cmd, s.end
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-end
	_ = cmd.Wait() // its error is our signal
}

// Restart ends the server, if it runs, and starts it on the same ports.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		t.Fatalf("restart FreeRADIUS: %v", err)
	}
}
