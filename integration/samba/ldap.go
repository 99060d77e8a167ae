package samba

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// patience of a test's own questions.
const patience = 20 * time.Second

// dial binds over LDAPS. The certificate's chain is checked by hand: a controller may
// have been given a bad one.
func (d *DC) dial(user, password string) (*ldap.Conn, error) {
	pem, err := os.ReadFile(filepath.Join(d.dir, "tls", "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conf := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: leaf.NotAfter.Add(-time.Second)})
		return err
	}}
	var raw *tls.Conn
	d.in(func() {
		raw, err = tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", net.JoinHostPort(d.Addr.String(), "636"), conf)
	})
	if err != nil {
		return nil, err
	}
	c := ldap.NewConn(raw, true)
	c.Start()
	c.SetTimeout(patience)
	if err := c.Bind(user, password); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("bind as %s: %w", user, err)
	}
	return c, nil
}

// LDAP is a connection as administrator, for tests that change accounts. It is closed
// with the test.
func (d *DC) LDAP(t testing.TB) *ldap.Conn {
	t.Helper()
	c, err := d.dial(d.AdminUser, d.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// DN is where an account of the fixture is.
func (d *DC) DN(t testing.TB, c *ldap.Conn, user string) string {
	t.Helper()
	return d.entry(t, c, user).DN
}

// BadPwdCount is how many wrong passwords the controller has counted.
func (d *DC) BadPwdCount(t testing.TB, user string) int {
	t.Helper()
	c, err := d.dial(d.AdminUser, d.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := d.entry(t, c, user).GetAttributeValue("badPwdCount")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (d *DC) entry(t testing.TB, c *ldap.Conn, user string) *ldap.Entry {
	t.Helper()
	res, err := c.Search(ldap.NewSearchRequest(d.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 0, false,
		"(sAMAccountName="+ldap.EscapeFilter(user)+")", []string{"badPwdCount"}, nil))
	if err == nil && len(res.Entries) != 1 {
		err = errors.New("not one account")
	}
	if err != nil {
		t.Fatalf("find %s: %v", user, err)
	}
	return res.Entries[0]
}

// Login tries a user's password at the controller itself, which counts it.
func (d *DC) Login(user, password string) error {
	c, err := d.dial(user+"@"+Domain, password)
	if err != nil {
		return err
	}
	return c.Close()
}
