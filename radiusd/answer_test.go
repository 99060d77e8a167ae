package radiusd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/internal/mschap"
	"postern/internal/radius"
	"postern/policy"
)

func TestAccept(t *testing.T) {
	s := newService(t, Config{})
	p := s.ask(t, access(t, chap("Alice", goodPassword)), loopback)
	wantCode(t, p, radius.CodeAccessAccept)

	asked := s.decider.last(t)
	want := verify(&asked)
	if ident, text, ok := radius.GetMSCHAP2Success(p); !ok || ident != 9 || text != want.Success {
		t.Errorf("MS-CHAP2-Success %d %q, want %q", ident, text, want.Success)
	}
	if send, recv, ok := radius.MPPEKeys(p); !ok || send != want.SendKey || recv != want.RecvKey {
		t.Errorf("keys %x %x", send, recv)
	}
	if policy, types := radius.GetMPPEPolicy(p); policy != radius.EncryptionRequired || types != radius.Encryption128 {
		t.Errorf("MPPE %v %v", policy, types)
	}
	routes, err := rfc2865.FramedRoute_GetStrings(p)
	must(t, err)
	ns := radius.GetNameServers(p)
	for _, c := range []struct{ about, got, want string }{
		{"User-Name", rfc2865.UserName_GetString(p), "alice"},
		{"Service-Type", rfc2865.ServiceType_Get(p).String(), "Framed-User"},
		{"Framed-Protocol", rfc2865.FramedProtocol_Get(p).String(), "PPP"},
		{"Framed-IP-Address", rfc2865.FramedIPAddress_Get(p).String(), "10.20.0.7"},
		{"Framed-IP-Netmask", rfc2865.FramedIPNetmask_Get(p).String(), "255.255.255.255"},
		{"Framed-MTU", fmt.Sprint(uint32(rfc2865.FramedMTU_Get(p))), "1400"},
		{"name servers", fmt.Sprint(ns.DNS, ns.NBNS), "[10.0.0.53 10.0.1.53] [10.0.0.42]"},
		{"Session-Timeout", fmt.Sprint(uint32(rfc2865.SessionTimeout_Get(p))), "28800"},
		{"Idle-Timeout", fmt.Sprint(uint32(rfc2865.IdleTimeout_Get(p))), "90"},
		{"Acct-Interim-Interval", fmt.Sprint(uint32(rfc2869.AcctInterimInterval_Get(p))), "300"},
		{"Filter-Id", rfc2865.FilterID_GetString(p), "staff"},
		{"Framed-Route", strings.Join(routes, ", "), "10.0.0.0/8 0.0.0.0 1, 172.16.0.0/12 0.0.0.0 1"},
		{"Class", rfc2865.Class_GetString(p), "01HZX-decision"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.about, c.got, c.want)
		}
	}
}

