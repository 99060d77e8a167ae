package radiusd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/internal/radius"
)

// accountingRequest builds a signed Accounting-Request.
func accountingRequest(t testing.TB, fill ...func(*radius.Packet)) []byte {
	t.Helper()
	p := &radius.Packet{Code: radius.CodeAccountingRequest, Secret: sharedSecret.Bytes()}
	for _, f := range fill {
		f(p)
	}
	b, err := radius.EncodeRequest(p)
	must(t, err)
	return b
}

func start(id string) func(*radius.Packet) {
	return func(p *radius.Packet) {
		_ = rfc2866.AcctStatusType_Set(p, rfc2866.AcctStatusType_Value_Start)
		_ = rfc2866.AcctSessionID_SetString(p, id)
	}
}

func statusServer(t testing.TB, fill ...func(*radius.Packet)) []byte {
	t.Helper()
	p := radius.NewRequest(radius.CodeStatusServer, sharedSecret)
	for _, f := range fill {
		f(p)
	}
	b, err := radius.EncodeRequest(p)
	must(t, err)
	return b
}

// TestSilence: who is not believed learns nothing, is counted, and reaches nobody
// behind.
func TestSilence(t *testing.T) {
	stranger := netip.MustParseAddrPort("10.9.9.9:1")
	old := netip.MustParseAddrPort("198.51.100.1:1")
	login := pap("alice", goodPassword)
	forged := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	set := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	setLength := func(b []byte, n int) []byte {
		b = bytes.Clone(b)
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		return b
	}
	wrongSecret := func(code radius.Code) []byte {
		p := radius.NewRequest(code, radius.NewSecret("guess"))
		login(p)
		b, err := radius.EncodeRequest(p)
		must(t, err)
		return b
	}
	twice := func(p *radius.Packet) {
		p.Add(rfc2869.MessageAuthenticator_Type, make([]byte, 16))
		p.Add(rfc2869.MessageAuthenticator_Type, make([]byte, 16))
	}
	coa := func() []byte {
		b, err := radius.EncodeRequest(&radius.Packet{Code: radius.CodeCoARequest, Secret: sharedSecret.Bytes()})
		must(t, err)
		return b
	}
	status := unsigned(t)
	status[0] = byte(radius.CodeStatusServer)
	reply := access(t, login)
	reply[0] = byte(radius.CodeAccessAccept)
	future := access(t, login)
	future[0] = 77
	for _, c := range []struct {
		about  string
		req    []byte
		from   netip.AddrPort
		reason string
	}{
		{"unknown client", access(t, login), stranger, "unknown_client"},
		{"unknown client, IPv6", access(t, login), netip.MustParseAddrPort("[2001:db8::1]:1"), "unknown_client"},
		{"nothing", nil, nasAddr, "short"},
		{"half a header", access(t, login)[:19], nasAddr, "short"},
		{"cut off", access(t, login)[:40], nasAddr, "length"},
		{"length below a header", setLength(access(t, login), 19), nasAddr, "length"},
		{"length beyond 4096", append(setLength(access(t, login), 4097), make([]byte, 4200)...), nasAddr, "length"},
		{"attribute of length 1", set(access(t, login), 21, 1), nasAddr, "attribute"},
		{"attribute beyond the end", set(access(t, login), 39, 200), nasAddr, "attribute"},
		{"wrong signature", forged(access(t, login), 22), nasAddr, "signature"},
		{"changed attribute", forged(access(t, login), 41), nasAddr, "signature"},
		{"changed authenticator", forged(access(t, login), 4), nasAddr, "signature"},
		{"wrong secret", wrongSecret(radius.CodeAccessRequest), nasAddr, "signature"},
		{"wrong secret in accounting", wrongSecret(radius.CodeAccountingRequest), nasAddr, "authenticator"},
		{"wrong secret in Status-Server", wrongSecret(radius.CodeStatusServer), nasAddr, "signature"},
		{"changed accounting", forged(accountingRequest(t, start("1")), 46), nasAddr, "authenticator"},
		{"unsigned", unsigned(t, login), nasAddr, "unsigned"},
		{"unsigned Status-Server", status, old, "unsigned"},
		{"unsigned EAP", unsigned(t, login, add(rfc2869.EAPMessage_Type, "\x02\x01\x00\x05\x01")), old, "unsigned"},
		{"two signatures", unsigned(t, login, twice), old, "signature"},
		{"unsigned with Proxy-State", unsigned(t, login, add(rfc2865.ProxyState_Type, "forge me")), old, "proxy_state"},
		{"CoA", coa(), nasAddr, "code"},
		{"a reply", reply, nasAddr, "code"},
		{"a code of the future", future, nasAddr, "code"},
		{"accounting without a status", accountingRequest(t), nasAddr, "unusable_record"},
		{"accounting of a tunnel link", accountingRequest(t, func(p *radius.Packet) {
			_ = rfc2866.AcctStatusType_Set(p, 12) // RFC 2867 §3.1: Tunnel-Link-Start
			_ = rfc2866.AcctSessionID_SetString(p, "1")
		}), nasAddr, "unusable_record"},
		{"accounting without a session", accountingRequest(t, start("")), nasAddr, "unusable_record"},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := newService(t, Config{})
			if reply := s.ServeRADIUS(context.Background(), c.req, radius.Peer{Addr: c.from, Transport: radius.UDP}); reply != nil {
				t.Errorf("answered with code %d", reply[0])
			}
			s.dropped(t, c.reason, 1)
			if n := s.counted(t, "dropped_total"); n != 1 {
				t.Errorf("%d counted, want 1", n)
			}
			if s.decider.count() != 0 || len(s.accounter.all()) != 0 {
				t.Error("somebody was asked")
			}
			if log := s.log.String(); !strings.Contains(log, "level=DEBUG") || strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
				t.Errorf("not a debug line: %s", log)
			}
		})
	}
}

