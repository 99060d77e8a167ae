package pptp

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
	"postern/pptp/chap"
	"postern/pptp/ppp"
)

// accept is an Access-Accept as a service sends it, with options left out.
func accept(t *testing.T, change func(p *radius.Packet)) *radius.Packet {
	t.Helper()
	p := radius.NewReply(radius.NewRequest(radius.CodeAccessRequest, radius.NewSecret("x")), radius.CodeAccessAccept)
	send, recv := [16]byte{1}, [16]byte{2}
	if err := errors.Join(
		rfc2865.FramedIPAddress_Set(p, netip.MustParseAddr("10.80.0.10").AsSlice()),
		rfc2865.SessionTimeout_Set(p, 3600),
		radius.AddMSCHAP2Success(p, 1, "S=0123456789012345678901234567890123456789"),
		radius.AddMPPEKeys(p, &send, &recv),
		radius.AddMPPEPolicy(p, radius.EncryptionRequired, radius.Encryption128),
	); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestReadVerdict(t *testing.T) {
	n := newRig(t, true).node
	set := n.settings.Load()
	v, err := readVerdict(accept(t, nil), set)
	if err != nil || !v.accept || v.grant.addr != netip.MustParseAddr("10.80.0.10") || v.grant.session != time.Hour ||
		!v.grant.require || v.grant.strengths != ppp.MPPE128 || v.grant.sendKey != [16]byte{1} || v.grant.recvKey != [16]byte{2} {
		t.Fatalf("%+v, %v", v, err)
	}

	address := func(a string) func(*radius.Packet) {
		return func(p *radius.Packet) {
			p.Attributes.Del(rfc2865.FramedIPAddress_Type)
			if a != "" {
				_ = rfc2865.FramedIPAddress_Set(p, netip.MustParseAddr(a).AsSlice())
			}
		}
	}
	without := func(typ radius.Type) func(*radius.Packet) {
		return func(p *radius.Packet) { p.Attributes.Del(typ) }
	}
	for name, tc := range map[string]struct {
		p    *radius.Packet
		want error
	}{
		"no address":                 {accept(t, address("")), errNoAddress},
		"the node's own":             {accept(t, address("10.80.0.1")), errNoAddress},
		"client's choice (RFC 2865)": {accept(t, address("255.255.255.255")), errNoAddress},
		"node's choice":              {accept(t, address("255.255.255.254")), errNoAddress},
		"loopback":                   {accept(t, address("127.0.0.1")), errNoAddress},
		"multicast":                  {accept(t, address("224.0.0.1")), errNoAddress},
		"no vendor attributes":       {accept(t, without(rfc2865.VendorSpecific_Type)), errNoKeys},
		"challenge":                  {&radius.Packet{Code: radius.CodeAccessChallenge}, errUnexpected},
	} {
		if _, err := readVerdict(tc.p, set); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	weak := accept(t, func(p *radius.Packet) {
		p.Attributes.Del(rfc2865.VendorSpecific_Type)
		k := [16]byte{1}
		_ = radius.AddMPPEKeys(p, &k, &k)
		_ = radius.AddMPPEPolicy(p, radius.EncryptionRequired, radius.Encryption40)
	})
	if _, err := readVerdict(weak, set); !errors.Is(err, errServerTypes) {
		t.Errorf("40 bit from the service on a 128-bit node: %v", err)
	}
}

// The service's MS-CHAP-Error reaches the client word for word; without one there is
// a refusal all the same.
func TestReadRejection(t *testing.T) {
	set := newRig(t, true).node.settings.Load()
	p := &radius.Packet{Code: radius.CodeAccessReject}
	if v, err := readVerdict(p, set); err != nil || v.accept || v.text != noReason {
		t.Errorf("%+v, %v", v, err)
	}
	const text = "E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Password expired"
	if err := radius.AddMSCHAPError(p, 7, text); err != nil {
		t.Fatal(err)
	}
	if v, err := readVerdict(p, set); err != nil || v.accept || v.text != text {
		t.Errorf("%+v, %v", v, err)
	}
}

// An Access-Request carries what policy and audit need, and the proof unharmed.
func TestAccessRequest(t *testing.T) {
	r := newRig(t, true)
	r.s.identified("MSRASV5.20")
	r.s.identified("MSRAS-0-LT-0231")
	resp := &chap.Response{Ident: 9, Challenge: [16]byte{1}, PeerChallenge: [16]byte{2}, NTResponse: [24]byte{3}, Name: `CORP\alice+123456`}
	p, err := r.s.accessRequest(resp)
	if err != nil {
		t.Fatal(err)
	}
	challenge, got, ok := radius.GetMSCHAP2Response(p)
	name, version := radius.GetRASClient(p)
	if !ok || challenge != resp.Challenge || got.Ident != 9 || got.PeerChallenge != resp.PeerChallenge || got.NTResponse != resp.NTResponse ||
		rfc2865.UserName_GetString(p) != resp.Name || rfc2865.CallingStationID_GetString(p) != testPeer.String() ||
		rfc2865.NASPortType_Get(p) != rfc2865.NASPortType_Value_Virtual || name != "LT-0231" || version != "MSRASV5.20" {
		t.Fatalf("%+v %+v %q %q", challenge, got, name, version)
	}
}

// A change of the password is asked for in the same words as the login before it: by
// them the service knows the dialogue.
func TestChangeRequest(t *testing.T) {
	r := newRig(t, true)
	const name = `CORP\alice+123456`
	login, err := r.s.accessRequest(&chap.Response{Ident: 9, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	c := &chap.ChangePassword{
		Ident: 10, Challenge: [16]byte{1}, EncryptedPassword: [516]byte{2, 515: 3}, EncryptedHash: [16]byte{4},
		PeerChallenge: [16]byte{5}, NTResponse: [24]byte{6}, Name: name,
	}
	p, err := r.s.changeRequest(c)
	if err != nil {
		t.Fatal(err)
	}
	challenge, got, ok := radius.GetMSCHAP2CPW(p)
	want := radius.MSCHAP2CPW{
		Ident: 10, EncryptedPassword: c.EncryptedPassword, EncryptedHash: c.EncryptedHash, PeerChallenge: c.PeerChallenge, NTResponse: c.NTResponse,
	}
	if !ok || challenge != c.Challenge || got != want {
		t.Errorf("%v, %v", challenge, ok)
	}
	if _, _, ok := radius.GetMSCHAP2Response(p); ok {
		t.Error("with a response of another kind")
	}
	for _, a := range login.Attributes {
		if a.Type == rfc2865.VendorSpecific_Type {
			continue
		}
		if v, ok := p.Lookup(a.Type); !ok || !bytes.Equal(v, a.Attribute) {
			t.Errorf("attribute %d: %q, was %q", a.Type, v, a.Attribute)
		}
	}
}

// A user may think about a new password for longer than a login may take, but not for
// ever; a client that only stays on the line was refused, not silent.
func TestExpiredPasswordWaits(t *testing.T) {
	r := newRig(t, true)
	now := time.Now()
	s := r.s
	s.shut()
	s.phase, s.chap = phaseAuth, chap.NewAuthenticator(chap.Config{})
	peer := chap.NewPeer(chap.PeerConfig{Name: "alice", Password: "x"})
	peer.Start(now)
	if _, ok := s.chap.Input(now, peer.Input(now, s.chap.Start(now).Send).Send).Event.(chap.Response); !ok {
		t.Fatal("no response")
	}
	s.chapStep(now, s.chap.Failure(now, "E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Password expired"))
	login := r.node.settings.Load().Timers.Login
	until := now.Add(chap.DefaultChangeTimeout)
	if s.phase != phaseAuth || !s.loginBy.Equal(until.Add(login)) || !s.deadline().Equal(until) {
		t.Errorf("phase %v, login until %v, next %v", s.phase, s.loginBy.Sub(now), s.deadline().Sub(now))
	}
	s.timeout(until)
	if s.phase != phaseClosing || s.cause != AuthFailed {
		t.Errorf("phase %v, cause %v", s.phase, s.cause)
	}
}

// Every cause has a name and a place in every reader's list.
func TestCauses(t *testing.T) {
	seen := make(map[string]bool)
	for c := range causes {
		i := Cause(c).info()
		if i.name == "" || seen[i.name] || i.terminate == 0 || i.result == 0 {
			t.Errorf("cause %d: %+v", c, *i)
		}
		if Cause(c).polite() && i.text == "" && Cause(c) != PeerTerminated && Cause(c) != CauseUnknown {
			t.Errorf("%v: the peer is told nothing", Cause(c))
		}
		seen[i.name] = true
	}
	if Cause(200).String() != CauseUnknown.String() {
		t.Error("a cause out of range")
	}
	for d := range numDrops {
		if d.String() == "" || seen[d.String()] && d != DropUnknown {
			t.Errorf("drop %d: %q", d, d.String())
		}
		seen[d.String()] = true
	}
}
