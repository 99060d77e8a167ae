package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
)

// service is a service for tests: it answers everything, unless told to keep silent,
// and remembers what it was asked.
type service struct {
	frozen atomic.Bool
	drop   atomic.Int32 // so many more requests are lost
	delay  time.Duration

	mu  sync.Mutex
	got []received
}

type received struct {
	at   time.Time
	raw  []byte
	code Code
	from Peer
}

func (s *service) ServeRADIUS(ctx context.Context, req []byte, from Peer) []byte {
	s.mu.Lock()
	s.got = append(s.got, received{time.Now(), bytes.Clone(req), Code(req[0]), from})
	s.mu.Unlock()
	if s.frozen.Load() || s.drop.Add(-1) >= 0 {
		return nil
	}
	if s.delay > 0 && Code(req[0]) != CodeStatusServer {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return nil
		}
	}
	return accept(req, from.Secret)
}

// requests returns what came, Status-Server apart.
func (s *service) requests() (asked, status []received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.got {
		if r.code == CodeStatusServer {
			status = append(status, r)
		} else {
			asked = append(asked, r)
		}
	}
	return asked, status
}

// accept answers a signed request with Accept or Accounting-Response; the user's
// name comes back in Reply-Message. Nil for anything else.
func accept(req []byte, secret Secret) []byte {
	p, err := ParseRequest(req, secret, true)
	if err != nil {
		return nil
	}
	code := CodeAccessAccept
	if p.Code == CodeAccountingRequest {
		code = CodeAccountingResponse
	}
	r := NewReply(p, code)
	_ = rfc2865.ReplyMessage_AddString(r, rfc2865.UserName_GetString(p))
	b, err := EncodeReply(r, p)
	if err != nil {
		return nil
	}
	return b
}

func user(name string) *Packet {
	p := NewRequest(CodeAccessRequest, Secret{})
	_ = rfc2865.UserName_AddString(p, name)
	return p
}

func newClient(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func inproc(name string, h Handler, priority int) Server {
	return Server{Name: name, Network: "inproc", Local: h, Priority: priority}
}

// metric sums the samples of one family whose labels have all of want.
func metric(t *testing.T, r *prometheus.Registry, name string, want ...string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "postern_radius_client_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(values, w) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func TestExchangeInProcess(t *testing.T) {
	send, recv := [16]byte{1}, [16]byte{2}
	c := newClient(t, ClientConfig{Name: "node-7", Servers: []Server{inproc("a", HandlerFunc(func(_ context.Context, req []byte, from Peer) []byte {
		p, err := ParseRequest(req, from.Secret, true)
		if err != nil || from.Transport != InProcess || from.Name != "node-7" {
			t.Errorf("request %v from %+v", err, from)
			return nil
		}
		r := NewReply(p, CodeAccessAccept)
		if err := AddMPPEKeys(r, &send, &recv); err != nil {
			t.Error(err)
		}
		b, _ := EncodeReply(r, p)
		return b
	}), 0)}})
	p := user("alice")
	before := *p
	reply, err := c.Exchange(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if s, r, ok := MPPEKeys(reply); !ok || s != send || r != recv {
		t.Error("the keys do not open")
	}
	if p.Identifier != before.Identifier || p.Authenticator != before.Authenticator || len(p.Attributes) != 1 {
		t.Error("the caller's packet was changed")
	}
	if _, err := c.Exchange(t.Context(), NewRequest(CodeAccessAccept, Secret{})); !errors.Is(err, FaultCode) {
		t.Errorf("a reply as a request: %v", err)
	}
}

// RFC 5080 §2.2.1: the same octets, at 1, 2, 4 times the first wait, each ±10 %.
func TestRetransmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		s.drop.Store(3)
		r := prometheus.NewRegistry()
		c := newClient(t, ClientConfig{Servers: []Server{inproc("a", s, 0)}, Timeout: time.Second, Retries: 3, Metrics: r})
		if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
			t.Fatal(err)
		}
		got, _ := s.requests()
		if len(got) != 4 {
			t.Fatalf("%d transmissions", len(got))
		}
		for i := 1; i < 4; i++ {
			if !bytes.Equal(got[i].raw, got[0].raw) || got[i].from != got[0].from {
				t.Errorf("transmission %d is another packet, or from another port", i)
			}
		}
		want := 1.0
		for i := 1; i < 4; i++ {
			wait := got[i].at.Sub(got[i-1].at).Seconds()
			if wait < want*0.9 || wait > want*1.1 {
				t.Errorf("wait %d was %.3f s, want %.3f ± 10 %%", i, wait, want)
			}
			want = 2 * wait
		}
		if n := metric(t, r, "retransmits_total"); n != 3 {
			t.Errorf("%v retransmissions counted", n)
		}
	})
}

