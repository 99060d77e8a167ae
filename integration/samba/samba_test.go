package samba

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
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
	dir := d.dir
	t.Cleanup(func() {
		if _, err := os.Stat(dir); err != nil { // runs before the controller's own
			t.Error(err)
		}
	})
}

func TestOptions(t *testing.T) {
	verify := func(d *DC) error {
		pem, err := os.ReadFile(d.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		c, err := tls.Dial("tcp", net.JoinHostPort(d.Addr.String(), "636"), &tls.Config{RootCAs: roots, ServerName: d.Host})
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	for cert, want := range map[Cert]string{Good: "", NoSAN: "SAN", WrongName: "other.lab.example", Expired: "expired"} {
		err := verify(Start(t, Options{Cert: cert}))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("certificate %d: %v", cert, err)
		}
	}
	for _, ntlm := range []string{"default", "disabled"} {
		Start(t, Options{NTLMAuth: ntlm}) // that it boots is the test: the rest is netlogon's
	}
}
