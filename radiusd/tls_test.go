package radiusd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"postern/internal/radius"
)

// authority is a CA for tests, in memory.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate that is good until then.
func (a *authority) issue(t testing.TB, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Unix(0, 0), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) server(t testing.TB) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(t, "radius.example.org", time.Unix(1<<32, 0))},
		ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
	}
}

func (a *authority) client(t testing.TB, name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(t, name, time.Unix(1<<32, 0))},
		RootCAs: a.pool, ServerName: "radius.example.org",
	}
}

// newClient is a node's client of one server.
func newClient(t testing.TB, server radius.Server) *radius.Client {
	t.Helper()
	c, err := radius.NewClient(radius.ClientConfig{Name: "gw1", Servers: []radius.Server{server}, Timeout: 5 * time.Second})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// exchange asks through c, and expects a code.
func exchange(t testing.TB, c *radius.Client, fill func(*radius.Packet), want radius.Code) *radius.Packet {
	t.Helper()
	p := &radius.Packet{Code: radius.CodeAccessRequest}
	if want == radius.CodeAccountingResponse {
		p.Code = radius.CodeAccountingRequest
	}
	fill(p)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	reply, err := c.Exchange(ctx, p)
	must(t, err)
	wantCode(t, reply, want)
	return reply
}