func TestRetransmissionSeries(t *testing.T) {
	r := retransmission{initial: 2 * time.Second}
	for i, want := range []float64{2, 4, 8, 16, 16, 16} {
		got := r.next().Seconds()
		if spread := 0.1 * float64(i+1); got < want*(1-spread) || got > want*(1+spread) || got > 17.6 {
			t.Errorf("wait %d is %.2f s, want about %.0f", i, got, want)
		}
	}
	if w := window(time.Second, 2); w != 7*time.Second {
		t.Errorf("window %v", w)
	}
	if w := window(10*time.Second, 2); w != 42*time.Second {
		t.Errorf("window past MRT %v", w)
	}
}

// RFC 2866 §5.2: Acct-Delay-Time grows, so each transmission is a request of its own;
// and an answer to the first still counts.
func TestAcctDelayTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		s.drop.Store(2)
		c := newClient(t, ClientConfig{Servers: []Server{inproc("a", s, 0)}, Timeout: 2 * time.Second, Retries: 3})
		p := NewRequest(CodeAccountingRequest, Secret{})
		_ = rfc2866.AcctDelayTime_Add(p, 5)
		if _, err := c.Exchange(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		got, _ := s.requests()
		if len(got) != 3 {
			t.Fatalf("%d transmissions", len(got))
		}
		ids, auths := map[byte]bool{}, map[string]bool{}
		for i, r := range got {
			q, err := ParseRequest(r.raw, r.from.Secret, true)
			if err != nil {
				t.Fatal(err)
			}
			ids[q.Identifier], auths[string(q.Authenticator[:])] = true, true
			passed := r.at.Sub(got[0].at) / time.Second
			if d := rfc2866.AcctDelayTime_Get(q); d != 5+rfc2866.AcctDelayTime(passed) {
				t.Errorf("transmission %d: delay %d after %d s", i, d, passed)
			}
		}
		if len(ids) != 3 || len(auths) != 3 {
			t.Errorf("%d identifiers, %d authenticators", len(ids), len(auths))
		}

		s = &service{delay: 5 * time.Second} // later than the first repetition
		c = newClient(t, ClientConfig{Servers: []Server{inproc("a", s, 0)}, Timeout: 2 * time.Second, Retries: 3})
		began := time.Now()
		if _, err := c.Exchange(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("answered after %v", took)
		}
	})
}

// A request to the next service is a new one, and what hung on the old Authenticator
// and secret is made anew.
func TestNextServiceGetsANewRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &service{}, &service{}
		a.frozen.Store(true)
		first, second := inproc("a", a, 0), inproc("b", b, 1)
		first.Secret, second.Secret = NewSecret("first"), NewSecret("second")
		c := newClient(t, ClientConfig{Servers: []Server{first, second}, Timeout: time.Second, Retries: 1})
		p := NewRequest(CodeAccessRequest, NewSecret("the caller's"))
		_ = rfc2865.UserPassword_AddString(p, "correct horse battery staple")
		p.Add(rfc2865.CHAPPassword_Type, make(Attribute, 17))
		if _, err := c.Exchange(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		seen := map[[16]byte]bool{}
		for s, secret := range map[*service]string{a: "first", b: "second"} {
			got, _ := s.requests()
			q, err := ParseRequest(got[0].raw, NewSecret(secret), true)
			if err != nil {
				t.Fatal(err)
			}
			if pw := rfc2865.UserPassword_GetString(q); pw != "correct horse battery staple" {
				t.Errorf("password %q at %s", pw, secret)
			}
			if ch := rfc2865.CHAPChallenge_Get(q); !bytes.Equal(ch, p.Authenticator[:]) {
				t.Errorf("CHAP-Challenge %x at %s", ch, secret)
			}
			seen[q.Authenticator] = true
		}
		if len(seen) != 2 {
			t.Error("the Authenticator was used twice")
		}
	})
}

func TestFailOverDeathAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &service{}, &service{}
		r := prometheus.NewRegistry()
		c := newClient(t, ClientConfig{
			Servers: []Server{inproc("a", a, 0), inproc("b", b, 1)},
			Timeout: time.Second, Retries: 2, Metrics: r,
		})
		ask := func() time.Duration {
			t.Helper()
			began := time.Now()
			if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		count := func() (int, int) {
			x, _ := a.requests()
			y, _ := b.requests()
			return len(x), len(y)
		}
		ask()
		if x, y := count(); x != 1 || y != 0 {
			t.Fatalf("asked a %d times and b %d times", x, y)
		}
		time.Sleep(time.Minute)
		a.frozen.Store(true)

		// Two requests wait at the frozen service; the second began late and leaves when
		// the first has found it dead.
		var wg sync.WaitGroup
		var early, late time.Duration
		wg.Go(func() { early = ask() })
		wg.Go(func() { time.Sleep(4 * time.Second); late = ask() })
		wg.Wait()
		// Three waits of 1, 2 and 4 s whose jitter adds up: 5.86 to 8.26 s.
		if early < 5800*time.Millisecond || early > 8300*time.Millisecond {
			t.Errorf("fail-over took %v, want about 7 s", early)
		}
		if late > 4300*time.Millisecond {
			t.Errorf("a waiting request took %v to leave a dead service", late)
		}
		if up := metric(t, r, "server_up", "a"); up != 0 {
			t.Errorf("server_up %v", up)
		}
		x, _ := count()
		for range 20 {
			if took := ask(); took != 0 {
				t.Fatalf("a request took %v with a dead service known", took)
			}
		}
		if now, _ := count(); now != x {
			t.Errorf("%d requests to a dead service", now-x)
		}

		// Dead time alone: this service was never seen to answer Status-Server, so it is
		// tried again after DeadTime.
		time.Sleep(DefaultDeadTime + time.Second)
		if took := ask(); took < 5800*time.Millisecond {
			t.Errorf("after dead time the request took %v: nobody tried", took)
		}
		_, status := a.requests()
		if len(status) < 5 {
			t.Errorf("%d Status-Servers in dead time", len(status))
		}

		// Recovery: the next Status-Server is answered, and a gets requests again.
		a.frozen.Store(false)
		time.Sleep(2 * probeInterval)
		if up := metric(t, r, "server_up", "a"); up != 1 {
			t.Errorf("server_up %v after recovery", up)
		}
		x, _ = count()
		if took := ask(); took != 0 {
			t.Errorf("after recovery a request took %v", took)
		}
		if now, _ := count(); now != x+1 {
			t.Error("the recovered service was not asked")
		}

		// It is now known to answer Status-Server: dead time over or not, nobody waits
		// for it while it does not.
		a.frozen.Store(true)
		ask()
		time.Sleep(3 * DefaultDeadTime)
		if took := ask(); took != 0 {
			t.Errorf("a request took %v: the dead service was asked", took)
		}
	})
}

// A service that keeps silent on one request, for its directory is down, and answers
// others is passed over for that request only.
func TestSilenceOnOneRequestIsNotDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		picky := HandlerFunc(func(_ context.Context, req []byte, from Peer) []byte {
			if p, err := ParseRequest(req, from.Secret, true); err != nil || rfc2865.UserName_GetString(p) == "ghost" {
				return nil
			}
			return accept(req, from.Secret)
		})
		b := &service{}
		c := newClient(t, ClientConfig{Servers: []Server{inproc("a", picky, 0), inproc("b", b, 1)}, Timeout: time.Second, Retries: 1})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Exchange(t.Context(), user("ghost")); err != nil {
				t.Error(err)
			}
		})
		for range 10 {
			time.Sleep(500 * time.Millisecond)
			if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if got, _ := b.requests(); len(got) != 1 {
			t.Errorf("b was asked %d times, want once, for ghost", len(got))
		}
	})
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &service{}, &service{}
		a.frozen.Store(true)
		b.frozen.Store(true)
		c := newClient(t, ClientConfig{Servers: []Server{inproc("a", a, 0), inproc("b", b, 0)}, Timeout: time.Second, Retries: 1})
		for range 2 { // alive, then both dead: they are asked all the same
			_, err := c.Exchange(t.Context(), user("alice"))
			if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "a: silent") || !strings.Contains(err.Error(), "b: silent") {
				t.Fatal(err)
			}
		}
		for name, s := range map[string]*service{"a": a, "b": b} {
			if got, _ := s.requests(); len(got) < 3 {
				t.Errorf("%s got %d transmissions", name, len(got))
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := c.Exchange(ctx, user("alice")); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 700*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Exchange(t.Context(), user("alice")); !errors.Is(err, ErrClosed) {
				t.Errorf("while closing: %v", err)
			}
		})
		time.Sleep(100 * time.Millisecond)
		c.Close()
		wg.Wait()
		if _, err := c.Exchange(t.Context(), user("alice")); !errors.Is(err, ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
	}) // and synctest fails if a goroutine is left
}