// What is not granted is not sent, and nobody is made more than he asked to be.
func TestAcceptOfLittle(t *testing.T) {
	s := newService(t, Config{})
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		res := verify(r)
		res.Grant, res.User = authz.Grant{}, ""
		return res
	}
	service := func(v rfc2865.ServiceType) func(*radius.Packet) {
		return func(p *radius.Packet) { _ = rfc2865.ServiceType_Set(p, v) }
	}
	for _, c := range []struct {
		about string
		req   []byte
		want  []radius.Type
	}{
		{"PAP", access(t, pap("admin", goodPassword)), nil},
		{"PAP to be administrator", access(t, pap("admin", goodPassword), service(rfc2865.ServiceType_Value_AdministrativeUser)), nil},
		{"PAP, framed", access(t, pap("admin", goodPassword), service(rfc2865.ServiceType_Value_FramedUser)),
			[]radius.Type{rfc2865.ServiceType_Type, rfc2865.FramedProtocol_Type}},
		{"MS-CHAPv2", access(t, chap("alice", goodPassword)), []radius.Type{
			rfc2865.VendorSpecific_Type, rfc2865.VendorSpecific_Type, rfc2865.VendorSpecific_Type, rfc2865.VendorSpecific_Type,
			rfc2865.VendorSpecific_Type, rfc2865.ServiceType_Type, rfc2865.FramedProtocol_Type}},
	} {
		p := s.ask(t, c.req, loopback)
		wantCode(t, p, radius.CodeAccessAccept)
		var got []radius.Type
		for _, a := range p.Attributes[1:] {
			got = append(got, a.Type)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}

func TestStrengths(t *testing.T) {
	clients := testClients()
	clients[0].Strengths = radius.Encryption128 | radius.Encryption40
	s := newService(t, Config{Clients: clients})
	if _, types := radius.GetMPPEPolicy(s.ask(t, access(t, chap("alice", goodPassword)), loopback)); types != radius.Encryption128|radius.Encryption40 {
		t.Errorf("types %#x", types)
	}
}

// What cannot be said in a packet is our fault, and no half of it is sent.
func TestAcceptThatCannotBeMade(t *testing.T) {
	for about, spoil := range map[string]func(*authz.Result){
		"no proof for the peer":       func(r *authz.Result) { r.Success = "" },
		"an IPv6 address":             func(r *authz.Result) { r.Grant.Addr = netip.MustParseAddr("2001:db8::1") },
		"an IPv6 route":               func(r *authz.Result) { r.Grant.Routes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")} },
		"three DNS servers":           func(r *authz.Result) { r.Grant.DNS = append(r.Grant.DNS, r.Grant.DNS...) },
		"a bandwidth beyond 32 bits":  func(r *authz.Result) { r.Grant.Bandwidth.Up = 1 << 32 },
		"rules without a filter":      func(r *authz.Result) { r.Grant.Filter, r.Grant.Rules = "", []string{"deny in ip from assigned to any"} },
		"rules that do not fit":       func(r *authz.Result) { r.Grant.Rules = []string{strings.Repeat("x", radius.MaxFilterRules+1)} },
		"a quarantine without an end": func(r *authz.Result) { r.Grant.Quarantine.URL = "https://vpn.example.org/s/x" },
		"a filter of 254 letters":     func(r *authz.Result) { r.Grant.Filter = strings.Repeat("x", 254) },
		"more than a packet holds":    func(r *authz.Result) { r.Grant.Routes = make([]netip.Prefix, 300); fillRoutes(r.Grant.Routes) },
	} {
		s := newService(t, Config{Clients: nodeAndOthers()})
		s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
			res := verify(r)
			spoil(res)
			return res
		}
		if s.ask(t, access(t, chap("alice", goodPassword)), loopback) != nil {
			t.Errorf("%s: answered", about)
		}
		s.dropped(t, "unencodable", 1)
		if !strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("%s: no error in the log", about)
		}
	}
}

// nodeAndOthers has a node at the loopback address.
func nodeAndOthers() []Client {
	clients := testClients()
	clients[0].Node = true
	return clients
}

var held = authz.Grant{
	Addr: netip.MustParseAddr("10.20.0.7"), Filter: "staff", Rules: []string{"permit in ip from assigned to any"},
	Bandwidth:  policy.Bandwidth{Up: 1_000_000},
	Quarantine: authz.Quarantine{For: 5 * time.Minute, URL: "https://vpn.example.org/s/AbC"},
}

