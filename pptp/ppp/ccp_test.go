package ppp

import (
	"testing"
	"time"
)

const (
	bitsHS = MPPEStateless | MPPE128
	bitsHL = MPPEStateless | MPPE40
)

// serverCCP is the usual policy: 128 bits, stateless, required.
func serverCCP() *CCP { return NewCCP(CCPConfig{Require: true, Allow: MPPE128}) }

func request(id uint8, opts ...[]byte) []byte { return ctl(CodeConfigureRequest, id, opts...) }

// openCCP takes a machine to Opened with +H +S both ways.
func openCCP(t *testing.T, c *CCP) {
	t.Helper()
	ackOwn(t, c, at(10), start(c, at(0)))
	s := c.Input(at(20), request(1, mppe(bitsHS)))
	expect(t, s, "Configure-Ack id 1 <mppe +H -M +S -L -D -C>", "(up)", "[ready +H -M +S -L -D -C]")
	if r := c.Results(); r.SendBits != bitsHS || r.RecvBits != bitsHS {
		t.Fatalf("%+v", r)
	}
}

// Windows 10: H alone, Nak'd to +H +S, back with that; after CCP has opened the same
// request once more, which ends pppd's session and must not end ours.
func TestWindows10CCP(t *testing.T) {
	c := serverCCP()
	s := start(c, at(0))
	expect(t, s, "Configure-Request id 1 <mppe +H -M +S -L -D -C>")
	expect(t, c.Input(at(1), goldenWith(t, ProtoCCP, "Request id 6")), "Configure-Nak id 6 <mppe +H -M +S -L -D -C>")
	ackOwn(t, c, at(2), s)
	expect(t, c.Input(at(3), goldenWith(t, ProtoCCP, "Request id 8")),
		"Configure-Ack id 8 <mppe +H -M +S -L -D -C>", "(up)", "[ready +H -M +S -L -D -C]")
	// No Down, no ready bits: nothing may be armed again, the keys go on.
	s = c.Input(at(500), goldenWith(t, ProtoCCP, "Request id 9"))
	expect(t, s, "Configure-Ack id 9 <mppe +H -M +S -L -D -C>", "(repeated request)")
	if s.Down() || c.State() != Opened || !c.Deadline().IsZero() {
		t.Errorf("state %s, deadline %v", c.State(), c.Deadline())
	}
}

// Windows 10 sends a Nak twice: the second copy changes nothing.
func TestDuplicateNak(t *testing.T) {
	c := NewCCP(CCPConfig{Require: true, Allow: MPPE128 | MPPE40})
	expect(t, start(c, at(0)), "Configure-Request id 1 <mppe +H -M +S +L -D -C>")
	nak := ctl(CodeConfigureNak, 1, mppe(bitsHS))
	expect(t, c.Input(at(1), nak), "Configure-Request id 2 <mppe +H -M +S -L -D -C>")
	expect(t, c.Input(at(2), nak))
	expectState(t, c, ReqSent)
}

// Another request after opening renegotiates as the RFC has it.
func TestDifferentRequestRenegotiates(t *testing.T) {
	c := NewCCP(CCPConfig{Require: true, Allow: MPPE128 | MPPE40})
	start(c, at(0))
	s := c.Input(at(1), ctl(CodeConfigureNak, 1, mppe(bitsHS)))
	ackOwn(t, c, at(2), s)
	c.Input(at(3), request(1, mppe(bitsHS)))
	expectState(t, c, Opened)
	s = c.Input(at(100), request(2, mppe(bitsHL)))
	expect(t, s, "Configure-Request id 3 <mppe +H -M +S +L -D -C>", "Configure-Ack id 2 <mppe +H -M -S +L -D -C>",
		"(down)", "[ready +H -M +S -L -D -C]")
	if !s.Down() {
		t.Error("Down")
	}
	expectState(t, c, AckSent)
}

