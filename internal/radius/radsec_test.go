package radius

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
)

// authority is a CA for tests; issue writes the files TLSFiles wants.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(a.dir, "ca"), "CERTIFICATE", der)
	return a
}

func (a *authority) issue(t *testing.T, name string) TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := TLSFiles{Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key"), CA: filepath.Join(a.dir, "ca")}
	writePEM(t, f.Cert, "CERTIFICATE", der)
	writePEM(t, f.Key, "PRIVATE KEY", private)
	return f
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func serverTLS(t *testing.T, f TLSFiles) *tls.Config {
	t.Helper()
	c, err := ServerTLS(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func clientTLS(t *testing.T, f TLSFiles, name string) *tls.Config {
	t.Helper()
	c, err := ClientTLS(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serveStream serves h on one RadSec connection until it ends. What opened is given
// sends requests of the service's own.
func serveStream(raw net.Conn, conf *tls.Config, h Handler, opened func(send func([]byte))) error {
	defer func() { _ = raw.Close() }()
	conn := tls.Server(raw, conf)
	if err := conn.Handshake(); err != nil {
		return err
	}
	from := Peer{Transport: RadSec, Name: PeerName(conn.ConnectionState()), Secret: RadSecSecret()}
	var mu sync.Mutex
	var answering sync.WaitGroup
	defer answering.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if opened != nil {
		opened(func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = conn.Write(b)
		})
	}
	buf := make([]byte, MaxPacket)
	for {
		b, err := ReadPacket(conn, buf)
		if err != nil {
			return err
		}
		req := append([]byte(nil), b...)
		answering.Go(func() {
			if reply := h.ServeRADIUS(ctx, req, from); reply != nil {
				mu.Lock()
				defer mu.Unlock()
				_, _ = conn.Write(reply) // whatever it is
			}
		})
	}
}

// radsecServer is a service on loopback, until stop.
type radsecServer struct {
	l     net.Listener
	mu    sync.Mutex
	conns []net.Conn
	errs  []error
	wg    sync.WaitGroup
}

func listenRadSec(t *testing.T, addr string, conf *tls.Config, h Handler) *radsecServer {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &radsecServer{l: l}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			s.wg.Go(func() {
				err := serveStream(conn, conf, h, nil)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.errs = append(s.errs, err)
			})
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *radsecServer) stop() {
	_ = s.l.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func TestRadSecOverTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	conf := serverTLS(t, ca.issue(t, "radius.test"))
	s := &service{}
	first := listenRadSec(t, "127.0.0.1:0", conf, s)
	addr := first.l.Addr().String()
	goroutines := runtime.NumGoroutine()
	c := newClient(t, ClientConfig{
		Name: "node-7", Timeout: 2 * time.Second, Retries: 1,
		Servers: []Server{{Name: "r", Network: "radsec", Addr: addr, TLS: clientTLS(t, ca.issue(t, "node-7"), "radius.test")}},
	})
	ask := func(name string) {
		t.Helper()
		reply, err := c.Exchange(t.Context(), user(name))
		if err != nil {
			t.Fatal(err)
		}
		if got := rfc2865.ReplyMessage_GetString(reply); got != name {
			t.Errorf("%s got the answer for %s", name, got)
		}
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { ask(fmt.Sprint("user", i)) })
	}
	wg.Wait()
	if _, err := c.Exchange(t.Context(), NewRequest(CodeAccountingRequest, Secret{})); err != nil {
		t.Errorf("accounting on the same connection: %v", err)
	}
	asked, status := s.requests()
	if len(status) == 0 || asked[0].from.Name != "node-7" || asked[0].from.Transport != RadSec {
		t.Errorf("%d Status-Servers; the service knows its peer as %+v", len(status), asked[0].from)
	}
	for _, r := range status {
		if p, err := ParseRequest(r.raw, RadSecSecret(), true); err != nil || rfc2865.NASIdentifier_GetString(p) != "node-7" {
			t.Errorf("Status-Server: %v", err)
		}
	}

	// The service is started anew while a request waits: it is asked again on the new
	// connection.
	s.delay = 0
	s.frozen.Store(true)
	wg.Go(func() { ask("patient") })
	for {
		if got, _ := s.requests(); len(got) > len(asked) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	first.stop()
	s.frozen.Store(false)
	second := listenRadSec(t, addr, conf, s)
	wg.Wait()
	ask("alice")
	c.Close()
	second.stop()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), goroutines, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestRadSecRefusesStrangers(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	node, foreign := ours.issue(t, "node-7"), theirs.issue(t, "node-7")
	mixed := TLSFiles{Cert: foreign.Cert, Key: foreign.Key, CA: node.CA} // trusts us, is not trusted
	old := clientTLS(t, node, "radius.test")
	forward := clientTLS(t, mixed, "radius.test") // shows its certificate though nobody asked for that CA's
	shown := forward.Certificates[0]
	forward.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
	for name, c := range map[string]struct {
		server *tls.Config
		client *tls.Config
	}{
		"a service of another CA":   {serverTLS(t, theirs.issue(t, "radius.test")), clientTLS(t, node, "radius.test")},
		"a node of another CA":      {serverTLS(t, ours.issue(t, "radius.test")), clientTLS(t, mixed, "radius.test")},
		"... that insists":          {serverTLS(t, ours.issue(t, "radius.test")), forward},
		"a service of another name": {serverTLS(t, ours.issue(t, "other.test")), clientTLS(t, node, "radius.test")},
		"a service with TLS 1.2":    {&tls.Config{MaxVersion: tls.VersionTLS12, Certificates: serverTLS(t, ours.issue(t, "radius.test")).Certificates}, old},
	} {
		s := &service{}
		server := listenRadSec(t, "127.0.0.1:0", c.server, s)
		client := newClient(t, ClientConfig{
			Timeout: 300 * time.Millisecond,
			Servers: []Server{{Name: "r", Network: "radsec", Addr: server.l.Addr().String(), TLS: c.client}},
		})
		if _, err := client.Exchange(t.Context(), user("alice")); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
		server.stop()
		if asked, status := s.requests(); len(asked)+len(status) != 0 {
			t.Errorf("%s: %d packets were served", name, len(asked)+len(status))
		}
	}

	// And a node without any certificate, which NewClient would not build.
	server := listenRadSec(t, "127.0.0.1:0", serverTLS(t, ours.issue(t, "radius.test")), &service{})
	bare := clientTLS(t, node, "radius.test")
	bare.Certificates = nil
	conn, err := tls.Dial("tcp", server.l.Addr().String(), bare)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3: the alert comes with the first read
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	insecure := clientTLS(t, node, "radius.test")
	insecure.InsecureSkipVerify = true
	for _, conf := range []*tls.Config{bare, insecure} {
		if _, err := NewClient(ClientConfig{Servers: []Server{{Name: "r", Network: "radsec", Addr: "127.0.0.1:2083", TLS: conf}}}); err == nil {
			t.Error("a client was built that does not authenticate both sides")
		}
	}
}

func TestTLSFiles(t *testing.T) {
	f := newAuthority(t, "ca").issue(t, "node-7")
	for name, c := range map[string]TLSFiles{
		"no certificate":     {Cert: "none", Key: f.Key, CA: f.CA},
		"no CA":              {Cert: f.Cert, Key: f.Key, CA: "none"},
		"a CA that is a key": {Cert: f.Cert, Key: f.Key, CA: f.Key},
	} {
		if _, err := ServerTLS(c); err == nil {
			t.Errorf("%s: ServerTLS", name)
		}
		if _, err := ClientTLS(c, "radius.test"); err == nil {
			t.Errorf("%s: ClientTLS", name)
		}
	}
	if _, err := ClientTLS(f, ""); err == nil {
		t.Error("a client that checks no name")
	}
}

// simulated is a RadSec service behind net.Pipe, for virtual time.
type simulated struct {
	conf    *tls.Config
	h       Handler
	wg      sync.WaitGroup
	dials   atomic.Int32
	refuse  atomic.Bool
	mu      sync.Mutex
	conns   []net.Conn
	reverse func([]byte) // sends on the newest connection
}

func (s *simulated) dial(context.Context, string, string) (net.Conn, error) {
	s.dials.Add(1)
	if s.refuse.Load() {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	s.mu.Lock()
	s.conns = append(s.conns, theirs)
	s.mu.Unlock()
	s.wg.Go(func() {
		_ = serveStream(theirs, s.conf, s.h, func(send func([]byte)) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reverse = send
		})
	})
	return ours, nil
}

// send has the service ask on its own.
func (s *simulated) send(b []byte) {
	s.mu.Lock()
	send := s.reverse
	s.mu.Unlock()
	send(b)
}

func (s *simulated) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func TestRadSecWatchdogAndReconnect(t *testing.T) {
	ca := newAuthority(t, "ca")
	server, client := serverTLS(t, ca.issue(t, "radius.test")), clientTLS(t, ca.issue(t, "node-7"), "radius.test")
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		sim := &simulated{conf: server, h: s}
		spare := &service{}
		r := prometheus.NewRegistry()
		c := newClient(t, ClientConfig{
			Servers: []Server{
				{Name: "r", Network: "radsec", Addr: "192.0.2.1:2083", TLS: client},
				inproc("spare", spare, 1),
			},
			Dial: sim.dial, Timeout: time.Second, Retries: 1, Metrics: r,
		})
		ask := func() time.Duration {
			t.Helper()
			began := time.Now()
			if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		ask()
		if sim.dials.Load() != 1 {
			t.Errorf("%d connections", sim.dials.Load())
		}

		// Idle: one Status-Server each 30 s or so, and the connection stays.
		_, before := s.requests()
		time.Sleep(10 * time.Minute)
		_, after := s.requests()
		if n := len(after) - len(before); n < 15 || n > 25 || sim.dials.Load() != 1 {
			t.Errorf("%d Status-Servers in ten idle minutes, %d connections", n, sim.dials.Load())
		}

		// Frozen, and nobody asks: the watchdog finds out and hangs up.
		s.frozen.Store(true)
		time.Sleep(40 * time.Second)
		if up := metric(t, r, "server_up", "r"); up != 0 {
			t.Errorf("frozen, and server_up %v", up)
		}
		if took := ask(); took != 0 {
			t.Errorf("with the connection known to be dead a request took %v", took)
		}
		// It may accept connections, but a new one is not used before it answers.
		n := sim.dials.Load()
		time.Sleep(5 * time.Minute)
		if d := sim.dials.Load() - n; d < 8 || d > 60 {
			t.Errorf("%d attempts in five minutes", d)
		}
		if asked, _ := s.requests(); len(asked) != 1 {
			t.Errorf("%d requests to a frozen service", len(asked)-1)
		}
		s.frozen.Store(false)
		// The next attempt, and long enough on it that its end counts as a restart.
		time.Sleep(3 * reconnectMax)
		if up := metric(t, r, "server_up", "r"); up != 1 {
			t.Errorf("thawed, and server_up %v", up)
		}
		ask()
		if asked, _ := s.requests(); len(asked) != 2 {
			t.Error("the recovered service was not asked")
		}

		// Frozen under a request: it goes to the spare, and so does the next at once.
		s.frozen.Store(true)
		if took := ask(); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("fail-over took %v, want about 3 s", took)
		}
		if took := ask(); took != 0 {
			t.Errorf("a request after that took %v", took)
		}
		// The connection is looked at now, not when it would have been idle for long.
		n = sim.dials.Load()
		time.Sleep(5 * time.Second)
		if sim.dials.Load() == n {
			t.Error("a connection on which a request stayed unanswered was kept")
		}
		s.frozen.Store(false)
		time.Sleep(2 * reconnectMax)

		// Hung up under a request: it goes to the spare at once.
		s.frozen.Store(true)
		var wg sync.WaitGroup
		wg.Go(func() {
			if took := ask(); took != 500*time.Millisecond {
				t.Errorf("a request on a broken connection took %v", took)
			}
		})
		time.Sleep(500 * time.Millisecond)
		sim.refuse.Store(true)
		sim.hangUp()
		wg.Wait()
		c.Close()
		sim.hangUp()
		sim.wg.Wait()
	})
}

func TestRadSecManyOutstanding(t *testing.T) {
	ca := newAuthority(t, "ca")
	server, client := serverTLS(t, ca.issue(t, "radius.test")), clientTLS(t, ca.issue(t, "node-7"), "radius.test")
	synctest.Test(t, func(t *testing.T) {
		s := &service{delay: 2 * time.Second}
		sim := &simulated{conf: server, h: s}
		c := newClient(t, ClientConfig{
			Servers: []Server{{Name: "r", Network: "radsec", Addr: "192.0.2.1:2083", TLS: client}},
			Dial:    sim.dial, Timeout: 20 * time.Second, MaxConns: 3,
		})
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				name := fmt.Sprint("user", i)
				reply, err := c.Exchange(t.Context(), user(name))
				if err != nil {
					t.Error(err)
				} else if got := rfc2865.ReplyMessage_GetString(reply); got != name {
					t.Errorf("%s got the answer for %s", name, got)
				}
			})
		}
		wg.Wait()
		if n := sim.dials.Load(); n != 3 {
			t.Errorf("%d connections for 1000 requests, want the 3 allowed", n)
		}
		c.Close()
		sim.hangUp()
		sim.wg.Wait()
	})
}