// Our nodes are told what to enforce. Others get the filter's name, which may mean
// something to them; the rest they would pass over.
func TestAcceptToEnforce(t *testing.T) {
	grant := testGrant
	grant.Rules = []string{"permit in tcp from assigned to 10.0.0.5 443", "deny in ip from assigned to any"}
	grant.Bandwidth = policy.Bandwidth{Up: 2_000_000, Down: 10_000_000}
	s := newService(t, Config{Clients: nodeAndOthers()})
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		res := verify(r)
		res.Grant = grant
		return res
	}
	p := s.ask(t, access(t, chap("alice", goodPassword)), loopback)
	wantCode(t, p, radius.CodeAccessAccept)
	rules, err := radius.GetFilterRules(p)
	must(t, err)
	if up, down := radius.GetBandwidth(p); rfc2865.FilterID_GetString(p) != "staff" || !slices.Equal(rules, grant.Rules) || up != 2_000_000 || down != 10_000_000 {
		t.Errorf("to a node: %q %q, %d up, %d down", rfc2865.FilterID_GetString(p), rules, up, down)
	}
	if _, _, ok := radius.GetQuarantine(p); ok {
		t.Error("quarantined")
	}
	p = s.ask(t, access(t, pap("alice", goodPassword)), nasAddr)
	wantCode(t, p, radius.CodeAccessAccept)
	rules, err = radius.GetFilterRules(p)
	must(t, err)
	if up, down := radius.GetBandwidth(p); rfc2865.FilterID_GetString(p) != "staff" || len(rules) != 0 || up != 0 || down != 0 {
		t.Errorf("to another NAS: %q %q, %d up, %d down", rfc2865.FilterID_GetString(p), rules, up, down)
	}
}

func TestAcceptIntoQuarantine(t *testing.T) {
	s := newService(t, Config{Clients: nodeAndOthers()})
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		res := verify(r)
		res.Reason, res.Grant = authz.Quarantined, held
		return res
	}
	p := s.ask(t, access(t, chap("alice", goodPassword)), loopback)
	wantCode(t, p, radius.CodeAccessAccept)
	d, url, ok := radius.GetQuarantine(p)
	names, err := rfc2865.FilterID_GetStrings(p)
	must(t, err)
	if !ok || d != held.Quarantine.For || url != held.Quarantine.URL || !slices.Equal(names, []string{radius.FilterQuarantine}) {
		t.Errorf("%v %q %v, filters %q", d, url, ok, names)
	}
	// The filter comes with the release. What it may pass meanwhile is limited all the same.
	rules, err := radius.GetFilterRules(p)
	if up, down := radius.GetBandwidth(p); err != nil || len(rules) != 0 || up != 1_000_000 || down != 0 {
		t.Errorf("%q, %v, %d up, %d down", rules, err, up, down)
	}
}

// A NAS that does not know quarantine would let everything pass: whatever a Decider
// says, such an Accept does not leave.
func TestQuarantineIsForNodesOnly(t *testing.T) {
	for about, q := range map[string]authz.Quarantine{"whole": held.Quarantine, "no page": {For: time.Minute}, "no time": {URL: "https://vpn.example.org/s/x"}} {
		s := newService(t, Config{Clients: nodeAndOthers()})
		s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
			res := verify(r)
			res.Grant.Quarantine = q
			return res
		}
		wantCode(t, s.ask(t, access(t, pap("alice", goodPassword)), nasAddr), radius.CodeAccessReject)
		if n := s.counted(t, "logins_total", "verdict=accept"); n != 0 || !strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("%s: %d accepted, log %s", about, n, s.log.String())
		}
	}
}

