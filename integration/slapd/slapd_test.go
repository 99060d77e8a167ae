package slapd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/mschap"
)

func search(c *ldap.Conn, user string, attributes ...string) (*ldap.Entry, error) {
	res, err := c.Search(ldap.NewSearchRequest(PeopleDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 5, false, "(uid="+user+")", attributes, nil))
	if err != nil {
		return nil, err
	}
	if len(res.Entries) != 1 {
		return nil, fmt.Errorf("%d entries", len(res.Entries))
	}
	return res.Entries[0], nil
}

func TestHashes(t *testing.T) {
	t.Log(Version(t))
	hash := mschap.NTHash("Alice-Pass1")
	for _, o := range []Options{{}, {FreeIPA: true}, {NoTLS: true}} {
		s := Start(t, o)
		attribute, want := "sambaNTPassword", fmt.Sprintf("%X", hash)
		if o.FreeIPA {
			attribute, want = "ipaNTHash", string(hash[:])
		}
		for dn, want := range map[string]string{s.BindDN: want, s.BlindDN: ""} {
			c, err := s.dial(dn, s.BindPassword)
			if err != nil {
				t.Fatal(err)
			}
			e, err := search(c, "alice", attribute)
			if err != nil || e.GetAttributeValue(attribute) != want {
				t.Errorf("%+v: %s reads %x: %v", o, dn, e.GetAttributeValue(attribute), err)
			}
			_ = c.Close()
		}
	}
}

func TestPasswords(t *testing.T) {
	s := Start(t, Options{})
	for _, tt := range []struct {
		name, password string
		ok             bool
	}{{"bob", Password("bob"), true}, {"bob", "wrong", false}, {"policy", Password("policy"), false}} {
		c, err := s.dial("uid="+tt.name+","+PeopleDN, tt.password)
		if (err == nil) != tt.ok {
			t.Errorf("%s with %s: %v", tt.name, tt.password, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
	c, err := ldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(s.BindDN, s.BindPassword); !ldap.IsErrorWithCode(err, ldap.LDAPResultConfidentialityRequired) {
		t.Errorf("a password in clear: %v", err)
	}
}

func TestStartTLS(t *testing.T) {
	s := Start(t, Options{})
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for name, ok := range map[string]bool{"127.0.0.1": true, "ldap.corp.example": true, "other.corp.example": false} {
		c, err := ldap.DialURL("ldap://" + s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		err = c.StartTLS(&tls.Config{RootCAs: roots, ServerName: name})
		if err == nil {
			err = c.Bind(s.BindDN, s.BindPassword)
		}
		if (err == nil) != ok {
			t.Errorf("as %s: %v", name, err)
		}
		_ = c.Close()
	}
}

// Wrong passwords lock an account, by the policy overlay.
func TestLockout(t *testing.T) {
	s := Start(t, Options{})
	admin := s.LDAP(t)
	locked := func() string {
		e, err := search(admin, "alice", "pwdAccountLockedTime")
		if err != nil {
			t.Fatal(err)
		}
		return e.GetAttributeValue("pwdAccountLockedTime")
	}
	if at := locked(); at != "" {
		t.Fatalf("locked at %s to begin with", at)
	}
	for range 5 {
		if _, err := s.dial("uid=alice,"+PeopleDN, "wrong"); err == nil {
			t.Fatal("bound with a wrong password")
		}
	}
	if locked() == "" {
		t.Error("not locked after five wrong passwords")
	}
	if _, err := s.dial("uid=alice,"+PeopleDN, Password("alice")); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("a locked account binds: %v", err)
	}
}

func TestNothingLeft(t *testing.T) {
	var pid int
	t.Run("test", func(t *testing.T) { pid = Start(t, Options{}).cmd.Process.Pid })
	if !gone(pid) {
		t.Error("slapd still runs")
	}
}

// A test binary that is killed ends nothing itself.
func TestKilledTest(t *testing.T) {
	const child = "POSTERN_TEST_CHILD"
	if dir := os.Getenv(child); dir != "" {
		t.Setenv("TMPDIR", dir)
		s := Start(t, Options{})
		fmt.Printf("running %d\n", s.cmd.Process.Pid)
		s.Freeze() // a frozen one must die too
		select {}
	}
	need(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTest$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), child+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, scanned := fmt.Fscanf(out, "running %d\n", &pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if scanned != nil {
		t.Fatal("the child has started no server: ", scanned)
	}
	if !gone(pid) {
		t.Error("slapd outlives the test")
	}
}

// gone waits until a process has ended, and says whether it has.
func gone(pid int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// A zombie waits for whoever reaps orphans here.
		if err != nil || bytes.Contains(stat, []byte(") Z")) {
			return true
		}
	}
	return false
}

func TestFreezeKillRestart(t *testing.T) {
	s := Start(t, Options{})
	c := s.LDAP(t)
	s.Freeze()
	c.SetTimeout(1e8)
	if _, err := search(c, "bob"); err == nil {
		t.Error("a frozen server answers")
	}
	s.Resume()
	if _, err := search(s.LDAP(t), "bob"); err != nil {
		t.Error(err)
	}
	s.Kill()
	if _, err := s.dial(s.BindDN, s.BindPassword); err == nil {
		t.Error("a dead server answers")
	}
	s.Restart(t)
	if _, err := search(s.LDAP(t), "bob"); err != nil {
		t.Error(err)
	}
}
