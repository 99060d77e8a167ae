package portal

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/seal"
	"postern/internal/store/storetest"
)

// listening is a portal on a port of its own.
func listening(t *testing.T, edit ...func(*Config)) *site {
	t.Helper()
	dir := t.TempDir()
	cert, key := issue(t, dir, "portal.example.org")
	s := newSite(t, append([]func(*Config){func(c *Config) { c.Listen, c.Cert, c.Key = "127.0.0.1:0", cert, key }}, edit...)...)
	if err := s.srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.srv.Stop()
		if err := s.srv.Wait(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) dial(t *testing.T, conf *tls.Config) (*tls.Conn, error) {
	t.Helper()
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.InsecureSkipVerify, conf.ServerName = true, "portal.example.org" // the test's own certificate
	return tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", s.srv.Addr().String(), conf)
}

// answered is what a server said.
type answered struct {
	code int
	head http.Header
	body string
}

// ask sends something and reads the answer.
func ask(t *testing.T, c net.Conn, request string) answered {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, string(b)}
}

const plainGet = "GET / HTTP/1.1\r\nHost: portal.example.org\r\n\r\n"

func TestHTTPS(t *testing.T) {
	s := listening(t)
	c, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if res := ask(t, c, plainGet); res.code != 200 || res.head.Get("Strict-Transport-Security") == "" {
		t.Errorf("%v", res)
	}
	if v := c.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("TLS %x", v)
	}
	if c, err := s.dial(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	if c, err := s.dial(t, &tls.Config{MaxVersion: tls.VersionTLS12}); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	} else {
		c.Close()
	}
	two, err := s.dial(t, &tls.Config{NextProtos: []string{"h2"}})
	if err != nil || two.ConnectionState().NegotiatedProtocol != "h2" {
		t.Errorf("HTTP/2: %v", err)
	} else {
		two.Close()
	}
}

// Plain HTTP on the port says nothing that is of use to anybody.
func TestPlainHTTP(t *testing.T) {
	s := listening(t)
	c, err := net.Dial("tcp", s.srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res := ask(t, c, plainGet)
	if res.code != http.StatusBadRequest || strings.Contains(res.body, "Example VPN") || len(res.head["Set-Cookie"]) > 0 || res.head.Get("Location") != "" {
		t.Errorf("%v", res)
	}
}

func TestBigHeaders(t *testing.T) {
	s := listening(t)
	c, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res := ask(t, c, "GET / HTTP/1.1\r\nHost: portal.example.org\r\nX: "+strings.Repeat("x", 3*maxHeader)+"\r\n\r\n")
	if res.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", res.code)
	}
}

// A renewal drops nobody and counts for the next one who comes.
func TestRenewalKeepsConnections(t *testing.T) {
	s := listening(t)
	before, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	old := before.ConnectionState().PeerCertificates[0].SerialNumber
	c := s.srv.settings.Load().Config
	issue(t, filepath.Dir(c.Cert), "portal.example.org")
	if err := s.srv.Reload(c); err != nil {
		t.Fatal(err)
	}
	if res := ask(t, before, plainGet); res.code != 200 {
		t.Errorf("on the old connection: %v", res)
	}
	after, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if after.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(old) == 0 {
		t.Error("still the old certificate")
	}
}

func TestReload(t *testing.T) {
	s := listening(t)
	c := s.srv.settings.Load().Config
	now := c
	now.Name, now.Default, now.Languages = "Other VPN", "de", []string{"de"}
	if err := s.srv.Reload(now); err != nil {
		t.Fatal(err)
	}
	b := s.browser().get("/").at("/", 200, "Other VPN", "Anmelden")
	if b.find("/language") != nil {
		t.Error("a choice of one language")
	}
	for name, edit := range map[string]func(*Config){
		"listen":      func(c *Config) { c.Listen = "127.0.0.1:1" },
		"URL":         func(c *Config) { c.URL = "https://other.example" },
		"no URL":      func(c *Config) { c.URL = "http://x" },
		"language":    func(c *Config) { c.Languages = []string{"xx"} },
		"certificate": func(c *Config) { c.Cert = "nowhere" },
		"times":       func(c *Config) { c.Lifetime = time.Second },
	} {
		bad := now
		edit(&bad)
		if err := s.srv.Reload(bad); err == nil {
			t.Errorf("%s: reloaded", name)
		}
	}
	b.get("/").at("/", 200, "Other VPN")
}