// A caller who gives up before we do must not keep a frozen service in favour.
func TestImpatientCallersFindADeadService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &service{}, &service{}
		a.frozen.Store(true)
		c := newClient(t, ClientConfig{Servers: []Server{inproc("a", a, 0), inproc("b", b, 1)}, Timeout: time.Second, Retries: 3})
		for i := range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, err := c.Exchange(ctx, user("alice"))
			cancel()
			if i == 0 && !errors.Is(err, context.DeadlineExceeded) || i == 1 && err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		}
	})
}

func TestPriorityAndWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		services := map[string]*service{}
		var servers []Server
		for _, s := range []struct {
			name             string
			priority, weight int
		}{{"heavy", 1, 3}, {"light", 1, 1}, {"spare", 2, 9}} {
			services[s.name] = &service{}
			v := inproc(s.name, services[s.name], s.priority)
			v.Weight = s.weight
			servers = append(servers, v)
		}
		c := newClient(t, ClientConfig{Servers: servers, Timeout: time.Second})
		const n = 4000
		for range n {
			if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
				t.Fatal(err)
			}
		}
		heavy, _ := services["heavy"].requests()
		spare, _ := services["spare"].requests()
		if len(spare) != 0 {
			t.Errorf("the spare was asked %d times", len(spare))
		}
		// 3000 ± 6 standard deviations.
		if d := math.Abs(float64(len(heavy)) - 3000); d > 6*math.Sqrt(n*0.75*0.25) {
			t.Errorf("heavy got %d of %d", len(heavy), n)
		}
		services["heavy"].frozen.Store(true)
		services["light"].frozen.Store(true)
		if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
			t.Fatal(err)
		}
		if spare, _ = services["spare"].requests(); len(spare) != 1 {
			t.Error("the spare did not take over")
		}
	})
}

// wire is a simulated UDP: every Dial is a port, and what is written to it comes to
// serve, which may write back to it.
type wire struct {
	mu    sync.Mutex
	ports []*port
	serve func(p *port, b []byte)
}

type port struct {
	n      int
	in     chan []byte
	w      *wire
	closed chan struct{}
	once   sync.Once
}

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &port{n: len(w.ports), in: make(chan []byte, 1024), w: w, closed: make(chan struct{})}
	w.ports = append(w.ports, p)
	return p, nil
}