// A packet that is no answer is counted and the answer behind it taken; what is no
// packet at all ends the connection, and a new one is opened.
func TestRadSecBadStream(t *testing.T) {
	ca := newAuthority(t, "ca")
	server, client := serverTLS(t, ca.issue(t, "radius.test")), clientTLS(t, ca.issue(t, "node-7"), "radius.test")
	synctest.Test(t, func(t *testing.T) {
		sim := &simulated{conf: server, h: HandlerFunc(func(_ context.Context, req []byte, from Peer) []byte {
			good := accept(req, from.Secret)
			p, _ := Parse(req, from.Secret)
			switch rfc2865.UserName_GetString(p) {
			case "forged":
				forged := append([]byte(nil), good...)
				forged[30] ^= 1
				return append(forged, good...)
			case "garbage":
				return []byte("HTTP/1.1 400 Bad Request\r\n")
			}
			return good
		})}
		r := prometheus.NewRegistry()
		c := newClient(t, ClientConfig{
			Servers: []Server{{Name: "r", Network: "radsec", Addr: "192.0.2.1:2083", TLS: client}},
			Dial:    sim.dial, Timeout: time.Second, Metrics: r,
		})
		if _, err := c.Exchange(t.Context(), user("forged")); err != nil {
			t.Fatal(err)
		}
		if n := metric(t, r, "dropped_replies_total", FaultSignature.String()); n != 1 {
			t.Errorf("%v forgeries counted", n)
		}
		if _, err := c.Exchange(t.Context(), user("garbage")); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("garbage: %v", err)
		}
		if n := metric(t, r, "dropped_replies_total", FaultLength.String()); n != 2 { // it was asked again, once
			t.Errorf("%v broken streams counted", n)
		}
		time.Sleep(reconnectMax)
		if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
			t.Error(err)
		}
		c.Close()
		sim.hangUp()
		sim.wg.Wait()
	})
}

