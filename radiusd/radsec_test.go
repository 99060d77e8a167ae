package radiusd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"layeh.com/radius/rfc2866"

	"postern/authz"
	"postern/internal/radius"
)

// newRadSec starts a service with a RadSec listener and no other.
func newRadSec(t testing.TB, cfg RadSec) (*service, *authority, string) {
	t.Helper()
	a := newAuthority(t)
	cfg.Listen, cfg.TLS = "127.0.0.1:0", a.server(t)
	s := newService(t, Config{RadSec: cfg})
	must(t, s.Start())
	_, _, addr := s.Addrs()
	return s, a, addr.String()
}

func TestRadSec(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	c := newClient(t, radius.Server{Name: "s", Network: "radsec", Addr: addr, TLS: a.client(t, "gw1.example.org")})
	p := exchange(t, c, chap("alice", goodPassword), radius.CodeAccessAccept) // from another host it would do, too
	if _, _, ok := radius.MPPEKeys(p); !ok {
		t.Error("no keys")
	}
	exchange(t, c, chap("alice", "guess"), radius.CodeAccessReject)
	exchange(t, c, start("1"), radius.CodeAccountingResponse)
	if s.counted(t, "radsec_connections") != 1 || s.counted(t, "radsec_handshakes_total", "outcome=done") != 1 {
		t.Error("the connection is not counted")
	}
	c.Close()
	eventually(t, "connection counted down", func() bool { return s.counted(t, "radsec_connections") == 0 })
}

// Hundreds at once on one connection, and no answer is another's.
func TestRadSecManyAtOnce(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	c := newClient(t, radius.Server{Name: "s", Network: "radsec", Addr: addr, TLS: a.client(t, "gw1.example.org")})
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			p := &radius.Packet{Code: radius.CodeAccountingRequest}
			start(fmt.Sprint(i))(p)
			if _, err := c.Exchange(context.Background(), p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, r := range s.accounter.all() {
		seen[r.SessionID] = true
	}
	if len(seen) != 600 {
		t.Errorf("%d sessions stored", len(seen))
	}
}

// dialRadSec is a connection without a client's manners.
func dialRadSec(t testing.TB, addr string, conf *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, conf)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// overTLS encodes a request as RadSec has it (RFC 6614 §2.3 (4)).
func overTLS(t testing.TB, id byte, fill ...func(*radius.Packet)) []byte {
	t.Helper()
	p := radius.NewRequest(radius.CodeAccessRequest, radius.RadSecSecret())
	p.Identifier = id
	for _, f := range fill {
		f(p)
	}
	b, err := radius.EncodeRequest(p)
	must(t, err)
	return b
}

func receiveTLS(t testing.TB, conn net.Conn, req []byte) *radius.Packet {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	b, err := radius.ReadPacket(conn, make([]byte, radius.MaxPacket))
	must(t, err)
	p, err := radius.ParseReply(b, req, radius.RadSecSecret())
	must(t, err)
	return p
}

// wantClosed expects the server to have closed the connection.
func wantClosed(t testing.TB, conn net.Conn) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	var alert *net.OpError
	_, err := io.ReadAll(conn)
	if errors.As(err, &alert) && alert.Timeout() {
		t.Error("the connection stays open")
	}
}

// Who has no certificate of our CA, one of no client, or one that is over, does not
// get in.
func TestRadSecStrangers(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	plain := a.client(t, "gw1.example.org")
	none, expired, old := plain.Clone(), plain.Clone(), plain.Clone()
	none.Certificates = nil
	expired.Certificates = []tls.Certificate{a.issue(t, "gw1.example.org", time.Now().Add(-time.Hour))}
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	foreign := newAuthority(t).client(t, "gw1.example.org")
	foreign.RootCAs = a.pool
	for about, c := range map[string]struct {
		conf    *tls.Config
		outcome string
	}{
		"no certificate":            {none, "failed"},
		"another CA":                {foreign, "failed"},
		"an expired certificate":    {expired, "failed"},
		"TLS 1.2":                   {old, "failed"},
		"a certificate of a nobody": {a.client(t, "mallory.example.org"), "unknown_client"},
	} {
		before := s.counted(t, "radsec_handshakes_total", "outcome="+c.outcome)
		conn, err := tls.Dial("tcp", addr, c.conf)
		if err == nil { // with TLS 1.3 the client learns of it when it reads
			_, _ = conn.Write(overTLS(t, 1, pap("alice", goodPassword)))
			wantClosed(t, conn)
			_ = conn.Close()
		}
		eventually(t, about, func() bool { return s.counted(t, "radsec_handshakes_total", "outcome="+c.outcome) == before+1 })
	}
	if s.decider.count() != 0 || s.counted(t, "radsec_connections") != 0 {
		t.Error("somebody got in")
	}
}