// What is asked and what is answered, for each policy.
func TestCCPAnswers(t *testing.T) {
	deflate, stac, bsd := opt(26, 0x78, 0), opt(17, 0, 1, 4), opt(21, 0x2F)
	nak := func(b MPPEBits) string { return "Configure-Nak id 1 <mppe " + b.String() + ">" }
	ack := func(b MPPEBits) string { return "Configure-Ack id 1 <mppe " + b.String() + ">" }
	rej := func(b MPPEBits) string { return "Configure-Reject id 1 <mppe " + b.String() + ">" }
	only128 := CCPConfig{Require: true, Allow: MPPE128}
	both := CCPConfig{Require: true, Allow: MPPE128 | MPPE40}
	for _, c := range []struct {
		name string
		cfg  CCPConfig
		opts [][]byte
		want string
	}{
		{"pppd with require-mppe-128", only128, [][]byte{mppe(bitsHS)}, ack(bitsHS)},
		{"Windows 10, H only", only128, [][]byte{mppe(MPPEStateless)}, nak(bitsHS)},
		{"routers, no bits", only128, [][]byte{mppe(0)}, nak(bitsHS)},
		{"40 and 128", only128, [][]byte{mppe(bitsHS | MPPE40)}, nak(bitsHS)},
		{"40 and 128, both allowed", both, [][]byte{mppe(bitsHS | MPPE40)}, nak(bitsHS)},
		{"40, both allowed", both, [][]byte{mppe(bitsHL)}, ack(bitsHL)},
		{"40, 128 required", only128, [][]byte{mppe(bitsHL)}, nak(bitsHS)},
		{"56, only 40 allowed", CCPConfig{Require: true, Allow: MPPE40}, [][]byte{mppe(MPPEStateless | MPPE56)}, nak(bitsHL)},
		{"56 and 40, both allowed", CCPConfig{Require: true, Allow: MPPE40 | MPPE56}, [][]byte{mppe(MPPE56 | MPPE40 | MPPEStateless)}, nak(MPPE56 | MPPEStateless)},
		{"stateful, not allowed", only128, [][]byte{mppe(MPPE128)}, nak(bitsHS)},
		{"stateful, asked for first stateless", CCPConfig{Require: true, Allow: MPPE128, AllowStateful: true}, [][]byte{mppe(MPPE128)}, nak(bitsHS)},
		{"stateful, wanted", CCPConfig{Require: true, Allow: MPPE128, AskStateful: true}, [][]byte{mppe(MPPE128)}, ack(MPPE128)},
		{"old Windows, MPPC and all", only128, [][]byte{mppe(bitsHS | MPPE40 | MPPE56 | MPPECompress)}, nak(bitsHS)},
		{"MPPC only", only128, [][]byte{mppe(MPPECompress)}, nak(bitsHS)},
		{"obsolete bit", only128, [][]byte{mppe(bitsHS | MPPEObsolete)}, nak(bitsHS)},
		{"undefined bits", only128, [][]byte{mppe(bitsHS | 0x00F00000)}, nak(bitsHS)},
		{"short option", only128, [][]byte{opt(ccpMPPE, 1, 0)}, nak(bitsHS)},
		{"other compressors beside it", only128, [][]byte{mppe(bitsHS), deflate, opt(24, 0xAA), bsd, stac},
			"Configure-Reject id 1 <deflate 0x7800> <option 24 0xaa> <bsd 0x2f> <stac 0x000104>"},
		{"other compressors alone", only128, [][]byte{bsd}, "Configure-Reject id 1 <bsd 0x2f>"},
		{"nothing", only128, nil, nak(bitsHS)},
		{"twice", only128, [][]byte{mppe(bitsHS), mppe(bitsHL)}, rej(bitsHL)},
		{"not required, nothing", CCPConfig{Allow: MPPE128}, nil, "Configure-Ack id 1"},
		{"no encryption wanted", CCPConfig{}, [][]byte{mppe(bitsHS)}, rej(bitsHS)},
		{"required without strengths means 128", CCPConfig{Require: true}, [][]byte{mppe(MPPEStateless)}, nak(bitsHS)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewCCP(c.cfg)
			start(m, at(0))
			s := m.Input(at(1), request(1, c.opts...))
			s.RecvReady = 0
			expect(t, s, c.want)
		})
	}
}