func TestPeersOfNoTransport(t *testing.T) {
	s := newService(t, Config{})
	for _, p := range []radius.Peer{
		{}, {Transport: 99, Secret: sharedSecret}, {Transport: radius.InProcess, Name: "gw1"},
		{Transport: radius.RadSec, Name: "mallory.example.org"}, {Transport: radius.RadSec},
	} {
		if s.ServeRADIUS(context.Background(), access(t, pap("a", goodPassword)), p) != nil {
			t.Errorf("%+v was answered", p)
		}
	}
}

// TestRequireMessageAuthenticator walks the settings of CVE-2024-3596.
func TestRequireMessageAuthenticator(t *testing.T) {
	login := pap("alice", goodPassword)
	from := netip.MustParseAddrPort("10.1.1.1:1")
	for _, c := range []struct {
		require Require
		proxy   bool
		steps   string // s signed, u unsigned, p unsigned with Proxy-State, P signed with it; . dropped, ! answered
	}{
		{RequireYes, false, "u. p. s! u. P!"},
		{RequireYes, true, "u. p. s!"},
		{RequireNo, false, "u! p. s! u! p. P!"},
		{RequireNo, true, "u! p! s! u! p!"},
		{RequireAuto, false, "u! p. u! s! u. p. s!"},
		{RequireAuto, true, "p! s! p. u."},
	} {
		t.Run(c.require.String()+" "+c.steps, func(t *testing.T) {
			s := newService(t, Config{Clients: []Client{{
				Name: "c", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Secret: sharedSecret,
				Require: c.require, AllowUnsignedProxyState: c.proxy, AllowPAP: true,
			}}})
			state := add(rfc2865.ProxyState_Type, "xx")
			for i, step := range strings.Fields(c.steps) {
				var req []byte
				switch step[0] {
				case 's':
					req = access(t, login)
				case 'u':
					req = unsigned(t, login)
				case 'p':
					req = unsigned(t, login, state)
				case 'P':
					req = access(t, login, state)
				}
				if got := s.ask(t, req, from) != nil; got != (step[1] == '!') {
					t.Fatalf("step %d, %s: answered %v", i, step, got)
				}
			}
		})
	}
}

