package radiusd

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/radius"
	"postern/policy"
)

// nasOrders is a NAS that remembers what it was told, and answers as err says.
type nasOrders struct {
	*radius.Dynamic
	mu   sync.Mutex
	err  error
	told []*radius.Packet
}

func newNASOrders(t testing.TB) *nasOrders {
	t.Helper()
	n := new(nasOrders)
	var err error
	n.Dynamic, err = radius.NewDynamic(radius.DynamicConfig{CarryOut: func(_ context.Context, p *radius.Packet) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.told = append(n.told, p)
		return n.err
	}})
	must(t, err)
	return n
}

func (n *nasOrders) answer(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *nasOrders) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.told)
}

func (n *nasOrders) last(t testing.TB) *radius.Packet {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.told) == 0 {
		t.Fatal("the NAS was told nothing")
	}
	return n.told[len(n.told)-1]
}

// opens connects a NAS to the server, and waits until the server knows it.
func opens(t testing.TB, s *service, addr, name string, conf *tls.Config, h radius.Handler) *radius.Client {
	t.Helper()
	c, err := radius.NewClient(radius.ClientConfig{
		Name: name, Servers: []radius.Server{{Name: "s", Network: "radsec", Addr: addr, TLS: conf}}, Timeout: 2 * time.Second, Reverse: h,
	})
	must(t, err)
	t.Cleanup(c.Close)
	eventually(t, name+" connected", func() bool {
		s.radsec.mu.Lock()
		defer s.radsec.mu.Unlock()
		for conn := range s.radsec.conns {
			if conn.nodes[name] {
				return true
			}
		}
		return false
	})
	return c
}

func (s *service) end(t testing.TB, rec session.Record, text string) (authz.NASAnswer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Dynamic().Disconnect(ctx, rec, text)
}

var gw1Session = session.Record{ID: "gw1/5f-1", Node: "gw1", Acct: "5f-1", Via: "gateway", User: "alice"}

// On the connection that a node has opened, while it goes on asking there itself.
func TestDynamicOverRadSec(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	if got, err := s.end(t, gw1Session, ""); got != authz.NASNoWay || err == nil {
		t.Errorf("not connected: %v, %v", got, err)
	}
	n := newNASOrders(t)
	c := opens(t, s, addr, "gw1", a.client(t, "gw1.example.org"), n)

	if got, err := s.end(t, gw1Session, "Account disabled"); got != authz.NASDone || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	p := n.last(t)
	if p.Code != radius.CodeDisconnectRequest || rfc2866.AcctSessionID_GetString(p) != "5f-1" || rfc2865.NASIdentifier_GetString(p) != "gw1" ||
		rfc2865.ReplyMessage_GetString(p) != "Account disabled" || time.Since(rfc2869.EventTimestamp_Get(p)).Abs() > 5*time.Second {
		t.Errorf("told %v", p)
	}
	for cause, want := range map[error]authz.NASAnswer{
		radius.CauseSessionNotFound:      authz.NASNotFound,
		radius.CauseProhibited:           authz.NASRefused,
		radius.CauseNASMismatch:          authz.NASRefused,
		radius.CauseResourcesUnavailable: authz.NASNoAnswer,
		errors.New("anything"):           authz.NASNoAnswer,
	} {
		n.answer(cause)
		if got, err := s.end(t, gw1Session, ""); got != want || err == nil {
			t.Errorf("%v: %v, %v", cause, got, err)
		}
	}
	n.answer(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := s.Dynamic().Change(ctx, gw1Session, authz.Change{Session: time.Hour, Idle: 90 * time.Second}); got != authz.NASDone || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	if p := n.last(t); p.Code != radius.CodeCoARequest || rfc2865.SessionTimeout_Get(p) != 3600 || rfc2865.IdleTimeout_Get(p) != 90 {
		t.Errorf("told %v", p)
	}

	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got, err := s.end(t, gw1Session, ""); got != authz.NASDone {
				t.Errorf("%v, %v", got, err)
			}
		})
		wg.Go(func() { exchange(t, c, start("1"), radius.CodeAccountingResponse) })
	}
	wg.Wait()
	if got := s.counted(t, "dynamic_requests_total", "request=disconnect", "answer=done"); got != 201 {
		t.Errorf("%d counted", got)
	}

	c.Close()
	eventually(t, "nobody to ask", func() bool { got, _ := s.end(t, gw1Session, ""); return got == authz.NASNoWay })
}

