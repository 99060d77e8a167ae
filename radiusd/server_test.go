package radiusd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"

	"postern/authz"
	"postern/internal/mschap"
	"postern/internal/radius"
)

var (
	sharedSecret = radius.NewSecret("xyzzy5461")
	nasAddr      = netip.MustParseAddrPort("192.0.2.10:40000")
	loopback     = netip.MustParseAddrPort("127.0.0.1:40000")
)

const goodPassword = "correct horse"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// decider is a Decider that remembers what it was asked. Unless told otherwise it
// knows one password and verifies MS-CHAPv2 for real.
type decider struct {
	decide func(context.Context, *authz.Request) *authz.Result

	mu    sync.Mutex
	asked []authz.Request
}

func (d *decider) Decide(ctx context.Context, r *authz.Request) *authz.Result {
	d.mu.Lock()
	kept := *r
	kept.Password = bytes.Clone(r.Password)
	d.asked = append(d.asked, kept)
	d.mu.Unlock()
	if d.decide != nil {
		return d.decide(ctx, r)
	}
	return verify(r)
}

func (d *decider) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

func (d *decider) last(t testing.TB) authz.Request {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		t.Fatal("the decider was not asked")
	}
	return d.asked[len(d.asked)-1]
}

var testGrant = authz.Grant{
	Addr: netip.MustParseAddr("10.20.0.7"), Mask: 32, MTU: 1400,
	DNS:    []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("10.0.1.53")},
	NBNS:   []netip.Addr{netip.MustParseAddr("10.0.0.42")},
	Routes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12")},
	Filter: "staff", SessionTimeout: 8 * time.Hour, IdleTimeout: 90 * time.Second, InterimInterval: 5 * time.Minute,
	Class: []byte("01HZX-decision"),
}

// verify is authz.Decider's job in the small.
func verify(r *authz.Request) *authz.Result {
	no := &authz.Result{Verdict: authz.Reject, Reason: authz.WrongPassword, ErrorCode: mschap.ErrorAuthenticationFailed, Message: "Access denied"}
	res := &authz.Result{Verdict: authz.Accept, Reason: authz.Permitted, DecisionID: "01HZX-decision", User: strings.ToLower(r.User), Grant: testGrant}
	switch r.Method {
	case authz.MethodPAP:
		if !r.AllowPAP || string(r.Password) != goodPassword {
			return no
		}
	case authz.MethodMSCHAPv2, authz.MethodMSCHAPv2Change:
		m := &r.MSCHAPv2
		nt := mschap.NTHash(goodPassword)
		challenge := mschap.ChallengeHash(&m.PeerChallenge, &m.Challenge, r.User)
		if mschap.NTResponse(challenge, &nt) != m.Response {
			return no
		}
		hh := mschap.HashHash(&nt)
		res.Success = mschap.AuthenticatorResponse(&hh, &m.Response, challenge)
		master := mschap.MasterKey(&hh, &m.Response)
		res.SendKey, res.RecvKey = mschap.StartKeys(&master, true)
	case authz.MethodPortal, authz.MethodUnknown:
		no.Reason = authz.MethodRefused
		return no
	}
	return res
}

// accounter is an Accounter that remembers; err is what it answers.
type accounter struct {
	mu     sync.Mutex
	err    error
	stored []authz.Accounting
}

func (a *accounter) Account(_ context.Context, r *authz.Accounting) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	a.stored = append(a.stored, *r)
	return nil
}

func (a *accounter) all() []authz.Accounting {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]authz.Accounting(nil), a.stored...)
}

