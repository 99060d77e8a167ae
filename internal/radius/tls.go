package radius

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles names a certificate, its key and the CA that signs both sides' (RFC 6614
// §2.3: mutual authentication, no exceptions).
type TLSFiles struct {
	Cert, Key string
	CA        string
}

// ClientTLS is a node's side. name is what the service's certificate must carry.
func ClientTLS(f TLSFiles, name string) (*tls.Config, error) {
	if name == "" {
		return nil, errors.New("radsec: the service's certificate name is not set")
	}
	cert, pool, err := f.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   name,
	}, nil
}

// ServerTLS is the service's side: nobody without a certificate of the CA gets in.
func ServerTLS(f TLSFiles) (*tls.Config, error) {
	cert, pool, err := f.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		// A resumed session would outlive the certificate that opened it; nodes keep
		// their connections, so a full handshake costs nothing that counts.
		SessionTicketsDisabled: true,
	}, nil
}

func (f TLSFiles) load() (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return cert, nil, fmt.Errorf("radsec: load certificate: %w", err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return cert, nil, fmt.Errorf("radsec: load CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return cert, nil, fmt.Errorf("radsec: %s holds no certificate", f.CA)
	}
	return cert, pool, nil
}

// PeerName is how a verified RadSec peer is called: the certificate's first DNS
// name, else its common name. Both were put there by the CA.
func PeerName(s tls.ConnectionState) string {
	if len(s.PeerCertificates) == 0 {
		return ""
	}
	c := s.PeerCertificates[0]
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.CommonName
}
