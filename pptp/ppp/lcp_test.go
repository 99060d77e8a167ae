package ppp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// openLCP takes a machine to Opened; the peer asks for a magic number only.
func openLCP(t *testing.T, l *LCP) {
	t.Helper()
	ackOwn(t, l, at(10), start(l, at(0)))
	s := l.Input(at(20), ctl(CodeConfigureRequest, 77, opt(lcpMagic, u32(0xAABBCCDD)...)))
	if !has(s, Up) || l.State() != Opened {
		t.Fatalf("not open: %s", reading(s))
	}
}

func newServerLCP() *LCP {
	return NewLCP(LCPConfig{MRU: 1400, Demand: []Auth{AuthMSCHAPv2}, Magic: fixed(0x10)})
}

// Windows 10 as a client: callback is rejected, the request without it is taken; the
// identifiers 0, 1, then 2-4 for three Identifications, which get no answer.
func TestWindows10LCP(t *testing.T) {
	l := newServerLCP()
	s := start(l, at(0))
	expect(t, s, "Configure-Request id 1 <mru 1400> <auth MS-CHAPv2> <magic 0x00000011>")
	expect(t, l.Input(at(5), goldenWith(t, ProtoLCP, "Request id 0 <mru 1400> <magic 0x0b5c6b3e>")), "Configure-Reject id 0 <callback 0x06>")
	ackOwn(t, l, at(6), s)
	expect(t, l.Input(at(7), goldenWith(t, ProtoLCP, "Request id 1 <mru 1400> <magic 0x0b5c6b3e>")), "Configure-Ack id 1 <mru 1400> <magic 0x0b5c6b3e> <pcomp> <accomp>", "(up)")
	r := l.Results()
	if r.Auth != AuthMSCHAPv2 || r.PeerMRU != 1400 || r.LocalMRU != 1400 || !r.SendPFC || !r.SendACFC || r.RecvPFC || r.RecvACFC {
		t.Errorf("%+v", r)
	}
	var texts []string
	for _, b := range seeds(t, ProtoLCP) {
		if Code(b[0]) == CodeIdentification && len(b) > 5 {
			s := l.Input(at(8), b)
			if len(s.Send) != 0 || len(s.Events) != 1 {
				t.Fatalf("%s", reading(s))
			}
			texts = append(texts, s.Events[0].Text)
		}
	}
	if got := strings.Join(texts, " "); got != "MSRASV5.20 MSRAS-0-DESKTP 0x00112233445566778899aabbccddeeff" {
		t.Errorf("identifications %q", got)
	}
	// IPV6CP is answered by the session, by way of LCP.
	expect(t, l.ProtocolReject(at(9), ProtoIPV6CP, ctl(CodeConfigureRequest, 5)), "Protocol-Reject id 2 of IPV6CP")
	// macOS asks for ACSCP.
	expect(t, l.ProtocolReject(at(9), ProtoACSCP, make([]byte, 2000)), "Protocol-Reject id 3 of ACSCP")
	if n := len(l.ProtocolReject(at(9), ProtoACSCP, make([]byte, 2000)).Send[0].Data); n > minMRU {
		t.Errorf("Protocol-Reject of %d octets", n)
	}
}

// Windows as a server: MRRU, endpoint discriminator, option 23 and callback are
// rejected, its demand for MS-CHAPv2 is what our client accepts.
func TestWindowsServerLCP(t *testing.T) {
	l := NewLCP(LCPConfig{Accept: []Auth{AuthMSCHAPv2}, Magic: fixed(1)})
	start(l, at(0))
	expect(t, l.Input(at(1), goldenWith(t, ProtoLCP, "mrru")), "Configure-Reject id 0 <callback 0x06> <mrru 0x064e> <endpoint 0x0102030405060708090a0b0c0d0e0f1011> <link-discriminator 0x000b>")
	expect(t, l.Input(at(2), ctl(CodeConfigureRequest, 1, opt(lcpAuth, 0xC2, 0x23, 0x81), opt(lcpMagic, u32(7)...))),
		"Configure-Ack id 1 <auth MS-CHAPv2> <magic 0x00000007>")
	if l.Results().PeerAuth != AuthMSCHAPv2 {
		t.Error("PeerAuth")
	}
}