// A NAS of another client may call itself what it likes: it is not asked in the
// place of the one whose session it is.
func TestDynamicAsksNoStranger(t *testing.T) {
	a := newAuthority(t)
	s := newService(t, Config{RadSec: RadSec{Listen: "127.0.0.1:0", TLS: a.server(t)}, Clients: []Client{
		{Name: "gateway", Certificates: []string{"gw1.example.org", "gw2.example.org"}},
		{Name: "other", Certificates: []string{"other.example.org"}},
	}})
	must(t, s.Start())
	_, _, at := s.Addrs()
	thief, twin, n := newNASOrders(t), newNASOrders(t), newNASOrders(t)
	opens(t, s, at.String(), "gw1", a.client(t, "other.example.org"), thief)
	opens(t, s, at.String(), "gw2", a.client(t, "gw2.example.org"), twin)
	if got, err := s.end(t, gw1Session, ""); got != authz.NASNoWay {
		t.Errorf("%v, %v", got, err)
	}
	s.radsec.mu.Lock()
	clear(s.radsec.conns) // so that opens sees the next one
	s.radsec.mu.Unlock()
	opens(t, s, at.String(), "gw1", a.client(t, "gw1.example.org"), n)
	if got, err := s.end(t, gw1Session, ""); got != authz.NASDone {
		t.Errorf("%v, %v", got, err)
	}
	if thief.count() != 0 || twin.count() != 0 || n.count() != 1 {
		t.Errorf("told: the thief %d, the twin %d, the NAS %d times", thief.count(), twin.count(), n.count())
	}
}

