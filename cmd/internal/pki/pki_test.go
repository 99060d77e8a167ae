package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/radius"
)

func authority(t *testing.T, dir string, at time.Time) *Authority {
	t.Helper()
	a, err := open(dir, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, name string, use Use, hosts ...string) config.Identity {
	t.Helper()
	id, err := a.Issue(name, use, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func read(t *testing.T, f config.File) string {
	t.Helper()
	b, err := os.ReadFile(string(f))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func files(id config.Identity) radius.TLSFiles {
	return radius.TLSFiles{Cert: string(id.Cert), Key: string(id.Key), CA: string(id.CA)}
}

// shake lets a node connect to a service as RadSec does.
func shake(t *testing.T, server, client config.Identity, name string) (peer string, err error) {
	t.Helper()
	sc, err := radius.ServerTLS(files(server))
	if err != nil {
		t.Fatal(err)
	}
	cc, err := radius.ClientTLS(files(client), name)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() { // ended by the pipe
		c := tls.Client(b, cc)
		_, err := c.Read(make([]byte, 1)) // TLS 1.3: a refused certificate shows on reading
		if errors.Is(err, io.EOF) {
			err = nil
		}
		done <- err
	}()
	s := tls.Server(a, sc)
	err = s.Handshake()
	if err == nil {
		peer = radius.PeerName(s.ConnectionState())
	}
	s.Close()
	a.Close()
	return peer, errors.Join(err, <-done)
}

func TestMutualAuthentication(t *testing.T) {
	now := time.Now()
	a, other := authority(t, t.TempDir(), now), authority(t, t.TempDir(), now)
	service := issue(t, a, "service1", ForServer, "localhost", "127.0.0.1", "::1")
	node := issue(t, a, "gw1", ForClient, "gw1.example.org")
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if peer, err := shake(t, service, node, name); err != nil || peer != "gw1.example.org" {
			t.Errorf("%s: the service sees %q: %v", name, peer, err)
		}
	}
	if _, err := shake(t, service, node, "radius.example.org"); err == nil {
		t.Error("a certificate for another name was taken")
	}
	if _, err := shake(t, service, issue(t, other, "gw1", ForClient, "gw1.example.org"), "localhost"); err == nil {
		t.Error("a node of another authority got in")
	}
	if _, err := shake(t, node, node, "gw1.example.org"); err == nil {
		t.Error("a node's certificate serves as a service's")
	}
	if _, err := shake(t, service, service, "localhost"); err == nil {
		t.Error("a service's certificate serves as a node's")
	}
}

func TestKeysAreKeptAndPrivate(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "tls"), time.Now()
	a := authority(t, dir, now)
	id := issue(t, a, "gw1", ForClient, "gw1")
	ca, cert, key := read(t, id.CA), read(t, id.Cert), read(t, id.Key)

	again := issue(t, authority(t, dir, now.Add(time.Hour)), "gw1", ForClient, "gw1")
	if read(t, again.CA) != ca || read(t, again.Cert) != cert || read(t, again.Key) != key {
		t.Error("the second use made new ones")
	}
	for _, name := range []string{"ca.key", "gw1.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode().Perm())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".pki-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMadeAnewWhenItNoLongerServes(t *testing.T) {
	now := time.Now()
	for name, again := range map[string]struct {
		at    time.Time
		use   Use
		hosts []string
	}{
		"ends soon":     {now.Add(leafLife - renewBefore + time.Minute), ForClient, []string{"gw1"}},
		"another host":  {now, ForClient, []string{"gw2"}},
		"one host more": {now, ForClient, []string{"gw1", "192.0.2.1"}},
		"another use":   {now, ForServer, []string{"gw1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			id := issue(t, authority(t, dir, now), "gw1", ForClient, "gw1")
			before := read(t, id.Cert)
			issue(t, authority(t, dir, again.at), "gw1", again.use, again.hosts...)
			if read(t, id.Cert) == before {
				t.Error("the old certificate was kept")
			}
		})
	}
	// A certificate of an authority that is gone.
	dir := t.TempDir()
	id := issue(t, authority(t, dir, now), "gw1", ForClient, "gw1")
	before := read(t, id.Cert)
	os.Remove(filepath.Join(dir, "ca.pem"))
	os.Remove(filepath.Join(dir, "ca.key"))
	issue(t, authority(t, dir, now), "gw1", ForClient, "gw1")
	if read(t, id.Cert) == before {
		t.Error("a certificate of a former authority was kept")
	}
}

func TestHalfAnAuthorityIsNotReplaced(t *testing.T) {
	for _, gone := range []string{"ca.pem", "ca.key"} {
		dir := t.TempDir()
		authority(t, dir, time.Now())
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("without %s it was made anew", gone)
		}
	}
	dir := t.TempDir()
	id := issue(t, authority(t, dir, time.Now()), "leaf", ForServer, "localhost")
	for from, to := range map[config.File]string{id.Cert: "ca.pem", id.Key: "ca.key"} {
		if err := os.Rename(string(from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir); err == nil {
		t.Error("a leaf became an authority")
	}
}

func TestIssueRefusesBadArguments(t *testing.T) {
	a := authority(t, t.TempDir(), time.Now())
	for _, bad := range []struct {
		name  string
		use   Use
		hosts []string
	}{
		{"", ForClient, []string{"h"}}, {"../x", ForClient, []string{"h"}}, {".x", ForClient, []string{"h"}},
		{"ca", ForServer, []string{"h"}}, {"x", ForServer, nil}, {"x", UseNone, []string{"h"}},
	} {
		if _, err := a.Issue(bad.name, bad.use, bad.hosts...); err == nil {
			t.Errorf("issued %q for %v, use %v", bad.name, bad.hosts, bad.use)
		}
	}
	if a.cert.KeyUsage&x509.KeyUsageCertSign == 0 || !a.cert.MaxPathLenZero {
		t.Error("the authority's certificate may not sign, or signs authorities")
	}
}