// pppd sends an Echo-Request as soon as LCP is open, before authentication.
func TestEarlyEcho(t *testing.T) {
	l := newServerLCP()
	echo := ctl(CodeEchoRequest, 0, u32(0xAABBCCDD), []byte("data"))
	s := start(l, at(0))
	expect(t, l.Input(at(1), echo)) // not open: dropped
	ackOwn(t, l, at(2), s)
	l.Input(at(3), ctl(CodeConfigureRequest, 77, opt(lcpMagic, u32(0xAABBCCDD)...)))
	s = l.Input(at(4), echo)
	expect(t, s, "Echo-Reply id 0 8 octets")
	if want := string(ctl(CodeEchoReply, 0, u32(0x11), []byte("data"))); string(s.Send[0].Data) != want {
		t.Errorf("%x, want %x", s.Send[0].Data, want)
	}
	expect(t, l.Input(at(5), ctl(CodeDiscardRequest, 0, u32(1), []byte("x"))))
	expect(t, l.Input(at(5), ctl(CodeEchoRequest, 0, []byte{1})), "!"+ErrShortPacket.Error())
}

// Liveness: every interval an echo; answers keep the peer alive; without them it is
// dead after the configured number.
func TestLiveness(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1), EchoInterval: 10 * time.Second, EchoFailures: 3})
	openLCP(t, l)
	for range 20 {
		s := l.Timeout(l.Deadline())
		expect(t, s, reading(s))
		if len(s.Send) != 1 || Code(s.Send[0].Data[0]) != CodeEchoRequest {
			t.Fatalf("%s", reading(s))
		}
		l.Input(l.Deadline(), ctl(CodeEchoReply, s.Send[0].Data[1], u32(0xAABBCCDD)))
	}
	for range 3 {
		if s := l.Timeout(l.Deadline()); len(s.Send) != 1 {
			t.Fatalf("%s", reading(s))
		}
	}
	expect(t, l.Timeout(l.Deadline()), "(dead: peer silent)")
	if !l.Deadline().IsZero() {
		t.Error("a deadline after Dead")
	}
}

// Data counts as life, our own echo coming back does not.
func TestLivenessHeardAndLooped(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1), EchoInterval: time.Second, EchoFailures: 1})
	openLCP(t, l)
	for range 5 {
		l.Timeout(l.Deadline())
		l.Heard()
	}
	l.Timeout(l.Deadline())
	expect(t, l.Input(at(9000), ctl(CodeEchoReply, 1, u32(2))), "(loop detected)")
	expect(t, l.Input(at(9000), ctl(CodeEchoRequest, 1, u32(2))), "(loop detected)")
	expect(t, l.Timeout(l.Deadline()), "(dead: peer silent)")
}

// A peer that Code-Rejects Echo-Request is not called dead for it.
func TestEchoRejected(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1), EchoInterval: time.Second, EchoFailures: 1})
	openLCP(t, l)
	s := l.Timeout(l.Deadline())
	expect(t, l.Input(at(2000), ctl(CodeCodeReject, 1, s.Send[0].Data)))
	if !l.Deadline().IsZero() {
		t.Error("still echoing")
	}
	expectState(t, l, Opened)
	if s := l.Echo(at(3000)); len(s.Send) != 1 {
		t.Error("Echo on demand")
	}
	// It is the same peer after a renegotiation.
	s = l.Input(at(4000), ctl(CodeConfigureRequest, 9, opt(lcpMagic, 1, 2, 3, 4)))
	ackOwn(t, l, at(4010), s)
	expectState(t, l, Opened)
	if !l.Deadline().IsZero() {
		t.Error("echoing again")
	}
}