// RFC 6613 §2.6.4: a stream in which one packet makes no sense makes none.
func TestRadSecMalformed(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	conf := a.client(t, "gw1.example.org")
	bad := overTLS(t, 1, pap("alice", goodPassword))
	bad[30] ^= 1
	coa, err := radius.EncodeRequest(&radius.Packet{Code: radius.CodeCoARequest, Secret: radius.RadSecSecret().Bytes()})
	must(t, err)
	for about, c := range map[string]struct {
		octets []byte
		reason string
	}{
		"a length below a header": {[]byte{1, 1, 0, 3}, "length"},
		"a length beyond 4096":    {[]byte{1, 1, 0xff, 0xff}, "length"},
		"a wrong signature":       {bad, "signature"},
		"HTTP":                    {[]byte("GET / HTTP/1.1\r\n\r\n"), "length"},
		"CoA":                     {coa, "code"},
	} {
		before := s.counted(t, "dropped_total", "reason="+c.reason)
		conn := dialRadSec(t, addr, conf)
		good := overTLS(t, 1, pap("alice", "guess"))
		send(t, conn, good)
		wantCode(t, receiveTLS(t, conn, good), radius.CodeAccessReject)
		send(t, conn, c.octets)
		wantClosed(t, conn)
		if n := s.counted(t, "dropped_total", "reason="+c.reason); n != before+1 {
			t.Errorf("%s: not counted as %s", about, c.reason)
		}
	}
}

// What is merely unwelcome does not end the connection.
func TestRadSecUnwelcome(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	conn := dialRadSec(t, addr, a.client(t, "gw1.example.org"))
	p := radius.NewRequest(radius.CodeAccessRequest, radius.RadSecSecret())
	pap("alice", goodPassword)(p)
	b, err := p.Encode()
	must(t, err)
	send(t, conn, b) // unsigned
	q := &radius.Packet{Code: radius.CodeAccountingRequest, Secret: radius.RadSecSecret().Bytes()}
	_ = rfc2866.AcctStatusType_Set(q, 99)
	b, err = radius.EncodeRequest(q)
	must(t, err)
	send(t, conn, b) // a status we do not know
	good := overTLS(t, 2, pap("alice", "guess"))
	send(t, conn, good)
	wantCode(t, receiveTLS(t, conn, good), radius.CodeAccessReject)
	s.dropped(t, "unsigned", 1)
	s.dropped(t, "unusable_record", 1)
}

// A packet may come in pieces, and several in one.
func TestRadSecFraming(t *testing.T) {
	_, a, addr := newRadSec(t, RadSec{})
	conn := dialRadSec(t, addr, a.client(t, "gw1.example.org"))
	one, two := overTLS(t, 1, pap("alice", "guess")), overTLS(t, 2, pap("bob", "guess"))
	for _, octet := range one {
		send(t, conn, []byte{octet})
	}
	wantCode(t, receiveTLS(t, conn, one), radius.CodeAccessReject)
	three := overTLS(t, 3, pap("carol", "guess"))
	send(t, conn, append(append([]byte(nil), two...), three...))
	for range 2 {
		must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		b, err := radius.ReadPacket(conn, make([]byte, radius.MaxPacket))
		must(t, err)
		if req := map[byte][]byte{2: two, 3: three}[b[1]]; req == nil || radius.VerifyReply(b, req, radius.RadSecSecret()) != nil {
			t.Errorf("reply % x", b)
		}
	}
}