func TestChallenge(t *testing.T) {
	s := newService(t, Config{})
	res := authz.Result{Verdict: authz.Challenge, Reason: authz.Challenged, Message: "Code?", State: bytes.Repeat([]byte{7, 0, 255}, 84)}
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result { r := res; return &r }
	req := access(t, pap("alice", goodPassword), add(rfc2865.ProxyState_Type, "proxy"))
	from := radius.Peer{Addr: nasAddr, Transport: radius.UDP}
	first := s.ServeRADIUS(context.Background(), req, from)
	p, err := radius.ParseReply(first, req, sharedSecret)
	must(t, err)
	wantCode(t, p, radius.CodeAccessChallenge)
	if got := rfc2865.State_Get(p); !bytes.Equal(got, res.State) {
		t.Errorf("State % x", got)
	}
	if got := rfc2865.ReplyMessage_GetString(p) + ", " + rfc2865.ProxyState_GetString(p); got != "Code?, proxy" {
		t.Error(got)
	}
	// RFC 2865 §5.44: nothing but State, Reply-Message, time-outs and what is a vendor's or a proxy's.
	if len(p.Attributes) != 4 {
		t.Errorf("%d attributes", len(p.Attributes))
	}
	// A repetition is asked the same, in the same octets, and decided once.
	if again := s.ServeRADIUS(context.Background(), req, from); !bytes.Equal(first, again) || s.decider.count() != 1 {
		t.Errorf("asked %d times, % x\n% x", s.decider.count(), first, again)
	}
	if n := s.counted(t, "logins_total", "proof=pap", "verdict=challenge"); n != 1 {
		t.Errorf("%d challenges counted", n)
	}
	if n := s.counted(t, "decisions_total", "reason=challenged"); n != 1 {
		t.Errorf("%d counted by reason", n)
	}
	// MS-CHAP has no way to answer: to ask is a mistake of ours.
	wantCode(t, s.ask(t, access(t, chap("alice", goodPassword)), loopback), radius.CodeAccessReject)
	// A State that does not fit, or none, would make a new login of the answer.
	for i, state := range [][]byte{make([]byte, 254), nil} {
		res.State = state
		if s.ask(t, access(t, pap("alice", goodPassword)), nasAddr) != nil {
			t.Errorf("a State of %d octets: answered", len(state))
		}
		s.dropped(t, "unencodable", i+1)
	}
}