func TestConnectionsAreBounded(t *testing.T) {
	s := listening(t, func(c *Config) { c.Connections, c.PerAddress = 3, 2 })
	var open []*tls.Conn
	for range 2 {
		c, err := s.dial(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	if c, err := s.dial(t, nil); err == nil {
		c.Close()
		t.Error("a third connection of one address")
	}
	if counter(t, s, "postern_portal_refused_total", "reason", "connections") != 1 {
		t.Error("not counted")
	}
	// One that ends makes room. The server notices on its own time: the dial is tried again.
	open[0].Close()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if c, err := s.dial(t, nil); err == nil {
			c.Close()
			return
		}
	}
	t.Error("no room after a connection has ended")
}

func TestBounded(t *testing.T) {
	b := &bounded{limits: func() (int, int) { return 3, 2 }}
	one, two, three := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	for i, c := range []struct {
		from netip.Addr
		want bool
	}{{one, true}, {one, true}, {one, false}, {two, true}, {three, false}} {
		if got := b.enter(c.from); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	b.leave(one)
	if !b.enter(three) || b.enter(two) {
		t.Error("room was not made")
	}
	for _, a := range []netip.Addr{one, two, three} {
		b.leave(a)
	}
	if b.open != 0 || len(b.of) != 0 {
		t.Errorf("%d open, %v", b.open, b.of)
	}
}

func TestLife(t *testing.T) {
	cert, key := issue(t, t.TempDir(), "portal.example.org")
	here := func(c *Config) { c.Listen, c.Cert, c.Key = "127.0.0.1:0", cert, key }
	s := newSite(t, here)
	before := runtime.NumGoroutine()
	if s.srv.Addr() != nil {
		t.Error("listens before its start")
	}
	if err := s.srv.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.srv.Start(); err == nil {
		t.Error("started twice")
	}
	c, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, c, plainGet)
	c.Close()
	s.srv.Stop()
	s.srv.Stop()
	if err := s.srv.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := s.dial(t, nil); err == nil {
		t.Error("answers after its end")
	}
	if err := s.srv.Start(); err == nil {
		t.Error("stopped does not stay stopped")
	}
	for range 1000 { // connections end on their own time
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}

	never := newSite(t, here)
	never.srv.Stop()
	if err := never.srv.Wait(); err != nil {
		t.Error(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := newSite(t, here, func(c *Config) { c.Listen = taken.Addr().String() })
	if err := busy.srv.Start(); err == nil {
		t.Error("started on a port that is taken")
	}
	if err := busy.srv.Wait(); err != nil {
		t.Error(err)
	}
	// The listener dies.
	dead := newSite(t, here)
	if err := dead.srv.Start(); err != nil {
		t.Fatal(err)
	}
	_ = dead.srv.listener.Close()
	if err := dead.srv.Wait(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	dead.srv.Stop()
}

func TestNewRefuses(t *testing.T) {
	s := newSite(t)
	if _, err := New(Config{URL: portalURL}, nil, s.store, s.srv.ring, nil, nil); err == nil {
		t.Error("without a Backend")
	}
	if _, err := New(Config{URL: portalURL}, s.fake, s.store, nil, nil, nil); err == nil {
		t.Error("without a key ring")
	}
	for _, url := range []string{"", "portal.example.org", "http://portal.example.org", "https://portal.example.org/", "https://", "https://u@portal.example.org"} {
		if _, err := New(Config{URL: url}, s.fake, s.store, s.srv.ring, nil, nil); err == nil && url != "https://u@portal.example.org" {
			t.Errorf("URL %q", url)
		}
	}
	if err := (Config{URL: portalURL, Cert: "nowhere", Key: "nowhere"}).Check(); err == nil {
		t.Error("checked without a certificate")
	}
	if _, err := New(Config{URL: portalURL}, s.fake, s.store, s.srv.ring, nil, s.reg); err == nil {
		t.Error("the same metrics twice")
	}
}

// Any service reads what another wrote: the session, its end, and the limits.
func TestTwoServices(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		a := newSite(t)
		a.fake.add("alice")
		a.now = time.Now()
		a.store = b
		var err error
		if a.srv, err = New(a.srv.settings.Load().Config, a.fake, b, a.srv.ring, nil, nil); err != nil {
			t.Fatal(err)
		}
		other := *a
		if other.srv, err = New(a.srv.settings.Load().Config, a.fake, b, a.srv.ring, nil, nil); err != nil {
			t.Fatal(err)
		}
		one := a.browser().signIn("alice")
		two := one.clone()
		two.s = &other
		two.get("/security").at("/security", 200, "Phone")
		two.submit("/sign-out").at("/", 200)
		one.get("/").at("/", 200, "Sign in")

		// With another key ring it is nobody's.
		one.signIn("alice")
		stranger := *a
		ring, err := seal.CreateFile(filepath.Join(t.TempDir(), "keys"))
		if err != nil {
			t.Fatal(err)
		}
		if stranger.srv, err = New(a.srv.settings.Load().Config, a.fake, b, ring, nil, nil); err != nil {
			t.Fatal(err)
		}
		three := one.clone()
		three.s = &stranger
		three.get("/security").at("/security", 403)

		// The limits are one.
		for i := range 60 {
			c := one.clone()
			c.cookies = map[string]string{}
			c.from = "192.0.2.200"
			if i%2 == 1 {
				c.s = &other
			}
			c.get("/").submit("/sign-in", "name", fmt.Sprint("n", i), "password", "x").at("/sign-in", 422)
		}
		c := a.browser()
		c.from = "192.0.2.200"
		c.get("/").submit("/sign-in", "name", "alice", "password", "x").at("/sign-in", 429)
	})
}

// The watch of the files looks by itself.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	cert, key := issue(t, dir, "one.example")
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		c := &certificate{log: s.srv.log}
		if err := c.load(cert, key); err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		go c.watch(ctx) // ends with the test's context; synctest waits
		issue(t, dir, "two.example")
		time.Sleep(lookEvery + time.Second)
		synctest.Wait()
		if pair, _ := c.get(nil); pair.Leaf.DNSNames[0] != "two.example" {
			t.Error("a renewal is not seen")
		}
	})
}
