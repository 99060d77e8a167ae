package radius

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"
)

// nas is a Dynamic that remembers what it carried out.
type nas struct {
	*Dynamic
	reg *prometheus.Registry
	now time.Time
	err error // what it answers

	mu   sync.Mutex
	done []string // Acct-Session-Ids
}

func newNAS(t testing.TB) *nas {
	t.Helper()
	n := &nas{reg: prometheus.NewRegistry(), now: time.Unix(1_700_000_000, 0)}
	var err error
	n.Dynamic, err = NewDynamic(DynamicConfig{
		CarryOut: func(_ context.Context, p *Packet) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.done = append(n.done, rfc2866.AcctSessionID_GetString(p))
			return n.err
		},
		Now: func() time.Time { return n.now }, Metrics: n.reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *nas) carried() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.done)
}

// counted reads a counter of postern_dynamic.
func (n *nas) counted(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == "postern_dynamic_"+name && !slices.ContainsFunc(labels, func(w string) bool { return !slices.Contains(values, w) }) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// disconnect encodes a Disconnect-Request as it was made at a time; zero: it does
// not say.
func disconnect(t testing.TB, secret Secret, session string, at time.Time, fill ...func(*Packet)) []byte {
	t.Helper()
	p := &Packet{Code: CodeDisconnectRequest, Identifier: 7, Secret: secret.Bytes()}
	err := rfc2866.AcctSessionID_SetString(p, session)
	if !at.IsZero() {
		err = errors.Join(err, rfc2869.EventTimestamp_Set(p, at))
	}
	for _, f := range fill {
		f(p)
	}
	b, err2 := EncodeRequest(p)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return b
}

var overUDP = Peer{Addr: netip.MustParseAddrPort("192.0.2.9:4000"), Transport: UDP, Secret: testSecret}

func TestDynamicAnswers(t *testing.T) {
	n := newNAS(t)
	for _, tc := range []struct {
		about string
		code  Code
		err   error
		want  Code
		cause ErrorCause
	}{
		{"carried out", CodeDisconnectRequest, nil, CodeDisconnectACK, 0},
		{"no such session", CodeDisconnectRequest, CauseSessionNotFound, CodeDisconnectNAK, 503},
		{"a fault of ours", CodeDisconnectRequest, errors.New("out of everything"), CodeDisconnectNAK, 506},
		{"changed", CodeCoARequest, nil, CodeCoAACK, 0},
		{"not changed", CodeCoARequest, CauseUnsupportedAttribute, CodeCoANAK, 401},
	} {
		n.err = tc.err
		req := disconnect(t, testSecret, tc.about, n.now, func(p *Packet) {
			p.Code = tc.code
			p.Add(typeProxyState, Attribute("one"))
			p.Add(typeProxyState, Attribute("two"))
		})
		reply, err := ParseReply(n.ServeRADIUS(t.Context(), req, overUDP), req, testSecret)
		if err != nil {
			t.Fatalf("%s: %v", tc.about, err)
		}
		if got := ErrorCause(rfc3576.ErrorCause_Get(reply)); reply.Code != tc.want || got != tc.cause {
			t.Errorf("%s: %v with %v, want %v with %v", tc.about, reply.Code, got, tc.want, tc.cause)
		}
		var states []string
		for _, a := range reply.Attributes {
			if a.Type == typeProxyState {
				states = append(states, string(a.Attribute))
			}
		}
		if !slices.Equal(states, []string{"one", "two"}) { // RFC 5176 §3.1
			t.Errorf("%s: Proxy-State %q", tc.about, states)
		}
	}
	if got := n.counted(t, "requests_total", "coa", "unsupported_attribute"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// What cannot be believed gets no answer, is counted, and is not carried out.
func TestDynamicDrops(t *testing.T) {
	n := newNAS(t)
	good := func(fill ...func(*Packet)) []byte { return disconnect(t, testSecret, "s", n.now, fill...) }
	unsigned := func() []byte {
		p := &Packet{Code: CodeDisconnectRequest, Identifier: 7, Secret: testSecret.Bytes()}
		_ = rfc2866.AcctSessionID_SetString(p, "s")
		_ = rfc2869.EventTimestamp_Set(p, n.now)
		b, err := encode(p, false)
		if err != nil {
			t.Fatal(err)
		}
		sum := authenticator(b, new([authLen]byte), testSecret.Bytes())
		copy(b[offAuth:], sum[:])
		return b
	}
	forged := good()
	forged[len(forged)-1] ^= 1
	for _, tc := range []struct {
		about, reason string
		req           []byte
	}{
		{"another secret", "authenticator", disconnect(t, NewSecret("guess"), "s", n.now)},
		{"changed on the way", "authenticator", forged},
		{"unsigned", "unsigned", unsigned()},
		{"of an hour ago", "stale", disconnect(t, testSecret, "s", n.now.Add(-time.Hour))},
		{"of tomorrow", "stale", disconnect(t, testSecret, "s", n.now.Add(24*time.Hour))},
		{"a login", "code", good(func(p *Packet) { p.Code = CodeAccessRequest })},
		{"a reply", "code", append([]byte{byte(CodeDisconnectACK)}, good()[1:]...)},
		{"cut", "length", good()[:30]},
		{"nothing", "short", nil},
	} {
		before := n.counted(t, "dropped_total", "udp", tc.reason)
		if reply := n.ServeRADIUS(t.Context(), tc.req, overUDP); reply != nil {
			t.Errorf("%s: answered with %x", tc.about, reply)
		}
		if n.counted(t, "dropped_total", "udp", tc.reason) != before+1 {
			t.Errorf("%s: not counted as %s", tc.about, tc.reason)
		}
	}
	if got := n.carried(); len(got) != 0 {
		t.Errorf("carried out: %q", got)
	}
}

// A request is carried out once, whoever repeats it, for as long as it is believed.
func TestDynamicReplay(t *testing.T) {
	n := newNAS(t)
	req := disconnect(t, testSecret, "s", n.now)
	first := n.ServeRADIUS(t.Context(), req, overUDP)
	elsewhere := overUDP
	elsewhere.Addr = netip.MustParseAddrPort("192.0.2.66:666")
	for range 30 {
		n.now = n.now.Add(9 * time.Second)
		if again := n.ServeRADIUS(t.Context(), req, elsewhere); !bytes.Equal(again, first) {
			t.Fatalf("after %v: %x, the first time %x", n.now, again, first)
		}
	}
	n.now = n.now.Add(time.Minute)
	if reply := n.ServeRADIUS(t.Context(), req, elsewhere); reply != nil || n.counted(t, "dropped_total", "stale") != 1 {
		t.Errorf("a replay was answered with %x", reply)
	}
	if got := n.carried(); len(got) != 1 {
		t.Errorf("carried out %d times", len(got))
	}
	if got := n.counted(t, "repeated_total", "udp"); got != 30 {
		t.Errorf("%v repetitions counted", got)
	}

	// One from a clock ahead of ours is believed for longer, and remembered for as long.
	ahead := disconnect(t, testSecret, "ahead", n.now.Add(4*time.Minute))
	for range 17 {
		n.ServeRADIUS(t.Context(), ahead, overUDP)
		n.now = n.now.Add(30 * time.Second)
	}
	if got := n.carried(); len(got) != 2 {
		t.Errorf("carried out: %q", got)
	}

	// What is remembered goes again.
	n.now = n.now.Add(time.Hour)
	n.ServeRADIUS(t.Context(), disconnect(t, testSecret, "later", n.now), overUDP)
	if len(n.answered.of) != 1 {
		t.Errorf("%d answers are kept", len(n.answered.of))
	}
}

// Over UDP a request must say when it was made: nothing else tells a replay from the
// day after. TLS does that by itself.
func TestDynamicWithoutTime(t *testing.T) {
	n := newNAS(t)
	req := disconnect(t, testSecret, "s", time.Time{})
	reply, err := ParseReply(n.ServeRADIUS(t.Context(), req, overUDP), req, testSecret)
	if err != nil || reply.Code != CodeDisconnectNAK || rfc3576.ErrorCause_Get(reply) != rfc3576.ErrorCause_Value_MissingAttribute {
		t.Errorf("%v, %v", reply, err)
	}
	if len(n.carried()) != 0 {
		t.Error("carried out")
	}
	req = disconnect(t, RadSecSecret(), "s", time.Time{})
	reply, err = ParseReply(n.ServeRADIUS(t.Context(), req, Peer{Transport: RadSec, Secret: RadSecSecret()}), req, RadSecSecret())
	if err != nil || reply.Code != CodeDisconnectACK {
		t.Errorf("%v, %v", reply, err)
	}
}

// A copy that comes while the first is carried out waits for nothing; a fault in one
// request is not the end of the others, and the request may come again.
func TestDynamicWhileInWork(t *testing.T) {
	var fault atomic.Bool
	begun, finish := make(chan struct{}), make(chan struct{})
	d, err := NewDynamic(DynamicConfig{CarryOut: func(context.Context, *Packet) error {
		if fault.Load() {
			panic("a fault")
		}
		begun <- struct{}{}
		<-finish
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	req := disconnect(t, testSecret, "s", time.Now())
	first := make(chan []byte)
	go func() { first <- d.ServeRADIUS(context.Background(), req, overUDP) }()
	<-begun
	if reply := d.ServeRADIUS(t.Context(), req, overUDP); reply != nil {
		t.Errorf("in work, and answered %x", reply)
	}
	close(finish)
	if <-first == nil {
		t.Error("no answer")
	}
	fault.Store(true)
	other := disconnect(t, testSecret, "other", time.Now())
	if reply := d.ServeRADIUS(t.Context(), other, overUDP); reply != nil {
		t.Errorf("after a fault: %x", reply)
	}
	fault.Store(false)
	go func() { <-begun }()
	if d.ServeRADIUS(t.Context(), other, overUDP) == nil {
		t.Error("the request is not taken again")
	}
	if _, err := NewDynamic(DynamicConfig{}); err == nil {
		t.Error("a Dynamic that does nothing")
	}
}

// When nothing more can be remembered nothing more is done, for it could be replayed.
func TestDynamicFull(t *testing.T) {
	n := newNAS(t)
	n.answered.of = make(map[question]answer)
	for i := range dynamicAnswers {
		n.answered.of[question{auth: [16]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}}] = answer{[]byte{1}, n.now.Add(time.Minute)}
	}
	req := disconnect(t, testSecret, "s", n.now)
	reply, err := ParseReply(n.ServeRADIUS(t.Context(), req, overUDP), req, testSecret)
	if err != nil || rfc3576.ErrorCause_Get(reply) != rfc3576.ErrorCause_Value_ResourcesUnavailable || len(n.carried()) != 0 {
		t.Errorf("%v, %v, %q", reply, err, n.carried())
	}
	n.now = n.now.Add(2 * time.Minute)
	n.ServeRADIUS(t.Context(), req, overUDP)
	if len(n.carried()) != 1 {
		t.Error("room again, and not carried out")
	}
}

// A service asks on the connections that the node has opened to it, while the node
// asks on them as ever.
func TestReverse(t *testing.T) {
	ca := newAuthority(t, "ca")
	server, client := serverTLS(t, ca.issue(t, "radius.test")), clientTLS(t, ca.issue(t, "node-7"), "radius.test")
	synctest.Test(t, func(t *testing.T) {
		n := newNAS(t)
		n.now = time.Now()
		s := &service{delay: time.Second}
		sim := &simulated{conf: server, h: s}
		c := newClient(t, ClientConfig{
			Servers: []Server{{Name: "r", Network: "radsec", Addr: "192.0.2.1:2083", TLS: client}},
			Dial:    sim.dial, Timeout: 5 * time.Second, Reverse: n,
		})
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
					t.Error(err)
				}
			})
		}
		for range 3 * askedRoom {
			sim.send(disconnect(t, RadSecSecret(), "s", n.now))
			sim.send(disconnect(t, NewSecret("forged"), "s", n.now))
		}
		wg.Wait()
		synctest.Wait()
		if got := n.carried(); len(got) != 1 {
			t.Errorf("carried out %d times", len(got))
		}
		acks := 0
		asked, _ := s.requests()
		for _, r := range asked {
			if r.code == CodeDisconnectACK {
				acks++
			}
		}
		if acks != 3*askedRoom {
			t.Errorf("%d answers to %d requests", acks, 3*askedRoom)
		}
		if got := n.counted(t, "dropped_total", "radsec", "authenticator"); got != 3*askedRoom {
			t.Errorf("%v forged ones counted", got)
		}
		c.Close()
		sim.wg.Wait()
	})
}

// A client without a handler for them drops such requests, and stays.
func TestReverseNotWanted(t *testing.T) {
	ca := newAuthority(t, "ca")
	server, client := serverTLS(t, ca.issue(t, "radius.test")), clientTLS(t, ca.issue(t, "node-7"), "radius.test")
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		sim := &simulated{conf: server, h: &service{}}
		c := newClient(t, ClientConfig{
			Servers: []Server{{Name: "r", Network: "radsec", Addr: "192.0.2.1:2083", TLS: client}}, Dial: sim.dial, Metrics: r,
		})
		time.Sleep(time.Second)
		sim.send(disconnect(t, RadSecSecret(), "s", time.Now()))
		if _, err := c.Exchange(t.Context(), user("alice")); err != nil {
			t.Error(err)
		}
		if metric(t, r, "dropped_replies_total", "unexpected") != 1 || sim.dials.Load() != 1 {
			t.Error("not dropped, or the connection with it")
		}
		c.Close()
		sim.wg.Wait()
	})
}