// answer changes what the other end does.
func (w *wire) answer(serve func(p *port, b []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve = serve
}

func (p *port) Write(b []byte) (int, error) {
	p.w.mu.Lock()
	serve := p.w.serve
	p.w.mu.Unlock()
	serve(p, bytes.Clone(b))
	return len(b), nil
}

func (p *port) Close() error { p.once.Do(func() { close(p.closed) }); return nil }
func (p *port) Read(b []byte) (int, error) {
	select {
	case m := <-p.in:
		return copy(b, m), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}
func (p *port) LocalAddr() net.Addr              { return &net.UDPAddr{Port: p.n} }
func (p *port) RemoteAddr() net.Addr             { return &net.UDPAddr{} }
func (p *port) SetDeadline(time.Time) error      { return nil }
func (p *port) SetReadDeadline(time.Time) error  { return nil }
func (p *port) SetWriteDeadline(time.Time) error { return nil }

func overWire(w *wire, cfg ClientConfig) ClientConfig {
	cfg.Dial = w.dial
	cfg.Servers = []Server{{Name: "u", Network: "udp", Addr: "192.0.2.1:1812", AcctAddr: "192.0.2.1:1813", Secret: testSecret}}
	return cfg
}

// Every kind of reply that is not the service's comes first; the real one comes late
// and is the one taken.
func TestForgedReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forge := func(req []byte, change func(r *Packet, q *Packet) []byte) []byte {
			q, err := ParseRequest(req, testSecret, true)
			if err != nil {
				t.Error(err)
				return nil
			}
			r := NewReply(q, CodeAccessAccept)
			_ = rfc2865.ReplyMessage_AddString(r, "forged")
			return change(r, q)
		}
		forgeries := []struct {
			name  string
			fault Fault
			make  func(req []byte) []byte
		}{
			{"CVE-2024-3596: right Response Authenticator, no Message-Authenticator", FaultUnsigned, func(req []byte) []byte {
				return forge(req, func(r, q *Packet) []byte {
					b, _ := encode(r, false)
					sum := authenticator(b, &q.Authenticator, testSecret.Bytes())
					copy(b[4:], sum[:])
					return b
				})
			}},
			{"right Identifier, another secret", FaultSignature, func(req []byte) []byte {
				return forge(req, func(r, q *Packet) []byte {
					r.Secret = []byte("guess")
					b, _ := EncodeReply(r, q)
					return b
				})
			}},
			{"right Response Authenticator, wrong Message-Authenticator", FaultSignature, func(req []byte) []byte {
				return forge(req, func(r, q *Packet) []byte {
					b, _ := EncodeReply(r, q)
					b[25] ^= 1
					sum := authenticator(b, &q.Authenticator, testSecret.Bytes())
					copy(b[4:], sum[:])
					return b
				})
			}},
			{"right Message-Authenticator, wrong Response Authenticator", FaultAuthenticator, func(req []byte) []byte {
				return forge(req, func(r, q *Packet) []byte {
					b, _ := EncodeReply(r, q)
					b[5] ^= 1
					return b
				})
			}},
			{"the answer to another request", FaultSignature, func(req []byte) []byte {
				return forge(req, func(r, q *Packet) []byte {
					q.Authenticator[0] ^= 1
					b, _ := EncodeReply(r, q)
					return b
				})
			}},
			{"an Identifier nobody waits under", FaultUnexpected, func(req []byte) []byte {
				return forge(req, func(r, q *Packet) []byte {
					q.Identifier ^= 0x80
					b, _ := EncodeReply(r, q)
					return b
				})
			}},
			{"the request itself, sent back", FaultCode, func(req []byte) []byte { return req }},
			{"cut short", FaultLength, func(req []byte) []byte {
				b := accept(req, testSecret)
				return b[:len(b)-1]
			}},
			{"nine octets", FaultShort, func(req []byte) []byte { return req[:9] }},
		}
		w := &wire{}
		asked := 0
		w.answer(func(p *port, b []byte) {
			asked++
			for _, f := range forgeries {
				p.in <- f.make(b)
			}
			real := accept(b, testSecret)
			time.AfterFunc(900*time.Millisecond, func() { p.in <- real })
		})
		r := prometheus.NewRegistry()
		c := newClient(t, overWire(w, ClientConfig{Timeout: time.Second, Metrics: r}))
		began := time.Now()
		reply, err := c.Exchange(t.Context(), user("alice"))
		if err != nil {
			t.Fatal(err)
		}
		if msg := rfc2865.ReplyMessage_GetString(reply); msg != "alice" || time.Since(began) != 900*time.Millisecond || asked != 1 {
			t.Errorf("%q after %v and %d transmissions", msg, time.Since(began), asked)
		}
		want := map[Fault]float64{}
		for _, f := range forgeries {
			want[f.fault]++
		}
		for fault, n := range want {
			if got := metric(t, r, "dropped_replies_total", "u", fault.String()); got != n {
				t.Errorf("%v forgeries counted as %q, want %v", got, fault, n)
			}
		}

		// A reply that comes after the caller has gone, and a repetition of one that was
		// taken, answer nothing.
		before := metric(t, r, "dropped_replies_total", FaultUnexpected.String())
		w.answer(func(p *port, b []byte) {
			late := accept(b, testSecret)
			time.AfterFunc(3*time.Second, func() { p.in <- late })
		})
		if _, err := c.Exchange(t.Context(), user("bob")); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("an answer out of nothing: %v", err)
		}
		time.Sleep(3 * time.Second)
		w.answer(func(p *port, b []byte) {
			p.in <- accept(b, testSecret)
			p.in <- accept(b, testSecret)
		})
		if reply, err := c.Exchange(t.Context(), user("carol")); err != nil || rfc2865.ReplyMessage_GetString(reply) != "carol" {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if n := metric(t, r, "dropped_replies_total", FaultUnexpected.String()) - before; n < 2 {
			t.Errorf("%v late or repeated replies counted", n)
		}
	})
}