// The server's demand: a peer that Naks with less is sent away, one that Naks with
// something else of the list gets that.
func TestAuthNegotiationServer(t *testing.T) {
	for _, c := range []struct {
		name   string
		demand []Auth
		nak    []byte
		want   string
	}{
		{"PAP", []Auth{AuthMSCHAPv2}, opt(lcpAuth, 0xC0, 0x23), ""},
		{"MS-CHAPv1", []Auth{AuthMSCHAPv2}, opt(lcpAuth, 0xC2, 0x23, 0x80), ""},
		{"CHAP-MD5", []Auth{AuthMSCHAPv2}, opt(lcpAuth, 0xC2, 0x23, 0x05), ""},
		{"what we asked", []Auth{AuthMSCHAPv2}, opt(lcpAuth, 0xC2, 0x23, 0x81), ""},
		{"EAP unlisted", []Auth{AuthMSCHAPv2}, opt(lcpAuth, 0xC2, 0x27), ""},
		{"garbage", []Auth{AuthMSCHAPv2}, opt(lcpAuth, 1), ""},
		{"MS-CHAPv2 for EAP", []Auth{AuthEAP, AuthMSCHAPv2}, opt(lcpAuth, 0xC2, 0x23, 0x81), "<auth MS-CHAPv2> "},
		{"PAP for EAP: our next", []Auth{AuthEAP, AuthMSCHAPv2}, opt(lcpAuth, 0xC0, 0x23), "<auth MS-CHAPv2> "},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLCP(LCPConfig{Demand: c.demand, Magic: fixed(1)})
			q, _ := ownRequest(start(l, at(0)))
			s := l.Input(at(1), ctl(CodeConfigureNak, q.id, c.nak))
			if c.want == "" {
				expect(t, s, `Terminate-Request id 2 "peer refused authentication"`, "(refused: peer refused authentication)")
				if l.Ended() != AuthRefused {
					t.Errorf("ended: %s", l.Ended())
				}
				return
			}
			expect(t, s, "Configure-Request id 2 "+c.want+"<magic 0x00000002>")
		})
	}
	t.Run("rejected", func(t *testing.T) {
		l := NewLCP(LCPConfig{Demand: []Auth{AuthEAP, AuthMSCHAPv2}, Magic: fixed(1)})
		q, _ := ownRequest(start(l, at(0)))
		s := l.Input(at(1), ctl(CodeConfigureReject, q.id, opt(lcpAuth, 0xC2, 0x27)))
		expect(t, s, "Configure-Request id 2 <auth MS-CHAPv2> <magic 0x00000002>")
		expect(t, l.Input(at(2), ctl(CodeConfigureReject, 2, opt(lcpAuth, 0xC2, 0x23, 0x81))),
			`Terminate-Request id 3 "peer refused authentication"`, "(refused: peer refused authentication)")
	})
	t.Run("a weak method in the list is never asked for", func(t *testing.T) {
		l := NewLCP(LCPConfig{Demand: []Auth{AuthPAP, AuthMSCHAPv1, AuthMD5, AuthMSCHAPv2}, Magic: fixed(1)})
		expect(t, start(l, at(0)), "Configure-Request id 1 <auth MS-CHAPv2> <magic 0x00000002>")
	})
	t.Run("a client that demands authentication of us", func(t *testing.T) {
		l := newServerLCP()
		start(l, at(0))
		expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 4, opt(lcpAuth, 0xC2, 0x23, 0x81))), "Configure-Reject id 4 <auth MS-CHAPv2>")
	})
}

// The client's side: a server that asks for PAP is told MS-CHAPv2, and left when it insists.
func TestAuthNegotiationClient(t *testing.T) {
	l := NewLCP(LCPConfig{Accept: []Auth{AuthMSCHAPv2}, Magic: fixed(1)})
	start(l, at(0))
	pap := opt(lcpAuth, 0xC0, 0x23)
	for n := range defaultMaxFailure {
		expect(t, l.Input(at(n), ctl(CodeConfigureRequest, uint8(n), pap)), fmt.Sprintf("Configure-Nak id %d <auth MS-CHAPv2>", n))
	}
	s := l.Input(at(9), ctl(CodeConfigureRequest, 9, pap))
	if reasonOf(s, Refused) != AuthDemanded {
		t.Errorf("%s", reading(s))
	}
	// A weak method in Accept is struck too.
	l = NewLCP(LCPConfig{Accept: []Auth{AuthPAP}, Magic: fixed(1)})
	start(l, at(0))
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 9, pap)), "Configure-Reject id 9 <auth PAP>")
}