// A wrong signature teaches RequireAuto nothing: else a stranger could shut a client
// out that cannot sign.
func TestAutoLearnsFromGoodSignaturesOnly(t *testing.T) {
	s := newService(t, Config{})
	from := netip.MustParseAddrPort("203.0.113.1:1")
	bad := access(t, pap("alice", goodPassword))
	bad[22] ^= 1
	if s.ask(t, bad, from) != nil {
		t.Fatal("believed")
	}
	wantCode(t, s.ask(t, unsigned(t, pap("alice", goodPassword)), from), radius.CodeAccessAccept)
}

// Octets beyond Length are padding (RFC 2865 §3).
func TestPadding(t *testing.T) {
	s := newService(t, Config{})
	wantCode(t, s.ask(t, append(access(t, pap("alice", goodPassword)), 1, 2, 3), nasAddr), radius.CodeAccessAccept)
}

// Proxy-State comes back in every kind of reply, all of it and in its order.
func TestProxyState(t *testing.T) {
	s := newService(t, Config{})
	states := func(p *radius.Packet) {
		for i := range 5 {
			p.Add(rfc2865.ProxyState_Type, []byte(fmt.Sprint("state ", i)))
		}
	}
	for about, req := range map[string][]byte{
		"accept": access(t, states, pap("alice", goodPassword)), "reject": access(t, states, pap("alice", "wrong")),
		"accounting": accountingRequest(t, states, start("1")), "status": statusServer(t, states),
	} {
		p := s.ask(t, req, nasAddr)
		if p == nil {
			t.Fatalf("%s: no answer", about)
		}
		var got []string
		for _, a := range p.Attributes {
			if a.Type == rfc2865.ProxyState_Type {
				got = append(got, string(a.Attribute))
			}
		}
		if len(got) != 5 || got[0] != "state 0" || got[4] != "state 4" {
			t.Errorf("%s: %q", about, got)
		}
	}
	fat := func(n int) func(*radius.Packet) {
		return func(p *radius.Packet) {
			for range n {
				p.Add(rfc2865.ProxyState_Type, bytes.Repeat([]byte{7}, 253))
			}
		}
	}
	wantCode(t, s.ask(t, access(t, fat(8), pap("alice", goodPassword)), nasAddr), radius.CodeAccessAccept)
	asked := s.decider.count()
	if s.ask(t, access(t, fat(9), pap("alice", goodPassword)), nasAddr) != nil || s.decider.count() != asked {
		t.Error("more Proxy-State than a reply is sure to carry was taken")
	}
	s.dropped(t, "proxy_state", 1)
}

// The signature comes first in replies, before anything a stranger chose.
func TestRepliesAreSignedFirst(t *testing.T) {
	s := newService(t, Config{})
	for about, req := range map[string][]byte{
		"accept": unsigned(t, pap("alice", goodPassword)), "reject": unsigned(t, pap("alice", "wrong")), "status": statusServer(t),
	} {
		reply := s.ServeRADIUS(context.Background(), req, radius.Peer{Addr: netip.MustParseAddrPort("198.51.100.7:9"), Transport: radius.UDP})
		if len(reply) < 38 || radius.Type(reply[20]) != rfc2869.MessageAuthenticator_Type {
			t.Errorf("%s: % x", about, reply)
		}
		if err := radius.VerifyReply(reply, req, sharedSecret); err != nil {
			t.Errorf("%s: %v", about, err)
		}
	}
}

func TestStatusServer(t *testing.T) {
	s := newService(t, Config{})
	wantCode(t, s.ask(t, statusServer(t), nasAddr), radius.CodeAccessAccept)
	for at, want := range map[port]radius.Code{portAny: radius.CodeAccessAccept, portAuth: radius.CodeAccessAccept, portAcct: radius.CodeAccountingResponse} {
		req := statusServer(t)
		tk, _ := s.admit(time.Now(), req, peer{addr: nasAddr, via: radius.UDP, port: at})
		if tk == nil {
			t.Fatalf("port %d: not admitted", at)
		}
		p, err := radius.ParseReply(s.finish(context.Background(), tk), req, sharedSecret)
		must(t, err)
		wantCode(t, p, want)
	}
	if s.decider.count() != 0 {
		t.Error("Status-Server reached the decider")
	}
}