func TestErrorCause(t *testing.T) {
	for c, name := range causeNames {
		if c.String() != name || c != 0 && !strings.Contains(c.Error(), name) {
			t.Errorf("%d: %s", c, c.Error())
		}
	}
	if got := ErrorCause(299).Error(); !strings.Contains(got, "299 (unknown)") {
		t.Error(got)
	}
}

// Whatever a client that can sign puts into a request, it gets at most one answer,
// and that is one of ours.
func FuzzDynamic(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	for _, fill := range []func(*Packet){
		func(*Packet) {},
		func(p *Packet) { p.Code = CodeCoARequest },
		func(p *Packet) { p.Add(typeProxyState, Attribute("x")) },
		func(p *Packet) { p.Add(rfc2869.EventTimestamp_Type, Attribute{1}) },
	} {
		b := disconnect(f, testSecret, "s", at, fill)
		f.Add(b[0], b[1], b[HeaderLen+attrHeader+authLen:])
	}
	f.Fuzz(func(t *testing.T, code, id byte, attributes []byte) {
		b := append(make([]byte, HeaderLen, HeaderLen+18+len(attributes)), byte(typeMessageAuthenticator), attrHeader+authLen)
		b = append(append(b, make([]byte, authLen)...), attributes...)
		if len(b) > MaxPacket {
			return
		}
		b[offCode], b[offIdentifier], b[offLength], b[offLength+1] = code, id, byte(len(b)>>8), byte(len(b))
		sum := signature(b, HeaderLen+attrHeader, new([authLen]byte), testSecret.Bytes())
		copy(b[HeaderLen+attrHeader:], sum[:])
		sum = authenticator(b, new([authLen]byte), testSecret.Bytes())
		copy(b[offAuth:], sum[:])
		n := newNAS(t)
		reply := n.ServeRADIUS(t.Context(), b, overUDP)
		if reply == nil {
			if got := n.carried(); len(got) > 1 || len(got) == 1 && n.counted(t, "dropped_total", "unencodable") != 1 {
				t.Fatal("carried out without an answer")
			}
			return
		}
		p, err := ParseReply(reply, b, testSecret)
		if err != nil {
			t.Fatalf("%x answered with %x: %v", b, reply, err)
		}
		if ack := p.Code == CodeDisconnectACK || p.Code == CodeCoAACK; ack != (len(n.carried()) == 1) {
			t.Fatalf("%v, and carried out %q", p.Code, n.carried())
		}
		if again := n.ServeRADIUS(t.Context(), b, overUDP); !bytes.Equal(again, reply) {
			t.Fatalf("the same request was answered with %x, then %x", reply, again)
		}
	})
}