// A peer that insists on stateful gets it after one Nak where the policy lets it.
func TestStatefulInsisted(t *testing.T) {
	c := NewCCP(CCPConfig{Require: true, Allow: MPPE128, AllowStateful: true})
	start(c, at(0))
	expect(t, c.Input(at(1), request(1, mppe(MPPE128))), "Configure-Nak id 1 <mppe +H -M +S -L -D -C>")
	s := c.Input(at(2), request(2, mppe(MPPE128)))
	expect(t, s, "Configure-Ack id 2 <mppe -H -M +S -L -D -C>", "[ready +H -M +S -L -D -C]")
	if r := c.Results(); r.SendBits != MPPE128 {
		t.Errorf("%+v", r)
	}
}

// Routers that ask for no bits for ever: five Naks, five Rejects, the end.
func TestRouterWithNoBits(t *testing.T) {
	c := serverCCP()
	start(c, at(0))
	for n := range 50 {
		s := c.Input(at(n*3000), request(uint8(n), mppe(0)))
		if has(s, Refused) {
			if n != 2*defaultMaxFailure || reasonOf(s, Refused) != EncryptionRefused {
				t.Errorf("after %d: %s", n, reading(s))
			}
			// It goes on asking; each time costs one short packet.
			for range 5 {
				if s := c.Input(at(n*3000+1), request(1, mppe(0))); len(s.Send) > 1 {
					t.Errorf("%s", reading(s))
				}
			}
			return
		}
		want := CodeConfigureNak
		if n >= defaultMaxFailure {
			want = CodeConfigureReject
		}
		if len(s.Send) != 1 || Code(s.Send[0].Data[0]) != want {
			t.Fatalf("%d: %s", n, reading(s))
		}
	}
	t.Fatal("never ends")
}

