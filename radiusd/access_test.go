package radiusd

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
	"layeh.com/radius/vendors/microsoft"

	"postern/authz"
	"postern/authz/directory"
	"postern/internal/mschap"
	"postern/internal/radius"
)

// What a node of ours sends (RFC 2868, RFC 2548) arrives field by field.
func TestRequestOfANode(t *testing.T) {
	s := newService(t, Config{})
	req := access(t, chap(`CORP\Alice+123456`, goodPassword), func(p *radius.Packet) {
		_ = rfc2865.NASIdentifier_SetString(p, "gw1")
		_ = rfc2865.NASIPAddress_Set(p, net.IPv4(203, 0, 113, 1))
		_ = rfc2865.NASPort_Set(p, 4711)
		_ = rfc2865.NASPortType_Set(p, rfc2865.NASPortType_Value_Virtual)
		_ = rfc2865.CallingStationID_SetString(p, "198.51.100.99")
		_ = rfc2868.TunnelType_Set(p, 1, rfc2868.TunnelType_Value_PPTP)
		_ = rfc2868.TunnelClientEndpoint_SetString(p, 1, "198.51.100.7")
		_ = rfc2866.AcctSessionID_SetString(p, "5f-0001")
		_ = radius.AddRASClient(p, "MSRAS-0-DESK17\x00", "MSRASV5.20")
	})
	s.ask(t, req, loopback)
	got := s.decider.last(t)
	if got.Now.IsZero() {
		t.Error("no time")
	}
	got.Now = authz.Request{}.Now
	want := authz.Request{
		NAS:  authz.NAS{ID: "gw1", Addr: netip.MustParseAddr("203.0.113.1"), Port: 4711, Type: "Virtual", Client: "loopback"},
		User: `CORP\Alice+123456`, Source: netip.MustParseAddr("198.51.100.7"), SessionID: "5f-0001", Tunnel: "PPTP",
		Method: authz.MethodMSCHAPv2, AllowPAP: true,
		MSCHAPv2:   authz.MSCHAPv2{Ident: 9, Challenge: [16]byte{1, 2, 3}, PeerChallenge: [16]byte{4, 5, 6}, Response: got.MSCHAPv2.Response},
		ClientName: "MSRAS-0-DESK17", ClientVersion: "MSRASV5.20",
	}
	if got.MSCHAPv2 != want.MSCHAPv2 || got.MSCHAPv2.Response == [24]byte{} || got.NAS != want.NAS || got.User != want.User ||
		got.Source != want.Source || got.SessionID != want.SessionID || got.Tunnel != want.Tunnel || got.Method != want.Method ||
		got.AllowPAP != want.AllowPAP || got.ClientName != want.ClientName || got.ClientVersion != want.ClientVersion || got.Password != nil {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What the configuration says of a client goes with its requests.
func TestRequestOfAClient(t *testing.T) {
	clients := testClients()
	clients[0].Node, clients[1].CodeInPassword = true, true
	s := newService(t, Config{Clients: clients})
	for _, c := range []struct {
		from       netip.AddrPort
		node, code bool
	}{{loopback, true, false}, {nasAddr, false, true}, {netip.MustParseAddrPort("203.0.113.1:1"), false, false}} {
		s.ask(t, access(t, pap("alice", goodPassword)), c.from)
		if got := s.decider.last(t); got.Node != c.node || got.CodeInPassword != c.code {
			t.Errorf("%v: node %v, code in password %v", c.from, got.Node, got.CodeInPassword)
		}
	}
}

// Several State are not ours: we send one. They must not make a new login of what
// answers a challenge.
func TestState(t *testing.T) {
	full := strings.Repeat("s", 253)
	for _, c := range []struct {
		states []string
		want   string // "" with none
	}{
		{nil, ""}, {[]string{"x"}, "x"}, {[]string{full}, full},
		{[]string{""}, string(noState)}, {[]string{"x", "x"}, string(noState)}, {[]string{full, "y", "z"}, string(noState)},
		{[]string{"x", ""}, string(noState)}, {[]string{"", "x"}, string(noState)},
	} {
		s := newService(t, Config{})
		fill := []func(*radius.Packet){pap("alice", goodPassword)}
		for _, state := range c.states {
			fill = append(fill, add(rfc2865.State_Type, state))
		}
		s.ask(t, access(t, fill...), nasAddr)
		if got := s.decider.last(t).State; string(got) != c.want || (got == nil) != (c.states == nil) {
			t.Errorf("%d states: %q, want %q", len(c.states), got, c.want)
		}
	}
}

// A change arrives whole, and nothing of it is kept.
func TestRequestOfAChange(t *testing.T) {
	s := newService(t, Config{})
	var kept *directory.Change
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		kept = r.Change
		old, fresh := mschap.NTHash("old"), mschap.NTHash(goodPassword)
		if got, err := mschap.DecryptPassword(&kept.Encrypted, &old); got != goodPassword || err != nil {
			t.Errorf("new password %q, %v", got, err)
		}
		if kept.OldHash != mschap.EncryptHash(&old, &fresh) {
			t.Error("old hash")
		}
		if m := r.MSCHAPv2; m.Ident != 10 || m.Challenge != [16]byte{7, 8, 9} || m.PeerChallenge != [16]byte{4, 5, 6} || r.User != `CORP\Alice+123456` || r.SessionID != "5f-0001" {
			t.Errorf("%+v", r)
		}
		return verify(r)
	}
	s.ask(t, access(t, newPassword(`CORP\Alice+123456`, "old"), func(p *radius.Packet) { _ = rfc2866.AcctSessionID_SetString(p, "5f-0001") }), loopback)
	if kept == nil || *kept != (directory.Change{}) {
		t.Error("the change was not wiped")
	}
}

// The decider may keep nothing: the password is gone when it has decided.
func TestPasswordIsWiped(t *testing.T) {
	s := newService(t, Config{})
	var kept []byte
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		kept = r.Password
		return verify(r)
	}
	wantCode(t, s.ask(t, access(t, pap("alice", goodPassword)), nasAddr), radius.CodeAccessAccept)
	if s.decider.last(t).Password == nil || strings.Trim(string(kept), "\x00") != "" {
		t.Errorf("the password is %q after the decision", kept)
	}
	if log := s.log.String(); strings.Contains(log, goodPassword) {
		t.Errorf("log: %s", log)
	}
}

