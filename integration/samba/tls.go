package samba

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// authority makes the domain's certificate authority in dir.
func authority(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "LAB test CA"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(2 * lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return err
	}
	return store(dir, "ca", der, key)
}

// certify makes a controller's certificate, signed by dir's authority.
func certify(dir, host string, addr netip.Addr, kind Cert) error {
	ca, caKey, err := load(dir)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{host}, IPAddresses: []net.IP{addr.AsSlice()},
	}
	switch kind {
	case NoSAN:
		leaf.DNSNames, leaf.IPAddresses = nil, nil
	case WrongName:
		leaf.DNSNames, leaf.IPAddresses = []string{"other." + Domain}, nil
	case Expired:
		leaf.NotAfter = time.Now().Add(-time.Hour)
	case Good:
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	if err := store(dir, "cert", der, key); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "cert.key"), filepath.Join(dir, "key.pem"))
}

func store(dir, name string, der []byte, key *ecdsa.PrivateKey) error {
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func load(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	blocks := make(map[string][]byte)
	for _, name := range []string{"ca.pem", "ca.key"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		b, _ := pem.Decode(text)
		if b == nil {
			return nil, nil, fmt.Errorf("%s holds no PEM", name)
		}
		blocks[name] = b.Bytes
	}
	ca, err := x509.ParseCertificate(blocks["ca.pem"])
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(blocks["ca.key"])
	return ca, key, err
}
