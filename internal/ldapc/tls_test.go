package ldapc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/failover"
)

// authority is a CA of the test's.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// serves makes a server's configuration; change may spoil the certificate.
func (a *authority) serves(t *testing.T, change func(c *x509.Certificate)) *tls.Config {
	t.Helper()
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames: []string{"a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: a.key}}}
}

func TestTLS(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(c *x509.Certificate)
		server  func(c *tls.Config)
		foreign bool // the CA is not ours
		want    Problem
		text    string
	}{
		"good":          {},
		"wrong name":    {change: func(c *x509.Certificate) { c.DNSNames = []string{"dc7", "dc7.lab.example"} }, want: WrongName, text: "the certificate is that of dc7, dc7.lab.example"},
		"no name":       {change: func(c *x509.Certificate) { c.DNSNames = nil }, want: NoName, text: "no subjectAltName"},
		"unknown CA":    {foreign: true, want: UnknownCA, text: `it was issued by "CN=Foreign CA"`},
		"expired":       {change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, want: Expired, text: `of "CN=a" was valid until 20`},
		"not yet valid": {change: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour / 2) }, want: NotYetValid, text: `is valid from 20`},
		"not a server's": {
			change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, want: BadCertificate, text: "incompatible key usage",
		},
		"old TLS": {server: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, want: OldTLS, text: "nothing above TLS 1.1"},
	} {
		for _, mode := range []TLS{LDAPS, StartTLS} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				ca := newAuthority(t, "Lab CA")
				issuer := ca
				if c.foreign {
					issuer = newAuthority(t, "Foreign CA")
				}
				f := &fake{socket: true, tls: issuer.serves(t, c.change), startTLS: mode == StartTLS}
				if c.server != nil {
					c.server(f.tls)
				}
				cl := testClient(t, Config{TLS: mode, CA: ca.pool(), Bind: simple("Secret")}, f)
				err := search(t, cl)
				checked, checkErr := cl.Check(t.Context(), "a")
				if c.want == ProblemUnknown {
					if err != nil || checkErr != nil {
						t.Fatal(err, checkErr)
					}
					if checked.TLS != "TLS 1.3" || checked.Certificate == nil || checked.Server != "a" {
						t.Errorf("%+v", checked)
					}
					return
				}
				var e *TLSError
				if !errors.As(err, &e) || e.Problem != c.want || !strings.Contains(err.Error(), c.text) || !failover.IsAway(err) {
					t.Errorf("%v", err)
				}
				if e == nil {
					return
				}
				if (e.Certificate == nil) != (c.want == OldTLS) || !errors.As(checkErr, &e) {
					t.Errorf("certificate %v, check: %v", e.Certificate, checkErr)
				}
				if b := f.bound(); len(b) != 0 {
					t.Errorf("bound %q", b)
				}
			})
		}
	}
}

// A certificate that runs out ends no connection, and lets no new one begin, not
// even by a resumed session.
func TestExpiresMeanwhile(t *testing.T) {
	ca := newAuthority(t, "Lab CA")
	f := &fake{socket: true, tls: ca.serves(t, nil)}
	c := testClient(t, Config{TLS: LDAPS, CA: ca.pool()}, f)
	for range 3 {
		if err := c.Bind(t.Context(), "cn=alice", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	p, err := c.pool("a")
	if err != nil {
		t.Fatal(err)
	}
	p.tls.Time = func() time.Time { return time.Now().Add(time.Hour) }
	var e *TLSError
	if err := c.Bind(t.Context(), "cn=alice", []byte("x")); !errors.As(err, &e) || e.Problem != Expired {
		t.Error(err)
	}
}

func TestServerName(t *testing.T) {
	ca := newAuthority(t, "Lab CA")
	f := &fake{socket: true, tls: ca.serves(t, func(c *x509.Certificate) { c.DNSNames = []string{"dc7"} })}
	c := testClient(t, Config{TLS: LDAPS, CA: ca.pool(), ServerName: "dc7"}, f)
	if err := search(t, c); err != nil {
		t.Error(err)
	}
}

// Where TLS is wanted, nothing is said without it.
func TestNoTLS(t *testing.T) {
	for name, c := range map[string]struct {
		mode TLS
		f    *fake
		text string
	}{
		"plain server at the LDAPS port": {LDAPS, &fake{socket: true}, "hung up"},
		"plain server that answers": {StartTLS, &fake{socket: true, answer: func(r *request) bool {
			r.done(ldap.LDAPResultProtocolError, "unsupported extended operation")
			return true
		}}, "unsupported extended operation"},
		"another answer": {StartTLS, &fake{socket: true, answer: func(r *request) bool {
			r.op.Tag = ldap.ApplicationSearchRequest
			r.done(0, "")
			return true
		}}, "the answer is none to an extended request"},
		"success, and no TLS": {StartTLS, &fake{socket: true, answer: func(r *request) bool {
			r.done(0, "")
			r.conn.Write([]byte("0\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
			return true
		}}, "something other than TLS is spoken at this port"},
		"nothing":   {StartTLS, &fake{socket: true, answer: func(*request) bool { return false }}, "StartTLS: read the answer"},
		"an attack": {StartTLS, &fake{socket: true, startTLS: true, inject: "0\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"}, "something other than TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t, "Lab CA")
			c.f.tls = nil
			if c.f.startTLS {
				c.f.tls = ca.serves(t, nil)
			}
			cl := testClient(t, Config{TLS: c.mode, CA: ca.pool(), Bind: simple("Secret")}, c.f)
			err := search(t, cl)
			if err == nil || !strings.Contains(err.Error(), c.text) || IsAnswer(err) {
				t.Error(err)
			}
			if b := c.f.bound(); len(b) != 0 {
				t.Errorf("bound %q", b)
			}
		})
	}
}

// Without TLS, passwords go to this host only.
func TestPlainElsewhere(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:389": true, "127.77.1.1:389": true, "[::1]:389": true, "[::ffff:127.0.0.1]:389": true,
		"10.0.0.1:389": false, "[2001:db8::1]:389": false, "[::ffff:10.0.0.1]:389": false,
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if loopback(a) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	ours, theirs := net.Pipe() // its address is nowhere
	defer ours.Close()
	defer theirs.Close()
	cfg := &Config{Servers: []string{"a"}, TLS: Plain, Bind: simple("x")}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	p, err := newPool(cfg, "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.secure(t.Context(), ours); err == nil || !strings.Contains(err.Error(), "not on this host") {
		t.Error(err)
	}
}
