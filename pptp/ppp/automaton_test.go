package ppp

import (
	"slices"
	"testing"
	"time"
)

// stub is a layer without options, for tests of the automaton alone.
type stub struct {
	fsm
	good bool
}

func (l *stub) forget()                            {}
func (l *stub) request(dst []byte) []byte          { return dst }
func (l *stub) refused(Code, []byte) Reason        { return ReasonUnknown }
func (l *stub) agreed() Reason                     { return ReasonUnknown }
func (l *stub) code(time.Time, packet, *Step) bool { return false }
func (l *stub) codeRejected(Code)                  {}
func (l *stub) stuck() Reason                      { return NotConverging }
func (l *stub) must() bool                         { return true }
func (l *stub) opened(time.Time)                   {}
func (l *stub) closed()                            {}
func (l *stub) judge(opts []byte, _ bool, r *reply) {
	if !l.good {
		r.rej = append(r.rej, opts...)
	}
}

func newStub() *stub { return &stub{fsm: newFSM(ProtoLCP, Timer{}.withDefaults(defaultFirst))} }

// Every state and event: the automaton goes where the RFC's row says and does what
// the row says, and stays put and silent where the row has a dash.
func TestEveryStateAndEvent(t *testing.T) {
	does := map[action]string{
		scr: "Configure-Request", sca: "Configure-Ack", scn: "Configure-Reject",
		str: "Terminate-Request", sta: "Terminate-Ack", scj: "Code-Reject",
	}
	for e := range event(numEvents) {
		for from := range State(numStates) {
			l := newStub()
			l.state, l.restarts = from, 3
			in := packet{CodeConfigureReject, 9, nil}
			var s Step
			l.event(at(0), e, l, &s, in, nil)

			cell := transitions[e][from]
			want := from
			var sent []string
			var told []EventKind
			if cell.legal {
				want = cell.next
				for _, a := range cell.actions {
					if code, ok := does[a]; ok {
						sent = append(sent, code)
					}
					if k, ok := map[action]EventKind{tlu: Up, tld: Down, tlf: Finished}[a]; ok {
						told = append(told, k)
					}
				}
			}
			var gotSent []string
			for _, p := range s.Send {
				gotSent = append(gotSent, Code(p.Data[0]).String())
			}
			var gotTold []EventKind
			for _, ev := range s.Events {
				gotTold = append(gotTold, ev.Kind)
			}
			if l.state != want || !slices.Equal(gotSent, sent) || !slices.Equal(gotTold, told) {
				t.Errorf("%s in %s: state %s sent %v told %v; want %s %v %v", eventNames[e], from, l.state, gotSent, gotTold, want, sent, told)
			}
			// RFC 1661 §4.6: the timer runs in 4 to 8 only.
			if runs := l.state >= Closing && l.state <= AckSent; !runs && !l.deadline.IsZero() {
				t.Errorf("%s in %s: a deadline in %s", eventNames[e], from, l.state)
			}
			if cell.has(scr) || cell.has(str) || cell.has(zrc) {
				if l.deadline.IsZero() {
					t.Errorf("%s in %s: no deadline", eventNames[e], from)
				}
			}
		}
	}
}

// A request without an answer: short first, then doubling, all with one identifier,
// ten of them, then the end.
func TestRetransmission(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(0x0A)})
	first := start(l, at(0))
	expect(t, first, "Configure-Request id 1 <magic 0x0000000b>")
	steps, times := runOut(t, l)
	var waits []time.Duration
	last := at(0)
	for _, d := range times {
		waits = append(waits, d.Sub(last))
		last = d
	}
	ms := time.Millisecond
	want := []time.Duration{300 * ms, 600 * ms, 1200 * ms, 2400 * ms, 3000 * ms, 3000 * ms, 3000 * ms, 3000 * ms, 3000 * ms, 3000 * ms}
	if !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	for _, s := range steps[:len(steps)-1] {
		expect(t, s, "Configure-Request id 1 <magic 0x0000000b>")
	}
	expect(t, steps[len(steps)-1], "(finished: no answer)")
	expectState(t, l, Stopped)
}