func TestWrongPort(t *testing.T) {
	s := newService(t, Config{})
	for at, req := range map[port][]byte{portAuth: accountingRequest(t, start("1")), portAcct: access(t, pap("alice", goodPassword))} {
		if tk, reply := s.admit(time.Now(), req, peer{addr: nasAddr, via: radius.UDP, port: at}); tk != nil || reply != nil {
			t.Errorf("port %d: admitted", at)
		}
	}
	s.dropped(t, "wrong_port", 2)
}

// A repetition gets the same octets, and the decider is asked once. MPPE keys are
// hidden under random salt, so a second answer would differ.
func TestRepetition(t *testing.T) {
	s := newService(t, Config{})
	req := access(t, chap("alice", goodPassword))
	from := radius.Peer{Addr: loopback, Transport: radius.UDP}
	first := s.ServeRADIUS(context.Background(), req, from)
	for range 3 {
		if again := s.ServeRADIUS(context.Background(), req, from); first == nil || !bytes.Equal(first, again) {
			t.Fatalf("% x\n% x", first, again)
		}
	}
	if n := s.decider.count(); n != 1 {
		t.Errorf("the decider was asked %d times", n)
	}
	if n := s.counted(t, "repeated_total", "transport=udp"); n != 3 {
		t.Errorf("%d repetitions counted", n)
	}
	// Another port of the same host is another NAS behind it.
	if s.ServeRADIUS(context.Background(), req, radius.Peer{Addr: netip.AddrPortFrom(loopback.Addr(), 1), Transport: radius.UDP}) == nil || s.decider.count() != 2 {
		t.Error("another socket's request was taken for a repetition")
	}
	acct := accountingRequest(t, start("1"))
	s.ServeRADIUS(context.Background(), acct, from)
	s.ServeRADIUS(context.Background(), acct, from)
	if n := len(s.accounter.all()); n != 1 {
		t.Errorf("stored %d times", n)
	}
}

// On virtual time: repetitions while the request is in work are dropped, one answer
// goes out, and it is remembered for keepReplies from then on.
func TestCollapseInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{})
		s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
			time.Sleep(3 * time.Second)
			return verify(r)
		}
		req := access(t, chap("alice", goodPassword))
		from := radius.Peer{Addr: loopback, Transport: radius.UDP}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var replies [][]byte
		for range 3 {
			wg.Go(func() {
				reply := s.ServeRADIUS(context.Background(), req, from)
				mu.Lock()
				defer mu.Unlock()
				if reply != nil {
					replies = append(replies, reply)
				}
			})
			time.Sleep(time.Second / 2)
		}
		wg.Wait()
		if len(replies) != 1 || s.decider.count() != 1 {
			t.Fatalf("%d answers, asked %d times", len(replies), s.decider.count())
		}
		s.dropped(t, "in_flight", 2)
		time.Sleep(keepReplies - time.Millisecond)
		if again := s.ServeRADIUS(context.Background(), req, from); !bytes.Equal(again, replies[0]) {
			t.Error("a repetition got another answer")
		}
		time.Sleep(time.Millisecond)
		if s.ServeRADIUS(context.Background(), req, from) == nil || s.decider.count() != 2 {
			t.Error("the reply was kept for longer")
		}
	})
}