// A node that does not answer costs the caller's patience and no more; what comes
// late is dropped, and the connection stays.
func TestDynamicLateAnswer(t *testing.T) {
	s, a, addr := newRadSec(t, RadSec{})
	slow := make(chan struct{})
	n := newNASOrders(t)
	c := opens(t, s, addr, "gw1", a.client(t, "gw1.example.org"), radius.HandlerFunc(func(ctx context.Context, req []byte, from radius.Peer) []byte {
		<-slow
		return n.ServeRADIUS(ctx, req, from)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := s.Dynamic().Disconnect(ctx, gw1Session, ""); got != authz.NASNoAnswer || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", got, err)
	}
	close(slow)
	eventually(t, "late answer", func() bool { return n.count() == 1 })
	if got, err := s.end(t, gw1Session, ""); got != authz.NASDone {
		t.Errorf("%v, %v", got, err)
	}
	exchange(t, c, start("1"), radius.CodeAccountingResponse)
	if got := s.counted(t, "radsec_handshakes_total", "outcome=done"); got != 1 {
		t.Errorf("%d connections", got)
	}
}

// A connection that ends takes those who wait for an answer with it, and so does the
// server's end.
func TestDynamicConnectionEnds(t *testing.T) {
	for _, hangUp := range []func(*service, *radius.Client){
		func(_ *service, c *radius.Client) { c.Close() },
		func(s *service, _ *radius.Client) { s.Stop() },
	} {
		s, a, addr := newRadSec(t, RadSec{})
		asked := make(chan struct{})
		c := opens(t, s, addr, "gw1", a.client(t, "gw1.example.org"), radius.HandlerFunc(func(context.Context, []byte, radius.Peer) []byte {
			asked <- struct{}{}
			return nil
		}))
		done := make(chan error)
		go func() {
			_, err := s.Dynamic().Disconnect(context.Background(), gw1Session, "")
			done <- err
		}()
		<-asked
		began := time.Now()
		hangUp(s, c)
		if err := <-done; !errors.Is(err, errGone) || time.Since(began) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	}
}

// Forged and unexpected replies on a connection are dropped and counted; a connection
// has 256 Identifiers, and one whose answer is awaited is not used twice.
func TestAskedOnAConnection(t *testing.T) {
	var a asked
	p := &radius.Packet{Code: radius.CodeDisconnectRequest}
	first, err := a.begin(p, false)
	must(t, err)
	ack := func(req []byte, secret radius.Secret) []byte {
		q, err := radius.ParseRequest(req, radius.RadSecSecret(), true)
		must(t, err)
		q.Secret = secret.Bytes()
		b, err := radius.EncodeReply(radius.NewReply(q, radius.CodeDisconnectACK), q)
		must(t, err)
		return b
	}
	stranger := ack(first.sent, radius.RadSecSecret())
	stranger[1]++
	for about, b := range map[string][]byte{
		"nobody asked":   stranger,
		"another secret": ack(first.sent, sharedSecret),
		"cut":            ack(first.sent, radius.RadSecSecret())[:10],
	} {
		if err := a.answered(b); err == nil || len(first.reply) != 0 {
			t.Errorf("%s: %v", about, err)
		}
	}
	must(t, a.answered(ack(first.sent, radius.RadSecSecret())))
	if err := a.answered(ack(first.sent, radius.RadSecSecret())); !errors.Is(err, radius.FaultUnexpected) {
		t.Errorf("a second time: %v", err)
	}
	ids := map[byte]bool{}
	var last *waiting
	for range 256 {
		last, err = a.begin(p, false)
		must(t, err)
		ids[last.sent[1]] = true
	}
	if len(ids) != 256 {
		t.Errorf("%d identifiers", len(ids))
	}
	if _, err := a.begin(p, false); !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
	a.giveUp(last)
	if _, err := a.begin(p, false); !errors.Is(err, errBusy) {
		t.Errorf("an identifier that rests: %v", err)
	}
	last.until = time.Now().Add(-time.Second)
	if _, err := a.begin(p, false); err != nil {
		t.Errorf("one that has rested: %v", err)
	}
}

func (s *service) change(t testing.TB, rec session.Record, to authz.Change) (authz.NASAnswer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Dynamic().Change(ctx, rec, to)
}

var staff = &authz.FilterChange{Name: "staff", Rules: []string{"permit in tcp from assigned to 10.0.0.5 443", "deny in ip from assigned to any"}}

// Whatever a change consists of, a node is told all of it, in one request.
func TestDynamicChange(t *testing.T) {
	s := newService(t, Config{})
	n := newNASOrders(t)
	s.Dynamic().Attach("lab", n)
	rec := session.Record{ID: "gw1/1", Node: "gw1", Acct: "1", Via: "lab"}
	for _, c := range []struct {
		about  string
		to     authz.Change
		filter string
		rules  []string
		held   time.Duration
		limits string // WISPr: "up down", "" for none
		time   int
	}{
		{"another filter", authz.Change{Filter: staff}, "staff", staff.Rules, 0, "", 0},
		{"a filter of the node's own", authz.Change{Filter: &authz.FilterChange{Name: "plant"}}, "plant", nil, 0, "", 0},
		{"no filter any more", authz.Change{Filter: &authz.FilterChange{}}, "none", nil, 0, "", 0},
		{"released", authz.Change{Filter: staff, Session: 8 * time.Hour, Bandwidth: &policy.Bandwidth{Up: 5, Down: 6}}, "staff", staff.Rules, 0, "5 6", 28800},
		{"no limit any more", authz.Change{Bandwidth: &policy.Bandwidth{Down: 7}}, "", nil, 0, "0 7", 0},
		{"held back", authz.Change{Quarantine: &held.Quarantine}, "quarantine", nil, 5 * time.Minute, "", 0},
		{"held back, and a filter", authz.Change{Quarantine: &held.Quarantine, Filter: staff}, "quarantine", nil, 5 * time.Minute, "", 0},
	} {
		if got, err := s.change(t, rec, c.to); got != authz.NASDone || err != nil {
			t.Fatalf("%s: %v, %v", c.about, got, err)
		}
		p := n.last(t)
		names, err := rfc2865.FilterID_GetStrings(p)
		must(t, err)
		rules, err := radius.GetFilterRules(p)
		must(t, err)
		d, _, _ := radius.GetQuarantine(p)
		limits := ""
		for _, a := range p.Attributes {
			if a.Type == rfc2865.VendorSpecific_Type && binary.BigEndian.Uint32(a.Attribute) == 14122 && a.Attribute[4] >= 7 {
				up, down := radius.GetBandwidth(p)
				limits = fmt.Sprint(up, down)
			}
		}
		if got := strings.Join(names, ","); p.Code != radius.CodeCoARequest || got != c.filter || !slices.Equal(rules, c.rules) || d != c.held || limits != c.limits || int(rfc2865.SessionTimeout_Get(p)) != c.time {
			t.Errorf("%s: filter %q, rules %q, held %v, limits %q, time %d", c.about, got, rules, d, limits, rfc2865.SessionTimeout_Get(p))
		}
	}
	for about, to := range map[string]authz.Change{
		"a quarantine without an end": {Quarantine: &authz.Quarantine{URL: "https://vpn.example.org/s/x"}},
		"a bandwidth beyond 32 bits":  {Bandwidth: &policy.Bandwidth{Up: 1 << 32}},
		"rules that are none":         {Filter: &authz.FilterChange{Name: "x", Rules: []string{""}}},
	} {
		before := n.count()
		if got, err := s.change(t, rec, to); got == authz.NASDone || !errors.Is(err, radius.ErrValue) || n.count() != before {
			t.Errorf("%s: %v, %v", about, got, err)
		}
	}
}

// Another make of NAS is told what it can understand. It is never told to hold a client
// back, and who asked for that learns that it did not happen.
func TestDynamicChangeOfAStranger(t *testing.T) {
	n := newNASOrders(t)
	l, err := radius.ListenDynamic(netip.MustParseAddrPort("127.0.0.1:0"), n.Dynamic, []radius.DynamicClient{{Network: netip.MustParsePrefix("127.0.0.0/8"), Secret: sharedSecret}})
	must(t, err)
	defer l.Close()
	s := newService(t, Config{Clients: []Client{
		{Name: "switch", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Secret: sharedSecret, CoA: l.Addr().String()},
		{Name: "node", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Secret: sharedSecret, CoA: l.Addr().String(), Node: true},
	}})
	rec := session.Record{ID: "192.0.2.7/9", Node: "192.0.2.7", Acct: "9", Via: "switch"}
	if got, err := s.change(t, rec, authz.Change{Filter: staff, Idle: time.Minute, Bandwidth: &policy.Bandwidth{Up: 1}}); got != authz.NASDone || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	p := n.last(t)
	rules, err := radius.GetFilterRules(p)
	must(t, err)
	if up, _ := radius.GetBandwidth(p); rfc2865.FilterID_GetString(p) != "staff" || rfc2865.IdleTimeout_Get(p) != 60 || len(rules) != 0 || up != 0 {
		t.Errorf("told %v", p)
	}
	for about, to := range map[string]authz.Change{
		"quarantine":             {Quarantine: &held.Quarantine},
		"quarantine and a limit": {Quarantine: &held.Quarantine, Session: time.Minute},
		"bandwidth":              {Bandwidth: &policy.Bandwidth{Up: 1}},
		"no filter":              {Filter: &authz.FilterChange{}},
		"nothing":                {},
	} {
		before := n.count()
		if got, err := s.change(t, rec, to); got != authz.NASRefused || err == nil || n.count() != before {
			t.Errorf("%s: %v, %v, asked %d times", about, got, err, n.count()-before)
		}
	}
	if got := s.counted(t, "dynamic_requests_total", "request=coa", "answer=refused"); got != 5 {
		t.Errorf("%d counted", got)
	}
	rec.Via = "node" // the same NAS by UDP, were it one of ours
	if got, err := s.change(t, rec, authz.Change{Quarantine: &held.Quarantine}); got != authz.NASDone || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	if d, url, ok := radius.GetQuarantine(n.last(t)); !ok || d != held.Quarantine.For || url != held.Quarantine.URL {
		t.Errorf("%v %q %v", d, url, ok)
	}
}

// A change is for the session's own NAS: another client's does not get it by taking
// the NAS' name, and when it is not there nobody does.
func TestDynamicChangeAsksNoStranger(t *testing.T) {
	a := newAuthority(t)
	s := newService(t, Config{RadSec: RadSec{Listen: "127.0.0.1:0", TLS: a.server(t)}, Clients: []Client{
		{Name: "gateway", Certificates: []string{"gw1.example.org"}, Node: true},
		{Name: "other", Certificates: []string{"other.example.org"}, Node: true},
	}})
	must(t, s.Start())
	_, _, at := s.Addrs()
	thief := newNASOrders(t)
	opens(t, s, at.String(), "gw1", a.client(t, "other.example.org"), thief)
	if got, err := s.change(t, gw1Session, authz.Change{Filter: staff}); got != authz.NASNoWay || err == nil {
		t.Errorf("%v, %v", got, err)
	}
	s.radsec.mu.Lock()
	clear(s.radsec.conns) // so that opens sees the next one
	s.radsec.mu.Unlock()
	n := newNASOrders(t)
	opens(t, s, at.String(), "gw1", a.client(t, "gw1.example.org"), n)
	if got, err := s.change(t, gw1Session, authz.Change{Filter: staff}); got != authz.NASDone || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for cause, want := range map[error]authz.NASAnswer{
		radius.CauseSessionNotFound:      authz.NASNotFound,
		radius.CauseInvalidValue:         authz.NASRefused,
		radius.CauseResourcesUnavailable: authz.NASNoAnswer,
	} {
		n.answer(cause)
		if got, err := s.change(t, gw1Session, authz.Change{Filter: staff}); got != want || err == nil {
			t.Errorf("%v: %v, %v", cause, got, err)
		}
	}
	if thief.count() != 0 || n.count() != 4 {
		t.Errorf("told: the thief %d, the NAS %d times", thief.count(), n.count())
	}
}

// By UDP, where the client's configuration says so; RadSec comes first.
func TestDynamicOverUDP(t *testing.T) {
	n := newNASOrders(t)
	l, err := radius.ListenDynamic(netip.MustParseAddrPort("127.0.0.1:0"), n.Dynamic, []radius.DynamicClient{{Network: netip.MustParsePrefix("127.0.0.0/8"), Secret: sharedSecret}})
	must(t, err)
	defer l.Close()
	a := newAuthority(t)
	s := newService(t, Config{RadSec: RadSec{Listen: "127.0.0.1:0", TLS: a.server(t)}, Clients: []Client{
		{Name: "switch", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Secret: sharedSecret, CoA: l.Addr().String()},
		{Name: "gateway", Certificates: []string{"gw1.example.org"}, Secret: sharedSecret, CoA: l.Addr().String()},
	}})
	must(t, s.Start())
	rec := session.Record{ID: "192.0.2.7/9", Node: "192.0.2.7", Acct: "9", Via: "switch"}
	if got, err := s.end(t, rec, ""); got != authz.NASDone {
		t.Fatalf("%v, %v", got, err)
	}
	if p := n.last(t); rfc2865.NASIPAddress_Get(p).String() != "192.0.2.7" || rfc2865.NASIdentifier_GetString(p) != "" {
		t.Errorf("told %v", p)
	}
	reverse := newNASOrders(t)
	_, _, at := s.Addrs()
	c := opens(t, s, at.String(), "gw1", a.client(t, "gw1.example.org"), reverse)
	if got, err := s.end(t, gw1Session, ""); got != authz.NASDone || reverse.count() != 1 {
		t.Errorf("%v, %v", got, err)
	}
	c.Close()
	eventually(t, "the other way", func() bool { got, _ := s.end(t, gw1Session, ""); return got == authz.NASDone })
	if n.count() < 2 {
		t.Error("not told by UDP")
	}
	if got, err := s.end(t, session.Record{Node: "192.0.2.7", Acct: "9", Via: "gone"}, ""); got != authz.NASNoWay {
		t.Errorf("of a client that is configured no more: %v, %v", got, err)
	}
	if _, err := New(Config{Clients: []Client{{Name: "x", Certificates: []string{"x"}, CoA: "192.0.2.1:3799"}}}, new(decider), new(accounter), nil, nil); err == nil {
		t.Error("a CoA address without a secret")
	}
}

func TestDynamicInProcess(t *testing.T) {
	s := newService(t, Config{})
	n := newNASOrders(t)
	rec := session.Record{Node: "gw1", Acct: "1", Via: "lab"}
	if got, _ := s.end(t, rec, ""); got != authz.NASNoWay {
		t.Errorf("%v", got)
	}
	s.Dynamic().Attach("lab", n)
	if got, err := s.end(t, rec, ""); got != authz.NASDone || n.count() != 1 {
		t.Errorf("%v, %v", got, err)
	}
	s.Dynamic().Attach("lab", radius.HandlerFunc(func(context.Context, []byte, radius.Peer) []byte { return nil }))
	if got, err := s.end(t, rec, ""); got != authz.NASNoAnswer || err == nil {
		t.Errorf("%v, %v", got, err)
	}
}