// No Identifier of a port is used again while a request waits under it, nor while it
// rests; more than 256 wait at once; ports are bounded, and who finds none waits.
func TestManyOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct {
			port int
			id   byte
		}
		var mu sync.Mutex
		waiting, ended := map[key]bool{}, map[key]time.Time{}
		most := 0
		w := &wire{}
		w.answer(func(p *port, b []byte) {
			k := key{p.n, b[1]}
			mu.Lock()
			if waiting[k] {
				t.Errorf("identifier %d of port %d used while a request waits", k.id, k.port)
			}
			if at, ok := ended[k]; ok && time.Since(at) < 500*time.Millisecond {
				t.Errorf("identifier %d of port %d used again after %v", k.id, k.port, time.Since(at))
			}
			waiting[k] = true
			most = max(most, len(waiting))
			mu.Unlock()
			time.AfterFunc(300*time.Millisecond, func() {
				mu.Lock()
				delete(waiting, k)
				ended[k] = time.Now()
				mu.Unlock()
				p.in <- accept(b, testSecret)
			})
		})
		cfg := overWire(w, ClientConfig{Timeout: 30 * time.Second, MaxSockets: 4})
		c := newClient(t, cfg)
		var wg sync.WaitGroup
		for i := range 3000 {
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
		if most != 1024 || len(w.ports) != 4 {
			t.Errorf("%d requests at a time over %d ports, want 1024 over 4", most, len(w.ports))
		}
	})
}

func TestIdentifiersRestAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{serve: func(*port, []byte) {}}
		c := newClient(t, overWire(w, ClientConfig{Timeout: 10 * time.Millisecond, MaxSockets: 1}))
		var wg sync.WaitGroup
		for range 256 {
			wg.Go(func() { _, _ = c.Exchange(t.Context(), user("alice")) })
		}
		wg.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), restUnanswered/2)
		defer cancel()
		var sent atomic.Bool
		w.answer(func(*port, []byte) { sent.Store(true) })
		if _, err := c.Exchange(ctx, user("bob")); err == nil || sent.Load() {
			t.Errorf("an Identifier was used again at once: %v", err)
		}
		time.Sleep(restUnanswered)
		w.answer(func(p *port, b []byte) { p.in <- accept(b, testSecret) })
		if _, err := c.Exchange(t.Context(), user("bob")); err != nil {
			t.Error(err)
		}
	})
}

func TestMSCHAPOverUDP(t *testing.T) {
	login := func() *Packet {
		p := user("alice")
		if err := AddMSCHAP2Response(p, new([16]byte), new(MSCHAP2Response)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		addr  string
		allow bool
		sent  bool
	}{
		{"192.0.2.1:1812", false, false},
		{"192.0.2.1:1812", true, true},
		{"radius.example:1812", false, false},
		{"[2001:db8::1]:1812", false, false},
		{"localhost:1812", false, true},
		{"127.0.0.1:1812", false, true},
		{"[::1]:1812", false, true},
		{"[::ffff:127.0.0.1]:1812", false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{serve: func(p *port, b []byte) { p.in <- accept(b, testSecret) }}
			cfg := overWire(w, ClientConfig{AllowMSCHAPOverUDP: c.allow})
			cfg.Servers[0].Addr = c.addr
			client := newClient(t, cfg)
			_, err := client.Exchange(t.Context(), login())
			if c.sent && err != nil || !c.sent && !errors.Is(err, ErrMSCHAPOverUDP) {
				t.Errorf("%s, allowed %v: %v", c.addr, c.allow, err)
			}
			if !c.sent && len(w.ports) != 0 {
				t.Errorf("%s: a socket was opened", c.addr)
			}
			if _, err := client.Exchange(t.Context(), user("alice")); err != nil { // without a response in it
				t.Errorf("%s: %v", c.addr, err)
			}
		})
	}
	// Another service that may be asked is asked.
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		w := &wire{serve: func(*port, []byte) { t.Error("MS-CHAP was sent") }}
		cfg := overWire(w, ClientConfig{})
		cfg.Servers = append(cfg.Servers, inproc("local", s, 9))
		if _, err := newClient(t, cfg).Exchange(t.Context(), login()); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(ErrMSCHAPOverUDP.Error(), "DES") {
		t.Error("the refusal does not say why")
	}
}