// Each connection has its own space of Identifiers: the same octets on another are
// another request (RFC 6613 §2.6.1). On the same they are a repetition.
func TestRadSecDuplicateSpace(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	req := overTLS(t, 1, pap("alice", "guess"))
	for i := range 2 {
		conn := dialRadSec(t, addr, a.client(t, "gw1.example.org"))
		for range 2 {
			send(t, conn, req)
			wantCode(t, receiveTLS(t, conn, req), radius.CodeAccessReject)
		}
		if n := s.decider.count(); n != i+1 {
			t.Errorf("asked %d times over %d connections", n, i+1)
		}
	}
}

func TestRadSecHandshakeBounds(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{HalfOpenPerSource: 2, Conns: 3, Handshake: 30 * time.Second})
	var lazy []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		defer conn.Close()
		lazy = append(lazy, conn)
	}
	eventually(t, "half open", func() bool {
		s.radsec.mu.Lock()
		defer s.radsec.mu.Unlock()
		return s.radsec.halves == 2
	})
	refused := func(outcome string) {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		defer conn.Close()
		must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", outcome, err)
		}
		if s.counted(t, "radsec_handshakes_total", "outcome="+outcome) != 1 {
			t.Errorf("not counted as %s", outcome)
		}
	}
	refused("busy")
	for _, conn := range lazy { // who gives up makes room
		_ = conn.Close()
	}
	eventually(t, "room", func() bool {
		s.radsec.mu.Lock()
		defer s.radsec.mu.Unlock()
		return s.radsec.open == 0 && s.radsec.halves == 0 && len(s.radsec.half) == 0
	})
	for range 3 {
		conn := dialRadSec(t, addr, a.client(t, "gw1.example.org"))
		req := overTLS(t, 1, pap("alice", "guess"))
		send(t, conn, req)
		wantCode(t, receiveTLS(t, conn, req), radius.CodeAccessReject)
	}
	refused("full")
}

func TestRadSecTimes(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{Handshake: 50 * time.Millisecond, Idle: 50 * time.Millisecond})
	lazy, err := net.Dial("tcp", addr)
	must(t, err)
	defer lazy.Close()
	wantClosed(t, lazy)
	wantClosed(t, dialRadSec(t, addr, a.client(t, "gw1.example.org")))
	eventually(t, "closed", func() bool { return s.counted(t, "radsec_connections") == 0 })
}

// A certificate that ends while its connection is up ends the connection.
func TestRadSecCertificateExpires(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	conf := a.client(t, "gw1.example.org")
	conf.Certificates = []tls.Certificate{a.issue(t, "gw1.example.org", time.Now().Add(2*time.Second))}
	conn := dialRadSec(t, addr, conf)
	eventually(t, "connected", func() bool { return s.counted(t, "radsec_connections") == 1 })
	for end := time.Now().Add(10 * time.Second); s.counted(t, "radsec_connections") == 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection outlives its certificate")
		}
		_, _ = conn.Write(overTLS(t, 1, pap("alice", "guess")))
	}
}

// Reload changes certificates for new connections, and ends those of clients that
// are gone.
func TestRadSecReload(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	conn := dialRadSec(t, addr, a.client(t, "gw1.example.org"))
	req := overTLS(t, 1, pap("alice", "guess"))
	send(t, conn, req)
	wantCode(t, receiveTLS(t, conn, req), radius.CodeAccessReject)

	b := newAuthority(t)
	cfg := s.cfg
	cfg.RadSec.TLS = b.server(t)
	must(t, s.Reload(cfg))
	if c, err := tls.Dial("tcp", addr, a.client(t, "gw1.example.org")); err == nil {
		_ = c.Close()
		t.Error("the old certificate is shown")
	}
	dialRadSec(t, addr, b.client(t, "gw1.example.org"))
	req = overTLS(t, 2, pap("alice", "guess"))
	send(t, conn, req)
	wantCode(t, receiveTLS(t, conn, req), radius.CodeAccessReject)

	cfg.Clients = testClients()[:2]
	must(t, s.Reload(cfg))
	send(t, conn, overTLS(t, 3, pap("alice", "guess")))
	wantClosed(t, conn)
}

