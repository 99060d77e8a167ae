package control

import (
	"fmt"
	"testing"
	"time"
)

// ask sends an OCRQ and expects our owner to be asked.
func ask(t *testing.T, c *Conn, id uint16) {
	t.Helper()
	give(t, c, t0, fmt.Sprintf("CallRequest{PeerCallID:%d Serial:0 MinBPS:0 MaxBPS:0 Bearer:0 Framing:0 Window:0 Delay:0 Phone: Subaddress:}", id),
		OutgoingCallRequest{CallID: id})
}

// TestStartAnswer: what SCCRP says, and who we say we are.
func TestStartAnswer(t *testing.T) {
	cfg := &Config{HostName: "gw", Vendor: "Postern", Firmware: 3, MaxChannels: 9}
	c := NewServer(cfg, t0)
	s := give(t, c, t0, "SCCRP 1/0; Started", sccrq)
	want := StartReply{Version: Version, Result: StartOK, Identity: Identity{
		Framing: FramingAny, Bearer: BearerAny, MaxChannels: 9, Firmware: 3, HostName: "gw", Vendor: "Postern",
	}}
	if got := messages(t, s.Send)[0]; got != want {
		t.Errorf("answer %+v, want %+v", got, want)
	}
	if got, ok := s.Events[0].(Started); !ok || got.HostName != "pc" || got.Version != Version {
		t.Errorf("event %+v", s.Events[0])
	}
}

// TestVersion: RFC 2637 §2.2, result 5, with the version that we speak.
func TestVersion(t *testing.T) {
	for _, version := range []uint16{0, 1, 0x00ff, 0x0101, 0x0200, 0xffff} {
		c := NewServer(&Config{}, t0)
		s := give(t, c, t0, "SCCRP 5/0; close: version", StartRequest{Version: version})
		if got, ok := messages(t, s.Send)[0].(StartReply); !ok || got.Version != Version {
			t.Errorf("to version %#x: %+v", version, got)
		}
	}
}

func TestRefuse(t *testing.T) {
	for want, how := range map[string]struct {
		result StartResult
		code   ErrorCode
	}{
		"SCCRP 4/0": {StartNotAuthorized, ErrorNone},
		"SCCRP 3/0": {StartExists, ErrorNone},
		"SCCRP 2/4": {StartGeneralError, ErrorNoResource},
		"SCCRP 2/6": {StartOK, ErrorNone}, // no refusal: made one
		"SCCRP 2/3": {StartResultUnknown, ErrorBadValue},
	} {
		c := NewServer(&Config{}, t0)
		is(t, c.Refuse(t0, how.result, how.code), "") // nobody has asked yet
		if got := c.Deadline(); !got.Equal(at(DefaultStartTimeout)) {
			t.Errorf("deadline %v", got)
		}
		give(t, c, t0, want+"; close: refused", sccrq)
	}
	is(t, machine(t, "up").Refuse(t0, StartNotAuthorized, ErrorNone), "StopCCRQ 1")
	silent := NewServer(&Config{}, t0)
	silent.Refuse(t0, StartNotAuthorized, ErrorNone)
	is(t, silent.Timeout(at(DefaultStartTimeout)), "close: start time-out")
	// A refused version is told its version, not our mood.
	c := NewServer(&Config{}, t0)
	c.Refuse(t0, StartNotAuthorized, ErrorNone)
	give(t, c, t0, "SCCRP 5/0; close: version", StartRequest{Version: 7})
}

// TestAcceptCall: OCRP repeats the client's ID and carries ours.
func TestAcceptCall(t *testing.T) {
	c := serverUp(t, &Config{Window: 32})
	ask(t, c, 7)
	s := c.AcceptCall(t0, 7, 300, 0, 100e6)
	want := OutgoingCallReply{CallID: 300, PeerCallID: 7, Result: CallConnected, Speed: 100e6, Window: 32, Channel: 300}
	if got := messages(t, s.Send)[0]; got != want {
		t.Errorf("answer %+v, want %+v", got, want)
	}
	is(t, c.AcceptCall(t0, 7, 301, 0, 1), "") // once
	is(t, c.RefuseCall(t0, 7, CallBusy, ErrorNone), "")
	is(t, c.AcceptCall(t0, 8, 302, 0, 1), "") // never asked
	if c.Calls() != 1 {
		t.Errorf("%d calls", c.Calls())
	}
}

// TestRefuseCall: every result and error code of RFC 2637 §2.8 and §2.16 gets
// out, but none that says yes.
func TestRefuseCall(t *testing.T) {
	for result := CallResultUnknown; result <= CallDoNotAccept; result++ {
		for code := ErrorNone; code <= ErrorPAC; code++ {
			c := serverUp(t, &Config{})
			ask(t, c, 7)
			want, why := result, code
			if result < CallGeneralError {
				want = CallGeneralError
			}
			if want == CallGeneralError && code == ErrorNone {
				why = ErrorPAC // a general error needs a code
			}
			is(t, c.RefuseCall(t0, 7, result, code), fmt.Sprintf("OCRP %d/%d id 0 peer 7", want, why))
			is(t, c.RefuseCall(t0, 7, result, code), "")
			ask(t, c, 7) // the ID is free again
		}
	}
}

// TestDisconnect: every result of RFC 2637 §2.13; a general error has a code.
func TestDisconnect(t *testing.T) {
	for result, want := range map[DisconnectResult]string{
		DisconnectUnknown:       "CDN 2/6 id 70",
		DisconnectLostCarrier:   "CDN 1/0 id 70",
		DisconnectGeneralError:  "CDN 2/6 id 70",
		DisconnectAdminShutdown: "CDN 3/0 id 70",
		DisconnectRequest:       "CDN 4/0 id 70",
	} {
		c := machine(t, "up")
		s := c.Disconnect(t0, 70, result, 16)
		is(t, s, want)
		if m, ok := messages(t, s.Send)[0].(CallDisconnectNotify); !ok || m.Cause != 16 {
			t.Errorf("sent %+v", m)
		}
		is(t, c.Disconnect(t0, 70, result, 16), "")
		// The client's Call-Clear-Request has crossed ours.
		give(t, c, t0, "CDN 2/5 id 0; – unknown call", CallClearRequest{CallID: 7})
	}
	is(t, machine(t, "up").Disconnect(t0, 7, DisconnectRequest, 0), "") // the client's ID is not ours
	is(t, machine(t, "client").Disconnect(t0, 7, DisconnectRequest, 0), "")
}

// TestSeveralCalls: calls of one connection have IDs and ends of their own.
func TestSeveralCalls(t *testing.T) {
	c := serverUp(t, &Config{MaxCalls: 3})
	ask(t, c, 7)
	give(t, c, t0, "OCRP 2/5 id 0 peer 7; – duplicate call", OutgoingCallRequest{CallID: 7})
	is(t, c.AcceptCall(t0, 7, 70, 1, 1), "OCRP 1/0 id 70 peer 7")
	give(t, c, t0, "OCRP 2/5 id 0 peer 7; – duplicate call", OutgoingCallRequest{CallID: 7})
	ask(t, c, 70) // the client's 70 is not our 70
	is(t, c.AcceptCall(t0, 70, 7, 1, 1), "OCRP 1/0 id 7 peer 70")
	ask(t, c, 0) // zero is an ID like any other
	give(t, c, t0, "OCRP 2/4 id 0 peer 9; – too many calls", OutgoingCallRequest{CallID: 9})
	is(t, c.AcceptCall(t0, 0, 1, 1, 1), "OCRP 1/0 id 1 peer 0")

	give(t, c, t0, "LinkInfo{CallID:7 SendACCM:0 RecvACCM:0}", SetLinkInfo{PeerCallID: 7})
	give(t, c, t0, "CDN 4/0 id 70; CallClear{PeerCallID:7 CallID:70 Answered:true}", CallClearRequest{CallID: 7})
	give(t, c, t0, "CDN 2/5 id 0; – unknown call", CallClearRequest{CallID: 7})
	give(t, c, t0, "– unknown call", SetLinkInfo{PeerCallID: 70})
	give(t, c, t0, "– unknown call", CallDisconnectNotify{CallID: 7})
	give(t, c, t0, "LinkInfo{CallID:1 SendACCM:0 RecvACCM:0}", SetLinkInfo{PeerCallID: 1})
	ask(t, c, 7) // free again
	is(t, c.Disconnect(t0, 7, DisconnectLostCarrier, 0), "CDN 1/0 id 7")
	if c.Calls() != 2 {
		t.Errorf("%d calls", c.Calls())
	}
}

// TestClearUnanswered: a client may give up before it has our ID (RFC 2637
// §2.12); our answer, when it comes, finds nothing.
func TestClearUnanswered(t *testing.T) {
	c := serverUp(t, &Config{})
	ask(t, c, 7)
	give(t, c, t0, "CDN 4/0 id 0; CallClear{PeerCallID:7 CallID:0 Answered:false}", CallClearRequest{CallID: 7})
	is(t, c.AcceptCall(t0, 7, 70, 1, 1), "")
	is(t, c.RefuseCall(t0, 7, CallBusy, ErrorNone), "")
	if got := c.Deadline(); !got.Equal(at(DefaultIdleTimeout)) {
		t.Errorf("idle until %v", got.Sub(t0))
	}
}

// TestWindowsEnd: Windows ends a call with Set-Link-Info, Call-Clear-Request
// and no Stop, then closes TCP when it has the Call-Disconnect-Notify.
func TestWindowsEnd(t *testing.T) {
	c := machine(t, "up")
	give(t, c, at(time.Second), "LinkInfo{CallID:70 SendACCM:4294967295 RecvACCM:4294967295}; "+
		"LinkInfo{CallID:70 SendACCM:0 RecvACCM:655360}; LinkInfo{CallID:70 SendACCM:4294967295 RecvACCM:4294967295}",
		SetLinkInfo{PeerCallID: 70, SendACCM: 0xffffffff, RecvACCM: 0xffffffff},
		SetLinkInfo{PeerCallID: 70, SendACCM: 0, RecvACCM: 0x000a0000},
		SetLinkInfo{PeerCallID: 70, SendACCM: 0xffffffff, RecvACCM: 0xffffffff})
	give(t, c, at(time.Second), "CDN 4/0 id 70; CallClear{PeerCallID:7 CallID:70 Answered:true}", CallClearRequest{CallID: 7})
}