// With the waits of a node's example a frozen service is left after the first wait and the
// watchdog's question, and not after the whole series. One that lives and takes its time
// over a login is waited for.
func TestRadSecFrozenServiceIsLeftEarly(t *testing.T) {
	ca := newAuthority(t, "ca")
	server, client := serverTLS(t, ca.issue(t, "radius.test")), clientTLS(t, ca.issue(t, "node-7"), "radius.test")
	synctest.Test(t, func(t *testing.T) {
		s := &service{delay: 15 * time.Second}
		sim := &simulated{conf: server, h: s}
		spare := &service{}
		c := newClient(t, ClientConfig{
			Servers: []Server{
				{Name: "r", Network: "radsec", Addr: "192.0.2.1:2083", TLS: client},
				inproc("spare", spare, 1),
			},
			Dial: sim.dial, Timeout: 3 * time.Second, Retries: 2,
		})
		ask := func() time.Duration {
			t.Helper()
			began := time.Now()
			if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		time.Sleep(time.Second)
		if took := ask(); took != s.delay {
			t.Errorf("a slow answer took %v", took)
		}
		s.frozen.Store(true)
		if took := ask(); took < 8*time.Second || took > 10*time.Second {
			t.Errorf("fail-over took %v, want about 9 s", took)
		}
		if asked, _ := spare.requests(); len(asked) != 1 {
			t.Errorf("the spare was asked %d times", len(asked))
		}
		c.Close()
		sim.hangUp()
		sim.wg.Wait()
	})
}