// The answer to the first copy counts after the second has gone (a path slower than
// our timer), and its time lengthens the next wait.
func TestLateAnswerCountsAndIsTimed(t *testing.T) {
	l := NewLCP(LCPConfig{MRU: 1400, Magic: fixed(1)})
	s := start(l, at(0))
	l.Timeout(at(300))
	q, _ := ownRequest(s)
	s = l.Input(at(700), ctl(CodeConfigureNak, q.id, opt(lcpMRU, 0x05, 0x00)))
	expect(t, s, "Configure-Request id 2 <mru 1280> <magic 0x00000002>")
	if got := l.Deadline().Sub(at(700)); got != 3*700*time.Millisecond {
		t.Errorf("next wait %v, want three times the 700 ms measured", got)
	}
	if l.Results().RTT != 700*time.Millisecond {
		t.Errorf("RTT %v", l.Results().RTT)
	}
}

// Ack-Rcvd: the peer has our request; we wait a whole period before a new one.
func TestAckRcvdWaitsLong(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	ackOwn(t, l, at(20), start(l, at(0)))
	expectState(t, l, AckRcvd)
	if got := l.Deadline().Sub(at(20)); got != 3*time.Second {
		t.Errorf("wait %v", got)
	}
	expect(t, l.Timeout(l.Deadline()), "Configure-Request id 2 <magic 0x00000002>")
	expectState(t, l, ReqSent)
}

// A peer that acknowledges us for ever and never asks: the table's irc would go on
// for ever; ours ends.
func TestPeerThatNeverAsks(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	s := start(l, at(0))
	for n := range 200 {
		if _, ok := ownRequest(s); ok {
			s = ackOwn(t, l, l.Deadline(), s)
			continue
		}
		d := l.Deadline()
		if d.IsZero() || l.State() < ReqSent {
			if n > 2*maxRequests+2 {
				t.Errorf("took %d steps", n)
			}
			if l.Ended() != NotConverging {
				t.Errorf("ended: %s", l.Ended())
			}
			return
		}
		s = l.Timeout(d)
	}
	t.Fatal("never ends")
}

// Refusals for ever, ours and the peer's, end after a bounded number of rounds.
func TestEndlessRefusals(t *testing.T) {
	t.Run("peer Naks for ever", func(t *testing.T) {
		l := NewLCP(LCPConfig{MRU: 1400, Magic: fixed(1)})
		s := start(l, at(0))
		for n := range 100 {
			q, ok := ownRequest(s)
			if !ok {
				if n != maxRounds+1 || reasonOf(s, Refused) != NotConverging {
					t.Errorf("after %d rounds: %s", n, reading(s))
				}
				expectState(t, l, Closing)
				return
			}
			s = l.Input(at(n*20), ctl(CodeConfigureNak, q.id, opt(lcpMagic, 1, 2, 3, 4)))
		}
		t.Fatal("never ends")
	})
	t.Run("peer asks nonsense for ever", func(t *testing.T) {
		l := NewLCP(LCPConfig{Magic: fixed(1)})
		start(l, at(0))
		for n := range 100 {
			s := l.Input(at(n), ctl(CodeConfigureRequest, uint8(n), opt(lcpMRRU, 6, 0x4E)))
			if has(s, Refused) {
				if n != 2*defaultMaxFailure {
					t.Errorf("after %d requests", n)
				}
				return
			}
			if len(s.Send) != 1 {
				t.Fatalf("%d: %s", n, reading(s))
			}
		}
		t.Fatal("never ends")
	})
	t.Run("peer repeats one bad request for ever", func(t *testing.T) {
		// Under one identifier it may be a peer that never got our answer: it has three
		// times the patience, and no more.
		l := NewLCP(LCPConfig{Magic: fixed(1)})
		start(l, at(0))
		for n := range 100 {
			if s := l.Input(at(n), ctl(CodeConfigureRequest, 5, opt(lcpMRRU, 6, 0x4E))); has(s, Refused) {
				if want := 3*(2*defaultMaxFailure-1) + 1; n != want {
					t.Errorf("after %d requests, want %d", n, want)
				}
				return
			}
		}
		t.Fatal("never ends")
	})
	t.Run("peer renegotiates for ever", func(t *testing.T) {
		l := NewLCP(LCPConfig{Magic: fixed(1)})
		openLCP(t, l)
		for n := range 100 {
			s := l.Input(at(n*20+30), ctl(CodeConfigureRequest, uint8(n), opt(lcpMRU, 5, uint8(n))))
			if !has(s, Refused) {
				ackOwn(t, l, at(n*20+40), s)
				expectState(t, l, Opened)
			} else {
				if n != maxFlaps {
					t.Errorf("after %d openings", n)
				}
				expectState(t, l, Closing)
				return
			}
		}
		t.Fatal("never ends")
	})
}