func fillRoutes(routes []netip.Prefix) {
	for i := range routes {
		routes[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
	}
}

func TestReject(t *testing.T) {
	s := newService(t, Config{})
	var res authz.Result
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result { r := res; return &r }
	var last [16]byte
	for _, c := range []struct {
		res  authz.Result
		want mschap.Error
	}{
		{authz.Result{ErrorCode: 691, Message: "Access denied"}, mschap.Error{Code: 691, Message: "Access denied"}},
		{authz.Result{ErrorCode: 649, Message: "No dial-in permission"}, mschap.Error{Code: 649, Message: "No dial-in permission"}},
		{authz.Result{ErrorCode: 691, Retry: true}, mschap.Error{Code: 691, Retry: true}},
		{authz.Result{}, mschap.Error{Code: 691}},
		{authz.Result{ErrorCode: 648, Message: "Password expired", Change: true}, mschap.Error{Code: 648, Message: "Password expired"}},
		{authz.Result{Message: strings.Repeat("ü", 300)}, mschap.Error{Code: 691, Message: strings.Repeat("ü", 97)}},
	} {
		res = c.res
		p := s.ask(t, access(t, chap("alice", "guess")), loopback)
		wantCode(t, p, radius.CodeAccessReject)
		ident, text, ok := radius.GetMSCHAPError(p)
		e, err := mschap.ParseError(text)
		if !ok || err != nil || ident != 9 || e.Code != c.want.Code || e.Retry != c.want.Retry || e.Message != c.want.Message || e.Version != 3 {
			t.Errorf("%+v: %d %q %v", c.res, ident, text, err)
		}
		if e.Challenge == last || e.Challenge == [16]byte{} {
			t.Errorf("challenge %x is not fresh", e.Challenge)
		}
		last = e.Challenge
		if got := rfc2865.ReplyMessage_GetString(p); got != cut(c.res.Message, 253) {
			t.Errorf("Reply-Message %q", got)
		}
		if _, _, ok := radius.MPPEKeys(p); ok {
			t.Error("a reject with keys")
		}
	}
	// Without MS-CHAP no error of MS-CHAP.
	res = authz.Result{Message: "Your network is not allowed here."}
	p := s.ask(t, access(t, pap("alice", "guess")), loopback)
	if _, _, ok := radius.GetMSCHAPError(p); ok || rfc2865.ReplyMessage_GetString(p) != res.Message {
		t.Errorf("%v", p.Attributes)
	}
}

// A new password is asked for by V=3 beside E=648; without leave to change it the client
// learns that it has expired, and that this server changes none.
func TestRejectOfExpired(t *testing.T) {
	s := newService(t, Config{})
	for change, version := range map[bool]int{true: 3, false: 0} {
		s.decider.decide = func(context.Context, *authz.Request) *authz.Result {
			return &authz.Result{ErrorCode: 648, Message: "Password expired", Change: change}
		}
		_, text, _ := radius.GetMSCHAPError(s.ask(t, access(t, chap("alice", goodPassword)), loopback))
		if e, err := mschap.ParseError(text); err != nil || e.Code != 648 || e.Retry || e.Version != version || e.Challenge == [16]byte{} {
			t.Errorf("leave %v: %q, %v", change, text, err)
		}
	}
}

// A change is answered under its own identifier, in the words of a login.
func TestAnswersToChange(t *testing.T) {
	s := newService(t, Config{})
	p := s.ask(t, access(t, newPassword("alice", "old")), loopback)
	wantCode(t, p, radius.CodeAccessAccept)
	asked := s.decider.last(t)
	want := verify(&asked)
	if ident, text, ok := radius.GetMSCHAP2Success(p); !ok || ident != 10 || text != want.Success {
		t.Errorf("MS-CHAP2-Success %d %q, want %q", ident, text, want.Success)
	}
	if send, recv, ok := radius.MPPEKeys(p); !ok || send != want.SendKey || recv != want.RecvKey {
		t.Errorf("keys %x %x", send, recv)
	}
	if got := rfc2865.FramedProtocol_Get(p); got != rfc2865.FramedProtocol_Value_PPP {
		t.Errorf("Framed-Protocol %v", got)
	}
	s.decider.decide = func(context.Context, *authz.Request) *authz.Result {
		return &authz.Result{Reason: authz.NewPasswordRefused, ErrorCode: 709, Message: "New password refused"}
	}
	p = s.ask(t, access(t, newPassword("alice", "old")), loopback)
	wantCode(t, p, radius.CodeAccessReject)
	ident, text, ok := radius.GetMSCHAPError(p)
	if e, err := mschap.ParseError(text); !ok || err != nil || ident != 10 || e.Code != 709 || e.Retry || e.Version != 3 || e.Message != "New password refused" {
		t.Errorf("%d %q %v", ident, text, err)
	}
}

// RFC 2869 §5.13: who does not know EAP rejects it, in EAP's words where there are
// any to answer.
func TestRejectOfEAP(t *testing.T) {
	s := newService(t, Config{})
	for message, want := range map[string][]byte{
		"\x02\x07\x00\x06\x01a": {4, 7, 0, 4},
		"\x02":                  nil,
		"":                      nil,
	} {
		p := s.ask(t, access(t, add(rfc2869.EAPMessage_Type, message)), loopback)
		wantCode(t, p, radius.CodeAccessReject)
		got, _ := p.Lookup(rfc2869.EAPMessage_Type)
		if !bytes.Equal(got, want) {
			t.Errorf("% x: % x, want % x", message, got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]uint32{
		time.Nanosecond: 1, time.Second: 1, 1500 * time.Millisecond: 2, 8 * time.Hour: 28800, 200 * 365 * 24 * time.Hour: 1<<32 - 1,
	} {
		if got := seconds(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"abc", 5, "abc"}, {"abc", 2, "ab"}, {"aüb", 2, "a"}, {"aüb", 3, "aü"}, {"", 0, ""}, {"\xbf\xbf\xbf", 2, ""}} {
		if got := cut(c.in, c.n); got != c.want {
			t.Errorf("%q to %d: %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
