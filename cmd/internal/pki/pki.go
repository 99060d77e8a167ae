// Package pki makes a certificate authority of one directory, and the certificates
// with which nodes and services know each other over RadSec (RFC 6614 §2.3; RFC 5280
// for what is in them). It is for the lab and for tests: an installation has a CA
// of its own.
//
//	DIR/ca.pem       ECDSA P-256, ten years       DIR/ca.key      0600
//	DIR/NAME.pem     two years, renewed           DIR/NAME.key    0600
//
// Left out: revocation, and intermediates.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"postern/internal/config"
)

// How long certificates live, ours. A leaf is made anew when less than renewBefore
// of it is left.
const (
	caLife      = 10 * 365 * 24 * time.Hour
	leafLife    = 2 * 365 * 24 * time.Hour
	renewBefore = 60 * 24 * time.Hour
	// clockSlack is how far the other side's clock may be behind.
	clockSlack = 5 * time.Minute
)

// Use is what a certificate may be used for. The zero value is nothing.
type Use uint8

const (
	UseNone   Use = iota
	ForServer     // a service's listener
	ForClient     // a node
)

func (u Use) String() string {
	switch u {
	case ForServer:
		return "server"
	case ForClient:
		return "client"
	case UseNone:
	}
	return "none"
}

// Authority signs certificates. It is not safe for concurrent use.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

// Open opens the authority of a directory and makes it on first use. An authority
// of which half is missing or broken is an error: one that was made anew would cut
// off everybody who trusts the old one.
func Open(dir string) (*Authority, error) { return open(dir, time.Now) }

func open(dir string, now func() time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	a := &Authority{dir: dir, now: now}
	cert, key, err := readPair(a.path("ca.pem"), a.path("ca.key"))
	switch {
	case err == nil && !cert.IsCA:
		return nil, fmt.Errorf("open authority: %s is no CA's certificate", a.path("ca.pem"))
	case err == nil:
		a.cert, a.key = cert, key
		return a, nil
	case !errors.Is(err, fs.ErrNotExist) || exists(a.path("ca.pem")) || exists(a.path("ca.key")):
		return nil, fmt.Errorf("open authority: %w", err)
	}
	if err := a.create(); err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return a, nil
}

func (a *Authority) create() error {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Postern " + a.now().UTC().Format("2006-01-02")},
		NotBefore:             a.now().Add(-clockSlack),
		NotAfter:              a.now().Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it signs leaves only
	}
	var err error
	a.cert, a.key, err = a.sign("ca", template, nil, nil)
	return err
}

// Issue returns a certificate and key for name, made now if there is none, if it is
// not of this authority, for other hosts or for another use, or if it ends soon.
// Hosts are DNS names and IP addresses that others call it by; the first DNS name is
// how a service calls a node.
func (a *Authority) Issue(name string, use Use, hosts ...string) (config.Identity, error) {
	if !plain(name) || name == "ca" || len(hosts) == 0 || use == UseNone {
		return config.Identity{}, fmt.Errorf("issue %s certificate %q for %q: want a plain name, a use and a host", use, name, hosts)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hosts[0]},
		NotBefore: a.now().Add(-clockSlack),
		NotAfter:  a.now().Add(leafLife),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
	switch use {
	case ForServer:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case ForClient:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case UseNone:
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	id := config.Identity{
		CA: config.File(a.path("ca.pem")), Cert: config.File(a.path(name + ".pem")), Key: config.File(a.path(name + ".key")),
	}
	if cert, _, err := readPair(string(id.Cert), string(id.Key)); err == nil && a.serves(cert, template) {
		return id, nil
	}
	if _, _, err := a.sign(name, template, a.cert, a.key); err != nil {
		return config.Identity{}, fmt.Errorf("issue certificate %s: %w", name, err)
	}
	return id, nil
}

// serves says whether cert does what template asks for.
func (a *Authority) serves(cert, template *x509.Certificate) bool {
	if cert.CheckSignatureFrom(a.cert) != nil || a.now().Add(renewBefore).After(cert.NotAfter) || a.now().Before(cert.NotBefore) {
		return false
	}
	if len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != template.ExtKeyUsage[0] || cert.Subject.CommonName != template.Subject.CommonName {
		return false
	}
	if len(cert.DNSNames) != len(template.DNSNames) || len(cert.IPAddresses) != len(template.IPAddresses) {
		return false
	}
	for i, n := range template.DNSNames {
		if cert.DNSNames[i] != n {
			return false
		}
	}
	for i, ip := range template.IPAddresses {
		if !cert.IPAddresses[i].Equal(ip) {
			return false
		}
	}
	return true
}

// sign makes a key and a certificate and writes both; without a parent it signs
// itself.
func (a *Authority) sign(name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	// RFC 5280 §4.1.2.2: positive, 20 octets at most.
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	// The key first: a certificate without its key is what nobody can use.
	if err := write(a.path(name+".key"), "PRIVATE KEY", secret, 0o600); err != nil {
		return nil, nil, err
	}
	if err := write(a.path(name+".pem"), "CERTIFICATE", der, 0o644); err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }
