package samba

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

func TestStart(t *testing.T) {
	one, two := Start(t, Options{}), Start(t, Options{Name: "dc2"})
	t.Log(Version(t), "at", one.Addr, "and", two.Addr)
	if one.Addr == two.Addr || two.Host != "dc2.lab.example" {
		t.Errorf("%v and %v, %s", one.Addr, two.Addr, two.Host)
	}
	// Copies of one domain: what happens in one does not in the other.
	for range 2 {
		if _, err := one.dial("alice@lab.example", "wrong"); err == nil {
			t.Error("bound with a wrong password")
		}
	}
	if a, b := one.BadPwdCount(t, "alice"), two.BadPwdCount(t, "alice"); a != 2 || b != 0 {
		t.Errorf("wrong passwords counted: %d and %d", a, b)
	}
	if c, err := two.dial(two.BindUser, two.BindPassword); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
	for _, f := range []string{one.CAFile, one.Keytab, one.Krb5Conf} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	if dn := one.DN(t, one.LDAP(t), "jürgen"); !strings.HasPrefix(dn, "CN=Jürgen Müller,") {
		t.Error(dn)
	}
}

func TestFreezeKillRestart(t *testing.T) {
	d := Start(t, Options{})
	answers := func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(d.Addr.String(), "389"), time.Second)
		if err != nil {
			return err
		}
		l := ldap.NewConn(c, false)
		l.Start()
		defer l.Close()
		l.SetTimeout(time.Second)
		_, err = l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"currentTime"}, nil))
		return err
	}
	if err := answers(); err != nil {
		t.Fatal(err)
	}
	d.Freeze()
	if answers() == nil {
		t.Error("a frozen controller answers")
	}
	d.Resume()
	if err := answers(); err != nil {
		t.Error(err)
	}
	d.Kill()
	if answers() == nil {
		t.Error("a dead controller answers")
	}
	d.Restart(t)
	if err := answers(); err != nil {
		t.Error(err)
	}
}

// running is what a controller of another process, or of the past, has of the machine.
type running struct {
	pid int
	dir string
}

// gone waits until the process has ended, and says whether it has.
func (r running) gone() bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
		// A zombie waits for whoever reaps orphans here.
		if err != nil || bytes.Contains(stat, []byte(") Z")) {
			return true
		}
	}
	return false
}

func TestNothingLeft(t *testing.T) {
	var r running
	t.Run("test", func(t *testing.T) {
		d := Start(t, Options{})
		r = running{d.cmd.Process.Pid, d.dir}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.pid, r.pid))
		if err != nil || len(children) > 0 {
			t.Errorf("processes of its own, which nobody would end: %s, %v", children, err)
		}
	})
	if !r.gone() {
		t.Error("Samba still runs")
	}
	if _, err := os.Stat(r.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", r.dir, err)
	}
}

// A test binary that is killed cleans nothing up.
func TestKilledTest(t *testing.T) {
	const child = "POSTERN_TEST_CHILD"
	if os.Getenv(child) != "" {
		d := Start(t, Options{})
		fmt.Printf("running %d %s\n", d.cmd.Process.Pid, d.dir)
		d.Freeze() // a frozen one must die too
		select {}
	}
	need(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTest$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var r running
	_, scanned := fmt.Fscanf(out, "running %d %s\n", &r.pid, &r.dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if scanned != nil {
		t.Fatal("the child has started no controller: ", scanned)
	}
	if !r.gone() {
		t.Error("Samba outlives the test")
	}
	// The next that gets the address removes the tree.
	left := filepath.Join(r.dir, "left")
	if err := os.WriteFile(left, nil, 0o600); errors.Is(err, fs.ErrNotExist) {
		return // somebody else has got it already
	} else if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		d := Start(t, Options{})
		if d.dir != r.dir {
			continue // somebody else's controller went before
		}
		if _, err := os.Stat(left); err == nil {
			t.Error("a killed test's tree is used again")
		}
		return
	}
	t.Logf("%s belongs to another process now", r.dir)
}

// A controller of somebody with another cache holds no lock of ours.
func TestAddressInUse(t *testing.T) {
	one := Start(t, Options{})
	d := &DC{}
	if d.Addr = one.Addr; d.free() {
		t.Errorf("%v is free", d.Addr)
	}
	if err := d.takeAddress(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer d.lock.Close()
	if d.Addr == one.Addr {
		t.Errorf("%v is taken twice", d.Addr)
	}
}

func TestEndpointMapper(t *testing.T) {
	d := Start(t, Options{})
	if port, err := d.endpoint(epmMap); err != nil || port < 1024 {
		t.Errorf("NETLOGON is at %d, %v", port, err)
	}
	other := bytes.Replace(epmMap, []byte("\x78\x56\x34\x12"), []byte("\x79\x56\x34\x12"), 1)
	if port, err := d.endpoint(other); err == nil {
		t.Errorf("an interface that nobody has is at %d", port)
	}
}

func TestCertificates(t *testing.T) {
	for cert, want := range map[Cert]string{Good: "", NoSAN: "SAN", WrongName: "other.lab.example", Expired: "expired"} {
		d := Start(t, Options{Cert: cert})
		pem, err := os.ReadFile(d.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		for _, name := range []string{d.Host, d.Addr.String()} {
			c, err := ldap.DialURL("ldaps://"+d.Addr.String(), ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots, ServerName: name}))
			if err == nil {
				err = errors.Join(c.Bind(d.BindUser, d.BindPassword), c.Close())
			}
			if cert == WrongName && name != d.Host {
				want = "SANs" // it has names only
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("certificate %d as %s: %v", cert, name, err)
			}
		}
	}
}

func TestNTLMAuth(t *testing.T) {
	for _, ntlm := range []string{"default", "ntlmv2-only", "ntlmv1-permitted", "disabled"} {
		Start(t, Options{NTLMAuth: ntlm}) // that it boots is the test: the rest is netlogon's
	}
}