// MRU: too small is Nak'd, what is larger than PPP's default is no more use than it.
func TestMRU(t *testing.T) {
	l := newServerLCP()
	start(l, at(0))
	ask := func(mru uint16) Step {
		return l.Input(at(1), ctl(CodeConfigureRequest, 3, opt(lcpMRU, byte(mru>>8), byte(mru))))
	}
	expect(t, ask(0), "Configure-Nak id 3 <mru 128>")
	expect(t, ask(127), "Configure-Nak id 3 <mru 128>")
	expect(t, ask(128), "Configure-Ack id 3 <mru 128>")
	if l.Results().PeerMRU != 128 {
		t.Error("128")
	}
	expect(t, ask(65535), "Configure-Ack id 3 <mru 65535>")
	if l.Results().PeerMRU != DefaultMRU {
		t.Error("65535")
	}
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 3, opt(lcpMRU, 5))), "Configure-Nak id 3 <mru 1500>")
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 4)), "Configure-Ack id 4")
	if l.Results().PeerMRU != DefaultMRU {
		t.Error("default")
	}
	// A hint below ours is followed, nonsense is not, a Reject gives the default.
	for _, c := range []struct {
		code Code
		v    []byte
		want string
	}{
		{CodeConfigureNak, []byte{0x05, 0}, "<mru 1280> "},
		{CodeConfigureNak, []byte{0x06, 0}, "<mru 1400> "},
		{CodeConfigureNak, []byte{0, 1}, "<mru 1400> "},
		{CodeConfigureNak, []byte{1}, "<mru 1400> "},
		{CodeConfigureReject, []byte{0x05, 0x78}, ""},
	} {
		l := NewLCP(LCPConfig{MRU: 1400, Magic: fixed(1)})
		q, _ := ownRequest(start(l, at(0)))
		expect(t, l.Input(at(1), ctl(c.code, q.id, opt(lcpMRU, c.v...))), "Configure-Request id 2 "+c.want+"<magic 0x00000002>")
		if c.want == "" && l.Results().LocalMRU != DefaultMRU {
			t.Error("LocalMRU after a Reject")
		}
	}
}

// Malformed known options are Nak'd with a well-formed value, duplicates rejected.
func TestOddOptions(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(0x50)})
	start(l, at(0))
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 3, opt(lcpACCM, 1, 2), opt(lcpPFC, 9), opt(lcpACFC, 9, 9), opt(lcpMagic, 1))),
		"Configure-Nak id 3 <asyncmap 0x00000000> <pcomp> <accomp> <magic 0x00000053>")
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 3, opt(lcpPFC), opt(lcpPFC), opt(lcpMagic, 0, 0, 0, 0))),
		"Configure-Reject id 3 <pcomp>")
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 3, opt(lcpMagic, 0, 0, 0, 0))),
		"Configure-Nak id 3 <magic 0x00000055>")
	expect(t, l.Input(at(1), ctl(CodeConfigureRequest, 3, opt(lcpQuality, 0xC0, 0x25, 0, 0, 0, 1), opt(9, 1), opt(0))),
		"Configure-Reject id 3 <quality 0xc02500000001> <option 9 0x01> <option 0>")
}