// What is left without an answer may be asked again at once.
func TestSilentVerdict(t *testing.T) {
	s := newService(t, Config{})
	var verdict *authz.Result
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result { return verdict }
	req := access(t, pap("alice", goodPassword))
	for i, verdict2 := range []*authz.Result{{Verdict: authz.Silent, Reason: authz.StoreDown}, nil, {Verdict: authz.Silent, Reason: authz.Reason(250)}} {
		verdict = verdict2
		if s.ask(t, req, nasAddr) != nil || s.decider.count() != i+1 {
			t.Fatalf("%+v: answered, or taken for a repetition", verdict)
		}
	}
	s.dropped(t, "undecided", 3)
	if n := s.counted(t, "decisions_total", "reason=store unavailable"); n != 1 {
		t.Errorf("%d counted by reason", n)
	}
	if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one in a while", n)
	}
	s.decider.decide = nil
	wantCode(t, s.ask(t, req, nasAddr), radius.CodeAccessAccept)
}

// The decider is told how long it has, and who waited too long is not asked for.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{Deadline: 2 * time.Second})
		began := time.Now()
		s.decider.decide = func(ctx context.Context, _ *authz.Request) *authz.Result {
			<-ctx.Done()
			return &authz.Result{Verdict: authz.Silent, Reason: authz.DirectoryDown}
		}
		if s.ask(t, access(t, pap("alice", goodPassword)), nasAddr) != nil {
			t.Error("answered")
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
		tk, _ := s.admit(time.Now(), access(t, pap("alice", goodPassword)), peer{addr: nasAddr, via: radius.UDP})
		time.Sleep(3 * time.Second) // in the queue
		if s.finish(context.Background(), tk) != nil || s.decider.count() != 1 {
			t.Error("a late request was taken up")
		}
		s.dropped(t, "late", 1)
	})
}

// A panic costs one answer, and is our fault.
func TestPanic(t *testing.T) {
	s := newService(t, Config{})
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result { panic("out of cheese") }
	req := access(t, pap("alice", goodPassword))
	if s.ask(t, req, nasAddr) != nil {
		t.Error("answered")
	}
	s.dropped(t, "panic", 1)
	if log := s.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "out of cheese") || strings.Contains(log, goodPassword) {
		t.Errorf("log: %s", log)
	}
	s.decider.decide = nil
	wantCode(t, s.ask(t, req, nasAddr), radius.CodeAccessAccept) // the repetition is not lost with it
}

// No verdict of a decider that is wrong lets anybody in.
func TestUnprovedIsNeverAccepted(t *testing.T) {
	s := newService(t, Config{})
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result {
		return &authz.Result{Verdict: authz.Accept, Reason: authz.Permitted}
	}
	name := add(rfc2865.UserName_Type, "alice")
	for about, req := range map[string][]byte{
		"no proof": access(t, name), "EAP": access(t, name, add(rfc2869.EAPMessage_Type, "\x02\x07\x00\x06\x01a")),
		"PAP where it is not allowed": access(t, pap("alice", goodPassword)),
	} {
		wantCode(t, s.ask(t, req, netip.MustParseAddrPort("192.0.2.200:1")), radius.CodeAccessReject)
		if !strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("%s: not an error in the log", about)
		}
	}
	if n := s.counted(t, "logins_total", "verdict=accept"); n != 0 {
		t.Errorf("%d accepted", n)
	}
	// A verdict that does not exist refuses, too.
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result { return &authz.Result{Verdict: 9} }
	wantCode(t, s.ask(t, access(t, pap("alice", goodPassword)), nasAddr), radius.CodeAccessReject)
}

// In process with the client that nodes have.
func TestInProcess(t *testing.T) {
	s := newService(t, Config{})
	c := newClient(t, radius.Server{Name: "local", Network: "inproc", Local: s})
	p := exchange(t, c, chap("Alice", goodPassword), radius.CodeAccessAccept)
	if send, recv, ok := radius.MPPEKeys(p); !ok || send == recv {
		t.Error("no keys")
	}
	exchange(t, c, chap("Alice", "wrong"), radius.CodeAccessReject)
	exchange(t, c, start("77"), radius.CodeAccountingResponse)
	if r := s.decider.last(t); r.NAS.ID != "gw1" {
		t.Errorf("NAS %+v", r.NAS)
	}
	if all := s.accounter.all(); len(all) != 1 || all[0].SessionID != "77" || all[0].NAS.ID != "gw1" {
		t.Errorf("stored %+v", all)
	}
}