// Terminate-Request in Opened: acknowledged at once, finished one period later.
func TestPeerTerminates(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	expect(t, l.Input(at(50), ctl(CodeTerminateRequest, 7, []byte("bye"))),
		"Terminate-Ack id 7", `(peer terminate: "bye")`, "(down)")
	expectState(t, l, Stopping)
	if got := l.Deadline().Sub(at(50)); got != 3*time.Second {
		t.Errorf("wait %v", got)
	}
	expect(t, l.Input(at(60), ctl(CodeTerminateRequest, 8)), "Terminate-Ack id 8", "(peer terminate)")
	expect(t, l.Timeout(l.Deadline()), "(finished: peer terminated)")
	expectState(t, l, Stopped)
}

func TestCloseTellsThePeerWhy(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	expect(t, l.Close(at(50), "session time is up"), `Terminate-Request id 2 "session time is up"`, "(down)")
	expect(t, l.Timeout(l.Deadline()), `Terminate-Request id 2 "session time is up"`)
	expect(t, l.Input(at(900), ctl(CodeTerminateAck, 2)), "(finished: closed by us)")
	expectState(t, l, Closed)
	// Closed answers with Terminate-Ack and stays.
	expect(t, l.Input(at(950), ctl(CodeConfigureRequest, 5)), "Terminate-Ack id 5")
}

func TestCloseUnansweredEnds(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	l.Close(at(50), "x")
	steps, _ := runOut(t, l)
	if len(steps) != defaultMaxTerminate {
		t.Errorf("%d timeouts", len(steps))
	}
	expect(t, steps[len(steps)-1], "(finished: closed by us)")
}

// Code-Reject: of a basic code fatal, of another not (RFC 1661 §5.6).
func TestCodeReject(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	expect(t, l.Input(at(50), ctl(CodeCodeReject, 1, ctl(CodeIdentification, 3))))
	expectState(t, l, Opened)
	expect(t, l.Input(at(60), ctl(CodeCodeReject, 2, ctl(CodeConfigureRequest, 1))),
		`Terminate-Request id 2 "peer rejected the protocol"`, "(down)")
	expectState(t, l, Stopping)

	l = NewLCP(LCPConfig{Magic: fixed(1)})
	start(l, at(0))
	expect(t, l.Input(at(10), ctl(CodeCodeReject, 2, ctl(CodeConfigureRequest, 1))), "(finished: peer rejected the protocol)")
	expect(t, l.Input(at(10), ctl(CodeCodeReject, 2)), "!"+ErrShortPacket.Error())
}

// An unknown code is rejected, its packet quoted in no more octets than the smallest MRU.
func TestUnknownCode(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	s := l.Input(at(50), ctl(99, 3, make([]byte, 1400)))
	expect(t, s, "Code-Reject id 2 of code 99")
	if n := len(s.Send[0].Data); n > minMRU {
		t.Errorf("Code-Reject of %d octets", n)
	}
}