// Real sockets: authentication and accounting ports, and a reply that is perfect but
// for where it comes from.
func TestUDPSockets(t *testing.T) {
	listen := func() *net.UDPConn {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	auth, acct, stranger := listen(), listen(), listen()
	served := make(chan struct{}, 2)
	for _, conn := range []*net.UDPConn{auth, acct} {
		go func() {
			defer func() { served <- struct{}{} }()
			buf := make([]byte, MaxPacket)
			for {
				n, from, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				q, err := ParseRequest(buf[:n], testSecret, true)
				if err != nil {
					t.Error(err)
					continue
				}
				forged := NewReply(q, map[Code]Code{CodeAccessRequest: CodeAccessAccept, CodeAccountingRequest: CodeAccountingResponse}[q.Code])
				_ = rfc2865.ReplyMessage_AddString(forged, "stranger")
				b, _ := EncodeReply(forged, q)
				_, _ = stranger.WriteToUDPAddrPort(b, from)
				time.Sleep(20 * time.Millisecond)
				_, _ = conn.WriteToUDPAddrPort(append(accept(buf[:n], testSecret), 0, 0, 0), from)
			}
		}()
	}
	c := newClient(t, ClientConfig{Timeout: 5 * time.Second, Servers: []Server{{
		Name: "u", Network: "udp", Secret: testSecret,
		Addr: auth.LocalAddr().String(), AcctAddr: acct.LocalAddr().String(),
	}}})
	for _, code := range []Code{CodeAccessRequest, CodeAccountingRequest} {
		p := NewRequest(code, Secret{})
		_ = rfc2865.UserName_AddString(p, "alice")
		reply, err := c.Exchange(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got := rfc2865.ReplyMessage_GetString(reply); got != "alice" {
			t.Errorf("%v: answered by %q", code, got)
		}
	}
	c.Close()
	_, _ = auth.Close(), acct.Close()
	<-served
	<-served
}

func TestClientConfig(t *testing.T) {
	ok := inproc("a", &service{}, 0)
	for name, c := range map[string]struct {
		cfg  ClientConfig
		want string
	}{
		"two of one name":          {ClientConfig{Servers: []Server{ok, ok}}, "name of its own"},
		"no name":                  {ClientConfig{Servers: []Server{{Network: "inproc"}}}, "name of its own"},
		"no such network":          {ClientConfig{Servers: []Server{{Name: "a", Network: "tcp"}}}, `"tcp"`},
		"no secret":                {ClientConfig{Servers: []Server{{Name: "a", Network: "udp", Addr: "127.0.0.1:1812"}}}, "secret"},
		"no address":               {ClientConfig{Servers: []Server{{Name: "a", Network: "udp", Secret: testSecret}}}, "address"},
		"no handler":               {ClientConfig{Servers: []Server{{Name: "a", Network: "inproc"}}}, "handler"},
		"RadSec without TLS":       {ClientConfig{Servers: []Server{{Name: "a", Network: "radsec", Addr: "127.0.0.1:2083"}}}, "TLS"},
		"RadSec without address":   {ClientConfig{Servers: []Server{{Name: "a", Network: "radsec"}}}, "address"},
		"a negative weight":        {ClientConfig{Servers: []Server{{Name: "a", Network: "inproc", Local: &service{}, Weight: -1}}}, "weight"},
		"a negative retry":         {ClientConfig{Servers: []Server{ok}, Retries: -1}, "negative"},
		"every error is mentioned": {ClientConfig{Servers: []Server{{Name: "a", Network: "tcp"}, {Name: "b", Network: "sctp"}}}, `"sctp"`},
	} {
		c1, err := NewClient(c.cfg)
		if err == nil {
			c1.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Two clients share a registerer; UDP without an accounting address gets none.
	r := prometheus.NewRegistry()
	for range 2 {
		c := newClient(t, ClientConfig{Metrics: r, Servers: []Server{{Name: "a", Network: "udp", Addr: "127.0.0.1:9", Secret: testSecret}}})
		if _, err := c.Exchange(t.Context(), NewRequest(CodeAccountingRequest, Secret{})); !errors.Is(err, ErrNoService) {
			t.Error(err)
		}
	}
}

func BenchmarkExchangeInProcess(b *testing.B) {
	c, err := NewClient(ClientConfig{Servers: []Server{{Name: "a", Network: "inproc", Local: HandlerFunc(func(_ context.Context, req []byte, from Peer) []byte {
		return accept(req, from.Secret)
	})}}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := user("alice")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Exchange(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}