// TestProofs: what is taken for a proof, and what of it is refused, each with an
// answer the NAS can relay.
func TestProofs(t *testing.T) {
	name := add(rfc2865.UserName_Type, "alice")
	other := netip.MustParseAddrPort("192.0.2.200:1") // client strict: neither PAP nor MS-CHAP over UDP
	old := netip.MustParseAddrPort("198.51.100.1:1")
	for _, c := range []struct {
		about  string
		from   netip.AddrPort
		fill   []func(*radius.Packet)
		proof  proof
		method authz.Method
		accept bool
	}{
		{"PAP", nasAddr, []func(*radius.Packet){pap("alice", goodPassword)}, proofPAP, authz.MethodPAP, true},
		{"PAP, wrong", nasAddr, []func(*radius.Packet){pap("alice", "guess")}, proofPAP, authz.MethodPAP, false},
		{"PAP where it is not allowed", other, []func(*radius.Packet){pap("alice", goodPassword)}, proofPAP, authz.MethodPAP, false},
		{"PAP, misshapen", nasAddr, []func(*radius.Packet){name, add(rfc2865.UserPassword_Type, "short")}, proofNone, authz.MethodUnknown, false},
		{"MS-CHAPv2 from this host", loopback, []func(*radius.Packet){chap("alice", goodPassword)}, proofMSCHAPv2, authz.MethodMSCHAPv2, true},
		{"MS-CHAPv2 over the network", nasAddr, []func(*radius.Packet){chap("alice", goodPassword)}, proofMSCHAPOpen, authz.MethodUnknown, false},
		{"MS-CHAPv2 over the network, allowed", old, []func(*radius.Packet){chap("alice", goodPassword)}, proofMSCHAPv2, authz.MethodMSCHAPv2, true},
		{"MS-CHAPv2, wrong", loopback, []func(*radius.Packet){chap("alice", "guess")}, proofMSCHAPv2, authz.MethodMSCHAPv2, false},
		{"MS-CHAPv2, challenge of version 1", loopback, []func(*radius.Packet){name, func(p *radius.Packet) {
			_ = microsoft.MSCHAPChallenge_Add(p, make([]byte, 8))
			_ = microsoft.MSCHAP2Response_Add(p, make([]byte, 50))
		}}, proofNone, authz.MethodUnknown, false},
		{"MS-CHAPv1", loopback, []func(*radius.Packet){name, func(p *radius.Packet) {
			_ = microsoft.MSCHAPChallenge_Add(p, make([]byte, 8))
			_ = microsoft.MSCHAPResponse_Add(p, make([]byte, 50))
		}}, proofMSCHAPv1, authz.MethodUnknown, false},
		{"change of password", loopback, []func(*radius.Packet){name, func(p *radius.Packet) { _ = microsoft.MSCHAP2CPW_Add(p, make([]byte, 68)) }},
			proofCPW, authz.MethodUnknown, false},
		{"change of password, whole", loopback, []func(*radius.Packet){newPassword("alice", "old")}, proofCPW, authz.MethodMSCHAPv2Change, true},
		{"change of password over the network", nasAddr, []func(*radius.Packet){newPassword("alice", "old")}, proofMSCHAPOpen, authz.MethodUnknown, false},
		{"change of password, a fragment missing", loopback, []func(*radius.Packet){newPassword("alice", "old"), func(p *radius.Packet) { p.Attributes = p.Attributes[:len(p.Attributes)-1] }},
			proofCPW, authz.MethodUnknown, false},
		{"change of password of version 1", loopback, []func(*radius.Packet){name, func(p *radius.Packet) { _ = microsoft.MSCHAPCPW2_Add(p, make([]byte, 84)) }},
			proofCPW, authz.MethodUnknown, false},
		{"change of password, and a response", loopback, []func(*radius.Packet){newPassword("alice", "old"), chap("alice", goodPassword)}, proofSeveral, authz.MethodUnknown, false},
		{"CHAP", loopback, []func(*radius.Packet){name, add(rfc2865.CHAPPassword_Type, strings.Repeat("x", 17))}, proofCHAP, authz.MethodUnknown, false},
		{"EAP", loopback, []func(*radius.Packet){name, add(rfc2869.EAPMessage_Type, "\x02\x07\x00\x06\x01a")}, proofEAP, authz.MethodUnknown, false},
		{"nothing", loopback, []func(*radius.Packet){name}, proofNone, authz.MethodUnknown, false},
		{"several", loopback, []func(*radius.Packet){pap("alice", goodPassword), chap("alice", goodPassword)}, proofSeveral, authz.MethodUnknown, false},
	} {
		t.Run(c.about, func(t *testing.T) {
			s := newService(t, Config{})
			p := s.ask(t, access(t, c.fill...), c.from)
			want, verdict := radius.CodeAccessReject, "verdict=reject"
			if c.accept {
				want, verdict = radius.CodeAccessAccept, "verdict=accept"
			}
			wantCode(t, p, want)
			if got := s.decider.last(t); got.Method != c.method {
				t.Errorf("method %v, want %v", got.Method, c.method)
			}
			if n := s.counted(t, "logins_total", "proof="+c.proof.String(), verdict); n != 1 {
				t.Errorf("not counted as %v, %s", c.proof, verdict)
			}
			if c.method == authz.MethodUnknown && s.decider.last(t).Password != nil {
				t.Error("a password was handed on")
			}
		})
	}
}