// service is a Server with what it asks, and what it counts.
type service struct {
	*Server
	decider   *decider
	accounter *accounter
	registry  *prometheus.Registry
	log       *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newService makes one that is not started. It has the clients of testClients unless
// cfg has others.
func newService(t testing.TB, cfg Config) *service {
	t.Helper()
	if cfg.Clients == nil {
		cfg.Clients = testClients()
	}
	s := &service{decider: new(decider), accounter: new(accounter), registry: prometheus.NewRegistry(), log: new(syncBuffer)}
	var err error
	s.Server, err = New(cfg, s.decider, s.accounter, slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), s.registry)
	must(t, err)
	t.Cleanup(func() {
		s.Stop()
		if err := s.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

func testClients() []Client {
	return []Client{
		{Name: "loopback", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, Secret: sharedSecret, AllowPAP: true},
		{Name: "nas", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Secret: sharedSecret, AllowPAP: true},
		{Name: "strict", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.128/25")}, Secret: sharedSecret},
		{Name: "old", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Secret: sharedSecret, Require: RequireNo, AllowPAP: true,
			AllowMSCHAPOverUDP: true},
		{Name: "learning", Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Secret: sharedSecret, Require: RequireAuto, AllowPAP: true},
		{Name: "gateway", Certificates: []string{"gw1.example.org"}},
	}
}

// counted sums a counter over the labels given as name=value.
func (s *service) counted(t testing.TB, name string, labels ...string) int {
	t.Helper()
	families, err := s.registry.Gather()
	must(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "postern_radius_server_"+name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName()+"="+l.GetValue() == want
				}
				if !found {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return int(sum)
}

// dropped expects n requests dropped for a reason.
func (s *service) dropped(t testing.TB, reason string, n int) {
	t.Helper()
	if got := s.counted(t, "dropped_total", "reason="+reason); got != n {
		t.Errorf("%d dropped as %s, want %d", got, reason, n)
	}
}

// eventually waits for something sockets bring about.
func eventually(t testing.TB, about string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", about)
		}
	}
}

// ask serves one request as if it came over UDP, and checks the reply.
func (s *service) ask(t testing.TB, req []byte, from netip.AddrPort) *radius.Packet {
	t.Helper()
	reply := s.ServeRADIUS(context.Background(), req, radius.Peer{Addr: from, Transport: radius.UDP})
	if reply == nil {
		return nil
	}
	p, err := radius.ParseReply(reply, req, sharedSecret)
	if err != nil && radius.Code(req[0]) == radius.CodeAccountingRequest && errors.Is(err, radius.FaultUnsigned) {
		p, err = radius.Parse(reply, sharedSecret)
	}
	must(t, err)
	return p
}

// access builds a signed Access-Request.
func access(t testing.TB, fill ...func(*radius.Packet)) []byte {
	t.Helper()
	p := radius.NewRequest(radius.CodeAccessRequest, sharedSecret)
	p.Identifier = 42
	for _, f := range fill {
		f(p)
	}
	b, err := radius.EncodeRequest(p)
	must(t, err)
	return b
}

// unsigned builds one without Message-Authenticator.
func unsigned(t testing.TB, fill ...func(*radius.Packet)) []byte {
	t.Helper()
	p := radius.NewRequest(radius.CodeAccessRequest, sharedSecret)
	for _, f := range fill {
		f(p)
	}
	b, err := p.Encode()
	must(t, err)
	return b
}

func pap(user, password string) func(*radius.Packet) {
	return func(p *radius.Packet) {
		if err := errors.Join(rfc2865.UserName_SetString(p, user), rfc2865.UserPassword_SetString(p, password)); err != nil {
			panic(err)
		}
	}
}

// chap adds a right MS-CHAPv2 response to password.
func chap(user, password string) func(*radius.Packet) {
	challenge := [16]byte{1, 2, 3}
	r := radius.MSCHAP2Response{Ident: 9, PeerChallenge: [16]byte{4, 5, 6}}
	nt := mschap.NTHash(password)
	r.NTResponse = mschap.NTResponse(mschap.ChallengeHash(&r.PeerChallenge, &challenge, user), &nt)
	return func(p *radius.Packet) {
		if err := errors.Join(rfc2865.UserName_SetString(p, user), radius.AddMSCHAP2Response(p, &challenge, &r)); err != nil {
			panic(err)
		}
	}
}

// newPassword is a change to what goodPassword is from then on.
func newPassword(user, old string) func(*radius.Packet) {
	challenge := [16]byte{7, 8, 9}
	c := radius.MSCHAP2CPW{Ident: 10, PeerChallenge: [16]byte{4, 5, 6}}
	before, after := mschap.NTHash(old), mschap.NTHash(goodPassword)
	c.NTResponse = mschap.NTResponse(mschap.ChallengeHash(&c.PeerChallenge, &challenge, user), &after)
	c.EncryptedHash = mschap.EncryptHash(&before, &after)
	var err error
	if c.EncryptedPassword, err = mschap.EncryptPassword(goodPassword, &before, rand.Reader); err != nil {
		panic(err)
	}
	return func(p *radius.Packet) {
		if err := errors.Join(rfc2865.UserName_SetString(p, user), radius.AddMSCHAP2CPW(p, &challenge, &c)); err != nil {
			panic(err)
		}
	}
}

// add adds an attribute as it is.
func add(typ radius.Type, value string) func(*radius.Packet) {
	return func(p *radius.Packet) { p.Add(typ, radius.Attribute(value)) }
}

func wantCode(t testing.TB, p *radius.Packet, want radius.Code) {
	t.Helper()
	if p == nil {
		t.Fatalf("no answer, want %v", want)
	}
	if p.Code != want {
		t.Fatalf("%v, want %v", p.Code, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for about, c := range map[string]Config{
		"negative workers":          {Workers: -1},
		"negative deadline":         {Deadline: -1},
		"radsec without TLS":        {RadSec: RadSec{Listen: "127.0.0.1:0"}},
		"networks without a secret": {Clients: []Client{{Name: "a", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}},
	} {
		if _, err := New(c, new(decider), new(accounter), nil, nil); err == nil {
			t.Errorf("%s: no error", about)
		}
	}
	if _, err := New(Config{}, nil, new(accounter), nil, nil); err == nil {
		t.Error("no decider: no error")
	}
	r := prometheus.NewRegistry()
	if _, err := New(Config{}, new(decider), new(accounter), nil, r); err != nil {
		t.Error(err)
	}
	if _, err := New(Config{}, new(decider), new(accounter), nil, r); err == nil {
		t.Error("two servers count into the same metrics")
	}
}

// Every metric is there from the start, so that a rate can be taken, and its labels
// are the enums' names.
func TestMetricsFromTheStart(t *testing.T) {
	s := newService(t, Config{})
	families, err := s.registry.Gather()
	must(t, err)
	names := map[string]int{}
	for _, f := range families {
		names[strings.TrimPrefix(f.GetName(), "postern_radius_server_")] = len(f.GetMetric())
		if f.GetHelp() == "" {
			t.Errorf("%s has no help text", f.GetName())
		}
	}
	for name, series := range map[string]int{
		"requests_total": numTransports * len(kindNames), "repeated_total": numTransports, "decisions_total": len(authz.Reasons()),
		"logins_total": len(proofNames) * numVerdicts, "accounting_total": 6, "radsec_handshakes_total": len(handshakeNames),
		"request_seconds": len(kindNames), "radsec_connections": 1, "queued": 2,
		"dropped_total": numTransports * (len(dropNames) + len(radius.Faults()) - 1), // "unknown" is both
	} {
		if names[name] != series {
			t.Errorf("%s: %d series, want %d", name, names[name], series)
		}
	}
}

func TestEnumNames(t *testing.T) {
	for _, c := range []struct {
		zero, beyond fmt.Stringer
		n            int
		name         func(int) string
	}{
		{dropUnknown, drop(200), len(dropNames), func(i int) string { return drop(i).String() }},
		{proofNone, proof(200), len(proofNames), func(i int) string { return proof(i).String() }},
		{kindNone, kind(200), len(kindNames), func(i int) string { return kind(i).String() }},
		{handshakeFailed, handshake(200), len(handshakeNames), func(i int) string { return handshake(i).String() }},
		{RequireYes, Require(200), len(requireNames), func(i int) string { return Require(i).String() }},
	} {
		if c.zero.String() != c.beyond.String() {
			t.Errorf("%T: zero is %q, beyond the end %q", c.zero, c.zero, c.beyond)
		}
		seen := map[string]bool{}
		for i := range c.n {
			if name := c.name(i); name == "" || seen[name] {
				t.Errorf("%T %d: name %q is empty or taken", c.zero, i, name)
			}
			seen[c.name(i)] = true
		}
	}
}

// goroutines waits for the count to come down to what it was.
func goroutines(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestLifecycle(t *testing.T) {
	a := newAuthority(t)
	before := runtime.NumGoroutine()
	for range 3 {
		s := newService(t, Config{
			Auth: "127.0.0.1:0", Acct: "127.0.0.1:0", RadSec: RadSec{Listen: "127.0.0.1:0", TLS: a.server(t)},
		})
		must(t, s.Start())
		if err := s.Start(); err == nil {
			t.Error("started twice")
		}
		auth, acct, radsec := s.Addrs()
		c := newClient(t, radius.Server{Name: "s", Network: "udp", Addr: auth.String(), AcctAddr: acct.String(), Secret: sharedSecret})
		exchange(t, c, chap("alice", goodPassword), radius.CodeAccessAccept)
		over := newClient(t, radius.Server{Name: "s", Network: "radsec", Addr: radsec.String(), TLS: a.client(t, "gw1.example.org")})
		exchange(t, over, chap("alice", goodPassword), radius.CodeAccessAccept)
		s.Stop()
		s.Stop()
		must(t, s.Wait())
		if s.Start() == nil {
			t.Error("a stopped server started again")
		}
		if reply := s.ServeRADIUS(context.Background(), access(t, pap("a", "b")), radius.Peer{Addr: loopback, Transport: radius.UDP}); reply != nil {
			t.Error("a stopped server answers")
		}
		s.dropped(t, "stopped", 1)
		c.Close()
		over.Close()
	}
	goroutines(t, before)
}

// A server that was never started can be stopped, and one that could not start is.
func TestStopWithoutStart(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newService(t, Config{})
	s.Stop()
	must(t, s.Wait())

	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	s = newService(t, Config{Auth: "127.0.0.1:0", Acct: taken.LocalAddr().String()})
	if s.Start() == nil {
		t.Error("started on an address that is taken")
	}
	must(t, s.Wait())
	goroutines(t, before)
}

// What is in work when Stop comes is answered before Wait returns.
func TestStopAnswersFirst(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0"})
	working, release := make(chan bool), make(chan bool)
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		close(working)
		<-release
		return verify(r)
	}
	must(t, s.Start())
	auth, _, _ := s.Addrs()
	conn, err := net.Dial("udp4", auth.String())
	must(t, err)
	defer conn.Close()
	req := access(t, pap("alice", goodPassword))
	_, err = conn.Write(req)
	must(t, err)
	<-working
	s.Stop()
	close(release)
	must(t, s.Wait())
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, radius.MaxPacket)
	n, err := conn.Read(buf)
	must(t, err)
	p, err := radius.ParseReply(buf[:n], req, sharedSecret)
	must(t, err)
	wantCode(t, p, radius.CodeAccessAccept)
}

// A listener that breaks ends the server, and Wait says why.
func TestFatalError(t *testing.T) {
	s := newService(t, Config{Auth: "127.0.0.1:0"})
	must(t, s.Start())
	_ = s.sockets[0].conn.Close()
	if err := s.Wait(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
	s.mu.Lock()
	s.err = nil // newService's cleanup wants a clean end
	s.mu.Unlock()
}

func TestReload(t *testing.T) {
	cfg := Config{Clients: testClients()}
	s := newService(t, cfg)
	req := func() []byte { return access(t, pap("alice", goodPassword)) }
	wantCode(t, s.ask(t, req(), nasAddr), radius.CodeAccessAccept)

	changed := cfg
	changed.Clients = testClients()
	changed.Clients[1].Secret = radius.NewSecret("another")
	must(t, s.Reload(changed))
	if s.ask(t, req(), nasAddr) != nil {
		t.Error("the old secret is believed")
	}
	wantCode(t, s.ask(t, req(), loopback), radius.CodeAccessAccept)

	for about, bad := range map[string]Config{
		"another address":   {Auth: "127.0.0.1:1", Clients: testClients()},
		"other limits":      {Workers: 3, Clients: testClients()},
		"a broken client":   {Clients: []Client{{Name: "x"}}},
		"two of one name":   {Clients: append(testClients(), testClients()[0])},
		"negative deadline": {Clients: testClients(), Deadline: -1},
	} {
		if s.Reload(bad) == nil {
			t.Errorf("%s: no error", about)
		}
		wantCode(t, s.ask(t, req(), loopback), radius.CodeAccessAccept)
	}
	must(t, s.Reload(Config{Clients: testClients()[1:]}))
	if s.ask(t, req(), loopback) != nil {
		t.Error("a client that is gone is answered")
	}
}

// TestReloadWhileServing is for the race detector.
func TestReloadWhileServing(t *testing.T) {
	s := newService(t, Config{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if s.ServeRADIUS(context.Background(), access(t, pap("alice", goodPassword)), radius.Peer{Addr: loopback, Transport: radius.UDP}) == nil {
					t.Error("no answer")
				}
			}
		})
	}
	for range 100 {
		must(t, s.Reload(Config{Clients: testClients()}))
	}
	wg.Wait()
}

// What was learnt about a client outlives a reload, or whoever can make one happen
// could go unsigned.
func TestReloadKeepsWhatWasLearnt(t *testing.T) {
	s := newService(t, Config{})
	from := netip.MustParseAddrPort("203.0.113.1:1000")
	wantCode(t, s.ask(t, unsigned(t, pap("alice", goodPassword)), from), radius.CodeAccessAccept)
	wantCode(t, s.ask(t, access(t, pap("alice", goodPassword)), from), radius.CodeAccessAccept)
	must(t, s.Reload(Config{Clients: testClients()}))
	if s.ask(t, unsigned(t, pap("alice", goodPassword)), from) != nil {
		t.Error("an unsigned request is answered after a reload")
	}
}