// The decryptor is armed in the Step that carries our Ack, whichever order the two
// sides' packets come in.
func TestRecvReady(t *testing.T) {
	t.Run("our Ack goes first", func(t *testing.T) {
		c := serverCCP()
		s := start(c, at(0))
		expect(t, c.Input(at(1), request(1, mppe(bitsHS))), "Configure-Ack id 1 <mppe +H -M +S -L -D -C>", "[ready +H -M +S -L -D -C]")
		expect(t, ackOwn(t, c, at(2), s), "(up)")
	})
	t.Run("the peer's request is repeated, our Ack was lost", func(t *testing.T) {
		c := serverCCP()
		start(c, at(0))
		c.Input(at(1), request(1, mppe(bitsHS)))
		expect(t, c.Input(at(9), request(1, mppe(bitsHS))), "Configure-Ack id 1 <mppe +H -M +S -L -D -C>", "[ready +H -M +S -L -D -C]")
	})
	t.Run("Nak'd after our Ack: the new request may be acknowledged and used at once", func(t *testing.T) {
		c := NewCCP(CCPConfig{Require: true, Allow: MPPE128 | MPPE40})
		start(c, at(0))
		expect(t, c.Input(at(1), request(1, mppe(bitsHL))), "Configure-Ack id 1 <mppe +H -M -S +L -D -C>", "[ready +H -M +S -L -D -C]")
		s := c.Input(at(2), ctl(CodeConfigureNak, 1, mppe(bitsHL)))
		expect(t, s, "Configure-Request id 2 <mppe +H -M -S +L -D -C>", "[ready +H -M -S +L -D -C]")
		expect(t, ackOwn(t, c, at(3), s), "(up)")
		if r := c.Results(); r.RecvBits != bitsHL || r.SendBits != bitsHL {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a refusal arms nothing", func(t *testing.T) {
		c := serverCCP()
		start(c, at(0))
		if s := c.Input(at(1), request(1, mppe(0))); s.RecvReady != 0 {
			t.Errorf("%s", reading(s))
		}
	})
}

// What a peer's Nak or Reject makes of our request.
func TestCCPOwnRequest(t *testing.T) {
	type step struct {
		code Code
		opts []byte
		want string // the next request; "" means Refused
	}
	for _, c := range []struct {
		name  string
		cfg   CCPConfig
		first MPPEBits
		steps []step
	}{
		{"Windows Naks 40+128 down to 128", CCPConfig{Require: true, Allow: MPPE128 | MPPE40}, bitsHS | MPPE40,
			[]step{{CodeConfigureNak, mppe(bitsHS), bitsHS.String()}}},
		{"down to 40", CCPConfig{Require: true, Allow: MPPE128 | MPPE40}, bitsHS | MPPE40,
			[]step{{CodeConfigureNak, mppe(bitsHL), bitsHL.String()}}},
		{"up again, H kept", CCPConfig{Require: true, Allow: MPPE128 | MPPE40}, bitsHS | MPPE40,
			[]step{{CodeConfigureNak, mppe(bitsHL), bitsHL.String()}, {CodeConfigureNak, mppe(MPPE128), bitsHS.String()}}},
		{"to what is not allowed: three times, then refused", CCPConfig{Require: true, Allow: MPPE128}, bitsHS,
			[]step{{CodeConfigureNak, mppe(bitsHL), bitsHS.String()}, {CodeConfigureNak, mppe(0), bitsHS.String()}, {CodeConfigureNak, mppe(bitsHL), ""}}},
		{"to stateful, not allowed", CCPConfig{Require: true, Allow: MPPE128}, bitsHS,
			[]step{{CodeConfigureNak, mppe(MPPE128), bitsHS.String()}}},
		{"to stateful, allowed", CCPConfig{Require: true, Allow: MPPE128, AllowStateful: true}, bitsHS,
			[]step{{CodeConfigureNak, mppe(MPPE128), MPPE128.String()}}},
		{"stateful asked, stateless suggested", CCPConfig{Require: true, Allow: MPPE128, AskStateful: true}, MPPE128,
			[]step{{CodeConfigureNak, mppe(bitsHS), bitsHS.String()}}},
		{"stateful asked of pppd without mppe-stateful, which rejects", CCPConfig{Require: true, Allow: MPPE128, AskStateful: true}, MPPE128,
			[]step{{CodeConfigureReject, mppe(MPPE128), bitsHS.String()}, {CodeConfigureReject, mppe(bitsHS), ""}}},
		{"rejected, required", CCPConfig{Require: true, Allow: MPPE128}, bitsHS,
			[]step{{CodeConfigureReject, mppe(bitsHS), ""}}},
		{"Windows' own first request, as our client imitates it", CCPConfig{Require: true, Allow: MPPE128, Quirk: QuirkHOnly}, MPPEStateless,
			[]step{{CodeConfigureNak, mppe(bitsHS), bitsHS.String()}}},
		{"a router's, whatever is answered", CCPConfig{Allow: MPPE128, Quirk: QuirkNoBits}, 0,
			[]step{{CodeConfigureNak, mppe(bitsHS), MPPEBits(0).String()}, {CodeConfigureReject, mppe(0), MPPEBits(0).String()}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewCCP(c.cfg)
			s := start(m, at(0))
			expect(t, s, "Configure-Request id 1 <mppe "+c.first.String()+">")
			for n, st := range c.steps {
				q, _ := ownRequest(s)
				s = m.Input(at(n+1), ctl(st.code, q.id, st.opts))
				if st.want == "" {
					if reasonOf(s, Refused) != EncryptionRefused {
						t.Errorf("%s", reading(s))
					}
					return
				}
				if q, ok := ownRequest(s); !ok || string(q.data) == "" {
					t.Fatalf("%s", reading(s))
				}
				if got := "<mppe " + st.want + ">"; !hasText(s, got) {
					t.Errorf("step %d: %s, want %s", n, reading(s), got)
				}
			}
		})
	}
}

func hasText(s Step, text string) bool {
	for _, p := range s.Send {
		if len(p.String()) >= len(text) && p.String()[len(p.String())-len(text):] == text {
			return true
		}
	}
	return false
}

// Not required and rejected: CCP opens with nothing, and the results say so.
func TestCCPNotRequired(t *testing.T) {
	c := NewCCP(CCPConfig{Allow: MPPE128})
	s := start(c, at(0))
	q, _ := ownRequest(s)
	s = c.Input(at(1), ctl(CodeConfigureReject, q.id, q.data))
	expect(t, s, "Configure-Request id 2")
	ackOwn(t, c, at(2), s)
	expect(t, c.Input(at(3), request(1)), "Configure-Ack id 1", "(up)")
	if r := c.Results(); r.SendBits != 0 || r.RecvBits != 0 {
		t.Errorf("%+v", r)
	}
}

// An Ack of a request without a strength encrypts nothing: a client that requires
// encryption does not take it for an agreement.
func TestAckOfNothingIsRefused(t *testing.T) {
	c := NewCCP(CCPConfig{Require: true, Allow: MPPE128, Quirk: QuirkHOnly})
	s := ackOwn(t, c, at(1), start(c, at(0)))
	if reasonOf(s, Refused) != EncryptionRefused {
		t.Errorf("%s", reading(s))
	}
}

// Every end of CCP other than ours is Refused where encryption is required, and only
// there.
func TestCCPEnds(t *testing.T) {
	for _, require := range []bool{true, false} {
		c := NewCCP(CCPConfig{Require: require, Allow: MPPE128})
		start(c, at(0))
		if s := c.Rejected(at(1)); has(s, Refused) != require || reasonOf(s, Finished) != PeerRejected {
			t.Errorf("Protocol-Reject: %s", reading(s))
		}
		c = NewCCP(CCPConfig{Require: require, Allow: MPPE128})
		start(c, at(0))
		steps, _ := runOut(t, c)
		if s := steps[len(steps)-1]; has(s, Refused) != require || reasonOf(s, Finished) != NoAnswer {
			t.Errorf("silence: %s", reading(s))
		}
		c = NewCCP(CCPConfig{Require: require, Allow: MPPE128})
		start(c, at(0))
		c.Close(at(1), "done")
		steps, _ = runOut(t, c)
		if s := steps[len(steps)-1]; has(s, Refused) || reasonOf(s, Finished) != ClosedByUs {
			t.Errorf("our end: %s", reading(s))
		}
	}
}

// CCP's first retransmission waits a second: pppd's CCP dies of a repetition.
func TestCCPFirstRetransmission(t *testing.T) {
	c := serverCCP()
	start(c, at(0))
	if got := c.Deadline().Sub(at(0)); got != time.Second {
		t.Errorf("%v", got)
	}
	// On a path known to be slower it waits longer, and never beyond the RFC's 3 s.
	for rtt, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond: time.Second, 600 * time.Millisecond: 1800 * time.Millisecond, 5 * time.Second: 3 * time.Second,
	} {
		c := NewCCP(CCPConfig{Require: true, Timer: Timer{RTT: rtt}})
		start(c, at(0))
		if got := c.Deadline().Sub(at(0)); got != want {
			t.Errorf("RTT %v: %v, want %v", rtt, got, want)
		}
	}
}