// A TLS configuration that lets anybody in is refused before it can.
func TestStrictTLS(t *testing.T) {
	a := newAuthority(t)
	for about, spoil := range map[string]func(*tls.Config){
		"no client certificate":       func(c *tls.Config) { c.ClientAuth = tls.NoClientCert },
		"a certificate if there is":   func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven },
		"any certificate":             func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
		"every CA of the system":      func(c *tls.Config) { c.ClientCAs = nil },
		"TLS 1.2":                     func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 },
		"no certificate of its own":   func(c *tls.Config) { c.Certificates = nil },
		"no version said, so any old": func(c *tls.Config) { c.MinVersion = 0 },
	} {
		conf := a.server(t)
		must(t, strictTLS(conf))
		spoil(conf)
		if strictTLS(conf) == nil {
			t.Errorf("%s: no error", about)
		}
	}
}

// A queue that is full makes a connection wait, and does not lose its request: a
// stream repeats nothing.
func TestRadSecWaitsForRoom(t *testing.T) {
	a := newAuthority(t)
	s := newService(t, Config{Workers: 1, Queue: 1, RadSec: RadSec{Listen: "127.0.0.1:0", TLS: a.server(t)}})
	release := make(chan bool)
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		<-release
		return verify(r)
	}
	must(t, s.Start())
	_, _, addr := s.Addrs()
	conn := dialRadSec(t, addr.String(), a.client(t, "gw1.example.org"))
	for id := range byte(6) {
		send(t, conn, overTLS(t, id, pap("alice", "guess")))
	}
	eventually(t, "in work", func() bool { return s.decider.count() == 1 })
	close(release)
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	for range 6 {
		_, err := radius.ReadPacket(conn, make([]byte, radius.MaxPacket))
		must(t, err)
	}
	s.dropped(t, "overload", 0)
}

// A client that reads nothing is given up, rather than have workers wait for it.
func TestRadSecSlowReader(t *testing.T) {
	s := newService(t, Config{})
	near, far := net.Pipe()
	defer far.Close()
	c := &radsecConn{r: &radsec{s: s.Server}, raw: near, from: peer{via: radius.RadSec}, out: make(chan []byte, 1)}
	c.pending.Add(2)
	c.answer(nil, []byte("one"))
	c.answer(nil, []byte("two"))
	c.pending.Wait()
	if _, err := near.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("not closed: %v", err)
	}
	s.dropped(t, "slow_reader", 1)
}

// Answers to all that a client can ask at once, and all that we can ask it, wait for a
// writer that is late: that is no slow reader.
func TestRadSecBothWaysAtOnce(t *testing.T) {
	s := newService(t, Config{})
	near, far := net.Pipe()
	defer far.Close()
	r := &radsec{s: s.Server, half: make(map[netip.Addr]int), conns: make(map[*radsecConn]bool)}
	r.s.cfg.RadSec.Conns, r.s.cfg.RadSec.HalfOpen, r.s.cfg.RadSec.HalfOpenPerSource = 1, 1, 1
	c, _ := r.begin(near, netip.AddrPort{})
	for range 256 {
		q, err := c.asked.begin(&radius.Packet{Code: radius.CodeDisconnectRequest}, false)
		must(t, err)
		c.send(q.sent)
		c.send([]byte("an answer"))
	}
	s.dropped(t, "slow_reader", 0)
	if _, err := c.asked.begin(&radius.Packet{Code: radius.CodeDisconnectRequest}, false); !errors.Is(err, errBusy) {
		t.Errorf("one more: %v", err)
	}
}

// A stop with requests under way: they are answered, then the connection ends.
func TestRadSecStop(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	working, release := make(chan bool), make(chan bool)
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		close(working)
		<-release
		return verify(r)
	}
	conn := dialRadSec(t, addr, a.client(t, "gw1.example.org"))
	req := overTLS(t, 1, pap("alice", "guess"))
	send(t, conn, req)
	<-working
	s.Stop()
	close(release)
	wantCode(t, receiveTLS(t, conn, req), radius.CodeAccessReject)
	wantClosed(t, conn)
	must(t, s.Wait())
}
