package portal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue writes a certificate of its own for a name.
func issue(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}}, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "cert.key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: k}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	var log strings.Builder
	dir := t.TempDir()
	cert, key := issue(t, dir, "one.example")
	c := &certificate{log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := c.load(cert, key); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.DNSNames[0]
	}
	first, _ := c.get(nil)
	c.look()
	if again, _ := c.get(nil); again != first || name() != "one.example" {
		t.Error("the same files are another certificate")
	}
	issue(t, dir, "two.example")
	c.look()
	if name() != "two.example" || c.expires() < float64(time.Now().Unix()) {
		t.Errorf("%s", name())
	}
	// Half written, and then whole.
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.look()
	c.look()
	if name() != "two.example" || strings.Count(log.String(), "stays as it was") != 1 {
		t.Errorf("%s\n%s", name(), &log)
	}
	if err := c.load(cert, key); err == nil {
		t.Error("a broken pair is loaded")
	}
	issue(t, dir, "three.example")
	c.look()
	if name() != "three.example" {
		t.Error(name())
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	c.look()
	if name() != "three.example" {
		t.Error("nothing left")
	}
	if strings.Contains(log.String(), "half") {
		t.Error("the key is in the log")
	}
	if (&certificate{}).expires() != 0 {
		t.Error("no certificate expires")
	}
}

func TestBrokenPairs(t *testing.T) {
	dir := t.TempDir()
	cert, _ := issue(t, dir, "one.example")
	_, other := issue(t, t.TempDir(), "two.example")
	for _, c := range [][2]string{{cert, other}, {"nowhere", other}, {cert, "nowhere"}} {
		if _, _, err := readPair(c[0], c[1]); err == nil {
			t.Errorf("%v is a pair", c)
		}
	}
	var pair *tls.Certificate
	if got, err := (&certificate{}).get(nil); got != pair || err != nil {
		t.Error("a certificate of nowhere")
	}
}