// Reset-Request both ways (RFC 1962 §3).
func TestReset(t *testing.T) {
	c := serverCCP()
	start(c, at(0))
	expect(t, c.Input(at(1), ctl(CodeResetRequest, 4))) // not open
	expect(t, c.ResetRequest(at(1)))
	c = serverCCP()
	openCCP(t, c)
	expect(t, c.Input(at(30), ctl(CodeResetRequest, 4)), "Reset-Ack id 4", "(reset request)")
	expect(t, c.ResetRequest(at(100)), "Reset-Request id 2")
	expect(t, c.ResetRequest(at(200)))
	expect(t, c.ResetRequest(at(350)), "Reset-Request id 3")
	expect(t, c.Input(at(360), ctl(CodeResetAck, 3)))
	expect(t, c.ResetRequest(at(370)), "Reset-Request id 4")
	expectState(t, c, Opened)
}

// Our client can repeat its request as Windows 10 does; its peer's Ack is no news.
func TestRepeatAsWindows(t *testing.T) {
	client, server := serverCCP(), serverCCP()
	openCCP(t, client)
	openCCP(t, server)
	s := client.Repeat()
	expect(t, s, "Configure-Request id 2 <mppe +H -M +S -L -D -C>")
	s = server.Input(at(99), s.Send[0].Data)
	expect(t, s, "Configure-Ack id 2 <mppe +H -M +S -L -D -C>", "(repeated request)")
	expect(t, client.Input(at(99), s.Send[0].Data))
	expectState(t, client, Opened)
}

func TestMPPEBits(t *testing.T) {
	if s := (bitsHS | MPPECompress).String(); s != "+H -M +S -L -D +C" {
		t.Error(s)
	}
	for b, want := range map[MPPEBits]MPPEBits{
		0: 0, MPPEStateless: 0, MPPE40 | MPPE56: MPPE56, MPPE40 | MPPE128: MPPE128, MPPE40: MPPE40,
	} {
		if b.Strongest() != want {
			t.Errorf("%s: %s", b, b.Strongest())
		}
	}
}