// A NAS that sends MS-CHAP over the network is told of once in the log, not by
// everybody who logs in there.
func TestMSCHAPOverUDPWarnsOnce(t *testing.T) {
	s := newService(t, Config{})
	for range 3 {
		p := s.ask(t, access(t, chap("alice", goodPassword)), nasAddr)
		wantCode(t, p, radius.CodeAccessReject)
		if ident, text, ok := radius.GetMSCHAPError(p); !ok || ident != 9 || !strings.HasPrefix(text, "E=691 R=0 ") {
			t.Errorf("MS-CHAP-Error %d %q", ident, text)
		}
	}
	if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

func TestNASNames(t *testing.T) {
	ip := func(p *radius.Packet) { _ = rfc2865.NASIPAddress_Set(p, net.IPv4(203, 0, 113, 9)) }
	for _, c := range []struct {
		about    string
		fill     func(*radius.Packet)
		from     peer
		id, addr string
	}{
		{"identifier and address", func(p *radius.Packet) { ip(p); _ = rfc2865.NASIdentifier_SetString(p, "gw1") }, peer{addr: nasAddr, via: radius.UDP}, "gw1", "203.0.113.9"},
		{"address", ip, peer{addr: nasAddr, via: radius.UDP}, "", "203.0.113.9"},
		{"IPv6 address", func(p *radius.Packet) { _ = rfc3162.NASIPv6Address_Set(p, net.ParseIP("2001:db8::9")) }, peer{addr: nasAddr, via: radius.UDP}, "", "2001:db8::9"},
		{"where it came from", func(*radius.Packet) {}, peer{addr: nasAddr, via: radius.UDP}, "", "192.0.2.10"},
		{"0.0.0.0 is none", func(p *radius.Packet) { _ = rfc2865.NASIPAddress_Set(p, net.IPv4zero) }, peer{addr: nasAddr, via: radius.UDP}, "", "192.0.2.10"},
		{"in process", func(*radius.Packet) {}, peer{via: radius.InProcess}, "lab", "invalid IP"},
		{"octets that are no text", func(p *radius.Packet) { _ = rfc2865.NASIdentifier_Set(p, []byte("g\xff\n")) }, peer{addr: nasAddr, via: radius.UDP}, `g\xff\n`, "192.0.2.10"},
	} {
		p := &radius.Packet{}
		c.fill(p)
		got := nas(&ticket{packet: p, from: c.from, client: inProcess("lab")})
		if got.ID != c.id || got.Addr.String() != c.addr {
			t.Errorf("%s: %q %v, want %q %v", c.about, got.ID, got.Addr, c.id, c.addr)
		}
	}
}

func TestSource(t *testing.T) {
	for _, c := range []struct{ endpoint, calling, want string }{
		{"198.51.100.7", "203.0.113.1", "198.51.100.7"},
		{"", "203.0.113.1", "203.0.113.1"},
		{"vpn.example.org", "203.0.113.1", "203.0.113.1"}, // RFC 2868 §3.3 allows a name
		{"198.51.100.7:51234", "", "198.51.100.7"},
		{"2001:db8::7", "", "2001:db8::7"},
		{"[2001:db8::7]:99", "", "2001:db8::7"},
		{"::ffff:198.51.100.7", "", "198.51.100.7"},
		{"198.51.100.7\x00", "", "198.51.100.7"},
		{"", "00-11-22-33-44-55", "invalid IP"},
		{"0.0.0.0", "", "invalid IP"},
		{"", "", "invalid IP"},
		{"999.1.1.1", "198.51.100.007", "invalid IP"},
	} {
		p := &radius.Packet{}
		if c.endpoint != "" {
			_ = rfc2868.TunnelClientEndpoint_SetString(p, 1, c.endpoint)
		}
		if c.calling != "" {
			_ = rfc2865.CallingStationID_SetString(p, c.calling)
		}
		if got := source(p).String(); got != c.want {
			t.Errorf("%q %q: %s, want %s", c.endpoint, c.calling, got, c.want)
		}
	}
}

func TestTunnel(t *testing.T) {
	for _, c := range []struct {
		attribute string
		want      string
	}{{"", ""}, {"\x00\x00\x00\x01", "PPTP"}, {"\x1f\x00\x00\x03", "L2TP"}, {"\x00\x00\x01\x00", "TunnelType(256)"}, {"\x01", ""}} {
		p := &radius.Packet{}
		if c.attribute != "" {
			add(rfc2868.TunnelType_Type, c.attribute)(p)
		}
		if got := tunnel(p); got != c.want {
			t.Errorf("% x: %q, want %q", c.attribute, got, c.want)
		}
	}
}

// Different octets stay different, and nothing unprintable comes through.
func TestText(t *testing.T) {
	seen := map[string]string{}
	for _, c := range []struct{ in, want string }{
		{"gw1", "gw1"}, {"Büro 3", "Büro 3"}, {"", ""}, {"a\xffb", `a\xffb`}, {`a\xffb`, `a\\xffb`}, {"a\nb", `a\nb`}, {"\x00", `\x00`},
		{"\ufffd", `\ufffd`}, {"\xef\xbf", `\xef\xbf`},
	} {
		got := text(c.in)
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %q", other, c.in, got)
		}
		seen[got] = c.in
	}
}
