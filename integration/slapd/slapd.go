package slapd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Options say what kind of directory it is.
type Options struct {
	FreeIPA bool // ipaNTHash in place of Samba's schema
	NoTLS   bool // passwords in clear are taken, certificates are not shown
}

// The directory's names and passwords. Everybody else's password is Name-Pass1.
const (
	BaseDN   = "dc=corp,dc=example"
	PeopleDN = "ou=people," + BaseDN
	GroupDN  = "ou=groups," + BaseDN

	bindDN       = "uid=postern,ou=services," + BaseDN // reads hashes
	blindDN      = "uid=blind,ou=services," + BaseDN   // reads all but hashes
	bindPassword = "Service-Pass1"
	rootDN       = "cn=root," + BaseDN
	rootPassword = "Root-Pass1"
)

// Server is a running slapd.
type Server struct {
	Options
	Addr    string // LDAP and StartTLS, host:port
	TLSAddr string // LDAPS, host:port; "" without
	CAFile  string
	BaseDN  string

	BindDN, BindPassword   string // may read hashes
	BlindDN, BlindPassword string // may not
	RootDN, RootPassword   string

	dir string
	mu  sync.Mutex
	cmd *exec.Cmd
	end chan struct{} // closed when cmd has ended
	out bytes.Buffer
}

// Start starts a server that ends with the test. A test without OpenLDAP skips.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	need(t)
	s := &Server{
		Options: o, dir: t.TempDir(), BaseDN: BaseDN, BindDN: bindDN, BindPassword: bindPassword,
		BlindDN: blindDN, BlindPassword: bindPassword, RootDN: rootDN, RootPassword: rootPassword,
	}
	s.CAFile = filepath.Join(s.dir, "ca.pem")
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("slapd at %s printed at last:\n%s", s.Addr, s.last(40))
		}
	})
	if err := s.prepare(); err != nil {
		t.Fatalf("prepare slapd: %v", err)
	}
	var err error
	for range 5 { // another process may take the ports before it does
		if err = s.choosePorts(); err != nil {
			break
		}
		if err = s.boot(); err == nil {
			break
		}
		s.Kill()
	}
	if err != nil {
		t.Fatalf("start slapd: %v\n%s", err, s.last(40))
	}
	return s
}

// need skips where OpenLDAP is not installed.
func need(t testing.TB) {
	t.Helper()
	for _, p := range []string{"slapd", "slapadd"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed (integration/apt.sh)", p)
		}
	}
}

// Version is OpenLDAP's own word.
func Version(t testing.TB) string {
	t.Helper()
	need(t)
	out, _ := exec.Command("slapd", "-VV").CombinedOutput() // it ends with 1
	_, rest, _ := strings.Cut(string(out), "slapd ")
	version, _, _ := strings.Cut(rest, " (")
	return "slapd " + strings.TrimSpace(version)
}

// prepare writes configuration, certificates and database.
func (s *Server) prepare() error {
	if err := certify(s.dir); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"samba.schema": sambaSchema, "freeipa.schema": freeipaSchema, "slapd.conf": s.conf(), "seed.ldif": s.seed(),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	out, err := exec.Command("slapadd", "-q", "-f", filepath.Join(s.dir, "slapd.conf"), "-l", filepath.Join(s.dir, "seed.ldif")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("slapadd: %w\n%s", err, out)
	}
	return nil
}

//go:embed testdata/samba.schema
var sambaSchema string

//go:embed testdata/freeipa.schema
var freeipaSchema string

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include DIR/samba.schema
include DIR/freeipa.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile DIR/slapd.pid
TLSCACertificateFile DIR/ca.pem
TLSCertificateFile DIR/server.pem
TLSCertificateKeyFile DIR/server.key
security simple_bind=128
access to attrs=sambaNTPassword,ipaNTHash by dn.exact="uid=postern,ou=services,dc=corp,dc=example" read by * none
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
database mdb
maxsize 16777216
suffix "dc=corp,dc=example"
rootdn "cn=root,dc=corp,dc=example"
rootpw Root-Pass1
directory DIR/db
index uid,member eq
overlay ppolicy
ppolicy_default "cn=policy,ou=services,dc=corp,dc=example"
`

func (s *Server) conf() string {
	text := strings.ReplaceAll(slapdConf, "DIR", s.dir)
	if s.NoTLS {
		text = strings.Replace(text, "security simple_bind=128\n", "", 1)
	}
	return text
}

func (s *Server) choosePorts() error {
	var addrs [2]string
	for i := range addrs {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		addrs[i] = l.Addr().String()
	}
	s.Addr = addrs[0]
	if !s.NoTLS {
		s.TLSAddr = addrs[1]
	}
	return nil
}

// boot starts slapd and waits until it answers.
func (s *Server) boot() error {
	urls := "ldap://" + s.Addr + "/"
	if s.TLSAddr != "" {
		urls += " ldaps://" + s.TLSAddr + "/"
	}
	cmd := exec.Command("slapd", "-f", filepath.Join(s.dir, "slapd.conf"), "-h", urls, "-d", "0")
	cmd.Stdout, cmd.Stderr = s, s
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, end := make(chan error), make(chan struct{})
	go func() {
		// Pdeathsig is about the thread that starts the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(end)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd, s.end = cmd, end
	s.mu.Unlock()
	for late := time.Now().Add(30 * time.Second); ; {
		c, err := s.dial(s.BindDN, s.BindPassword)
		if err == nil {
			return c.Close()
		}
		select {
		case <-end:
			return fmt.Errorf("it has ended: %v", cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(late) {
			return err
		}
	}
}

func (s *Server) dial(user, password string) (*ldap.Conn, error) {
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	var raw net.Conn
	if s.NoTLS {
		raw, err = dialer.Dial("tcp", s.Addr)
	} else {
		raw, err = tls.DialWithDialer(dialer, "tcp", s.TLSAddr, &tls.Config{RootCAs: roots})
	}
	if err != nil {
		return nil, err
	}
	c := ldap.NewConn(raw, !s.NoTLS)
	c.Start()
	c.SetTimeout(10 * time.Second)
	if err := c.Bind(user, password); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("bind as %s: %w", user, err)
	}
	return c, nil
}

// LDAP is a connection as rootdn, for tests that change entries. It is closed with the
// test.
func (s *Server) LDAP(t testing.TB) *ldap.Conn {
	t.Helper()
	c, err := s.dial(s.RootDN, s.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Freeze stops it where it stands: connections stay open and nothing answers.
func (s *Server) Freeze() {
	s.signal(syscall.SIGSTOP)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !s.stopped(); {
		time.Sleep(time.Millisecond)
	}
}

// stopped says whether every thread has stopped: a signal takes its time.
func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return true
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if i := bytes.LastIndexByte(text, ')'); err == nil && !bytes.HasPrefix(text[i+1:], []byte(" T")) {
			return false
		}
	}
	return true
}

// Resume ends Freeze.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// Kill ends it as a power cut does.
func (s *Server) Kill() {
	s.mu.Lock()
	cmd, end := s.cmd, s.end
	s.cmd = nil
	s.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-end
	}
}

// Restart starts it again, with the data and the ports it had.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.boot(); err != nil {
		t.Fatalf("restart slapd: %v\n%s", err, s.last(40))
	}
}

// Write takes what slapd prints.
func (s *Server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *Server) last(lines int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Split(strings.TrimRight(s.out.String(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