// What is malformed is dropped with an error and changes nothing.
func TestMalformedIsDropped(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	start(l, at(0))
	for _, b := range [][]byte{
		nil, {1}, {1, 1, 0}, {1, 1, 0, 3}, {1, 1, 0, 5},
		ctl(CodeConfigureRequest, 1, []byte{1, 0, 5, 0x78}),
		ctl(CodeConfigureRequest, 1, []byte{1, 9, 5, 0x78}),
		ctl(CodeConfigureNak, 1, []byte{1}),
		ctl(CodeConfigureReject, 1, []byte{1, 1}),
		ctl(CodeProtocolReject, 1, []byte{0x80}),
		ctl(CodeIdentification, 1, []byte{1}),
		ctl(CodeTimeRemaining, 1, []byte{1, 2, 3, 4, 5}),
	} {
		s := l.Input(at(5), b)
		if s.Err == nil || len(s.Send) != 0 || len(s.Events) != 0 {
			t.Errorf("%x: %s", b, reading(s))
		}
		expectState(t, l, ReqSent)
	}
	if d := l.Deadline(); !d.Equal(at(300)) {
		t.Errorf("deadline moved to %v", d)
	}
}

// Before the layer below is up nothing is answered.
func TestNothingBeforeUp(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	expect(t, l.Input(at(0), ctl(CodeConfigureRequest, 1)))
	l.Open(at(0))
	expect(t, l.Input(at(0), ctl(CodeTerminateRequest, 1)))
	expectState(t, l, Starting)
}

// An answer with a foreign identifier, an Ack that is not our request, and the second
// copy of an answer are dropped.
func TestForeignAnswers(t *testing.T) {
	l := NewLCP(LCPConfig{MRU: 1400, Magic: fixed(1)})
	q, _ := ownRequest(start(l, at(0)))
	expect(t, l.Input(at(1), ctl(CodeConfigureAck, q.id+1, q.data)))
	expect(t, l.Input(at(1), ctl(CodeConfigureAck, q.id, q.data[:4])))
	expect(t, l.Input(at(1), ctl(CodeConfigureAck, q.id, append(slices.Clone(q.data), 7, 2))))
	expectState(t, l, ReqSent)
	l.Input(at(2), ctl(CodeConfigureAck, q.id, q.data))
	expectState(t, l, AckRcvd)
	expect(t, l.Input(at(2), ctl(CodeConfigureAck, q.id, q.data)))
	l.Input(at(3), ctl(CodeConfigureRequest, 1))
	expectState(t, l, Opened)
	expect(t, l.Input(at(4), ctl(CodeConfigureAck, q.id, q.data)))
	expect(t, l.Input(at(4), ctl(CodeConfigureNak, q.id, opt(lcpMRU, 5, 0))))
	expectState(t, l, Opened)
}

// A peer that lost our Ack repeats itself; one that truly starts afresh is heard
// after a few repetitions; repetitions far apart never add up.
func TestRepeatedRequest(t *testing.T) {
	l := NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	again := func(ms int) Step {
		return l.Input(at(ms), ctl(CodeConfigureRequest, 77, opt(lcpMagic, u32(0xAABBCCDD)...)))
	}
	for n := range 100 { // an hour and more
		expect(t, again(1000+n*60000), "Configure-Ack id 77 <magic 0xaabbccdd>", "(repeated request)")
	}
	l = NewLCP(LCPConfig{Magic: fixed(1)})
	openLCP(t, l)
	for n := range maxRepeats {
		expect(t, again(1000+n*3000), "Configure-Ack id 77 <magic 0xaabbccdd>", "(repeated request)")
	}
	expect(t, again(13000), "Configure-Request id 2 <magic 0x00000003>", "Configure-Ack id 77 <magic 0xaabbccdd>", "(down)")
	expectState(t, l, AckSent)
}