// All our options, Nak'd and rejected one after the other: accel-ppp rejects
// asyncmap, pcomp and accomp.
func TestOurOptions(t *testing.T) {
	l := NewLCP(LCPConfig{MRU: 1400, ACCM: true, PFC: true, ACFC: true, AskCallback: true, Magic: fixed(1)})
	expect(t, start(l, at(0)), "Configure-Request id 1 <mru 1400> <asyncmap 0x00000000> <magic 0x00000002> <pcomp> <accomp> <callback 0x06>")
	expect(t, l.Input(at(1), ctl(CodeConfigureNak, 1, opt(lcpACCM, 0, 0xA, 0, 0), opt(lcpMagic, 9, 9, 9, 9))),
		"Configure-Request id 2 <mru 1400> <asyncmap 0x000a0000> <magic 0x00000003> <pcomp> <accomp> <callback 0x06>")
	s := l.Input(at(1), ctl(CodeConfigureReject, 2, opt(lcpACCM, 0, 0xA, 0, 0), opt(lcpPFC), opt(lcpACFC), opt(lcpCallback, 6)))
	expect(t, s, "Configure-Request id 3 <mru 1400> <magic 0x00000003>")
	ackOwn(t, l, at(2), s)
	l.Input(at(3), ctl(CodeConfigureRequest, 1))
	if r := l.Results(); r.RecvPFC || r.RecvACFC || r.PeerACCM != 0xFFFFFFFF || r.SendPFC {
		t.Errorf("%+v", r)
	}
}

// A mirror: what we send comes back. Magic numbers tell, and it ends.
func TestLoopedLink(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	queue := start(l, at(0)).Send
	for n := range 100 {
		if len(queue) == 0 {
			t.Fatal("silence")
		}
		s := l.Input(at(n), queue[0].Data)
		queue = append(queue[1:], s.Send...)
		if has(s, LoopDetected) {
			if reasonOf(s, Refused) != Looped {
				t.Errorf("%s", reading(s))
			}
			return
		}
	}
	t.Fatal("never noticed")
}

// Two hosts that drew the same number once are no loop.
func TestMagicCollision(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	start(l, at(0))
	s := l.Input(at(1), ctl(CodeConfigureRequest, 1, opt(lcpMagic, 0, 0, 0, 2)))
	if len(s.Send) != 1 || Code(s.Send[0].Data[0]) != CodeConfigureNak {
		t.Fatalf("%s", reading(s))
	}
	expect(t, l.Input(at(2), ctl(CodeConfigureRequest, 2, opt(lcpMagic, 0, 0, 9, 9))), "Configure-Ack id 2 <magic 0x00000909>")
}

// A source of magic numbers that sticks does not hold us.
func TestStuckMagicSource(t *testing.T) {
	for _, n := range []uint32{0, 1, 0xFFFFFFFF} {
		l := NewLCP(LCPConfig{Magic: func() uint32 { return n }})
		for range 4 {
			old := l.magic
			if l.newMagic(); l.magic == 0 || l.magic == old {
				t.Errorf("%x: %x after %x", n, l.magic, old)
			}
		}
	}
}

// Protocol-Reject: of another protocol it is told, of LCP it ends the link, before
// Opened it is nothing.
func TestPeerProtocolReject(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	rej := func(p Proto) []byte {
		return ctl(CodeProtocolReject, 5, []byte{byte(p >> 8), byte(p)}, []byte{1, 1, 0, 4})
	}
	start(l, at(0))
	expect(t, l.Input(at(1), rej(ProtoCCP)))
	expect(t, l.ProtocolReject(at(1), ProtoIPV6CP, nil))
	l = NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	expect(t, l.Input(at(30), rej(ProtoCCP)), "(peer protocol reject: CCP)")
	expect(t, l.Input(at(30), rej(ProtoMPPE)), "(peer protocol reject: MPPE)")
	expectState(t, l, Opened)
	expect(t, l.Input(at(30), rej(ProtoLCP)), `Terminate-Request id 2 "peer rejected the protocol"`, "(down)")
}

func TestTimeRemaining(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	s := l.Input(at(30), ctl(CodeTimeRemaining, 1, u32(1), u32(3600), []byte("an hour")))
	expect(t, s, `(peer time remaining: "an hour")`)
	if s.Events[0].Seconds != 3600 {
		t.Errorf("%d", s.Events[0].Seconds)
	}
}

func TestIdentify(t *testing.T) {
	a, b := NewLCP(LCPConfig{Magic: fixed(1)}), NewLCP(LCPConfig{Magic: fixed(9)})
	expect(t, a.Identify("too early"))
	openLCP(t, a)
	openLCP(t, b)
	s := a.Identify("MSRASV5.20")
	expect(t, b.Input(at(50), s.Send[0].Data), `(peer identification: "MSRASV5.20")`)
}
