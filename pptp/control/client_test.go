package control

import (
	"testing"
	"time"
)

// TestStartRefused: every result that is not OK ends a client's connection.
func TestStartRefused(t *testing.T) {
	for result := StartResultUnknown; result <= StartBadVersion+1; result++ {
		if result == StartOK {
			continue
		}
		for code := ErrorNone; code <= ErrorPAC+1; code++ {
			c, _ := NewClient(&Config{}, t0)
			s := give(t, c, t0, "Refused{Result:"+result.String()+" Error:"+code.String()+"}; close: refused by peer",
				StartReply{Version: Version, Result: result, Error: code})
			if got, ok := s.Events[0].(Refused); !ok || got != (Refused{result, code}) {
				t.Errorf("event %+v", s.Events)
			}
		}
	}
}

// TestServerVersion: a server that agrees in another version is stopped with
// the reason for it (RFC 2637 §2.3, reason 2).
func TestServerVersion(t *testing.T) {
	for _, version := range []uint16{0, 0x0200} {
		c, _ := NewClient(&Config{}, t0)
		give(t, c, t0, "StopCCRQ 2", StartReply{Version: version, Result: StartOK})
		give(t, c, t0, "close: version", StopReply{Result: StopOK})
	}
	c, _ := NewClient(&Config{}, t0)
	give(t, c, t0, "StopCCRQ 2", StartReply{Version: 7, Result: StartOK})
	is(t, c.Timeout(at(DefaultStopTimeout)), "close: version")
}

// TestCall: OCRQ as usual clients fill it, and as its caller wants it.
func TestCall(t *testing.T) {
	c := clientUp(t, &Config{Window: 5})
	usual := OutgoingCallRequest{
		CallID: 7, Serial: 1, MinBPS: 2400, MaxBPS: 1e9,
		Bearer: BearerAny, Framing: FramingAny, Window: 5,
	}
	if got := messages(t, c.Call(t0, 7, 1, 0).Send)[0]; got != usual {
		t.Errorf("sent %+v, want %+v", got, usual)
	}
	odd := OutgoingCallRequest{CallID: 8, MinBPS: 1, Bearer: 9, Delay: 3, Phone: "110", Subaddress: "x"}
	if got := messages(t, c.CallWith(t0, odd).Send)[0]; got != odd {
		t.Errorf("sent %+v, want %+v", got, odd)
	}
}

// TestCallCannot: a call that cannot be asked for is answered all the same.
func TestCallCannot(t *testing.T) {
	const reply = "CallReply{CallID:7 PeerCallID:0 Result:general error Error:"
	const rest = " Cause:0 Speed:0 Window:0 Delay:0 Channel:0}"
	starting, _ := NewClient(&Config{}, t0)
	is(t, starting.Call(t0, 7, 1, 1), reply+"not connected"+rest)
	is(t, machine(t, "up").Call(t0, 7, 1, 1), reply+"not connected"+rest)       // a server places no calls
	is(t, machine(t, "stopping").Call(t0, 7, 1, 1), reply+"not connected"+rest) //
	is(t, machine(t, "client").Call(t0, 7, 1, 1), reply+"bad call ID"+rest)     // in use
	full := clientUp(t, &Config{MaxCalls: 1})
	is(t, full.Call(t0, 1, 1, 1), "OCRQ id 1")
	is(t, full.Call(t0, 7, 1, 1), reply+"no resource"+rest)
}

// TestCallReplies: every result but one is a no; an unknown result is too.
func TestCallReplies(t *testing.T) {
	for result := CallResultUnknown; result <= CallDoNotAccept+1; result++ {
		c := clientUp(t, &Config{})
		is(t, c.Call(t0, 7, 1, 1), "OCRQ id 7")
		peer, calls := "0", 0
		if result == CallConnected {
			peer, calls = "70", 1
		}
		give(t, c, t0, "CallReply{CallID:7 PeerCallID:"+peer+" Result:"+result.String()+" Error:no resource Cause:17 Speed:4 Window:5 Delay:6 Channel:8}",
			OutgoingCallReply{CallID: 70, PeerCallID: 7, Result: result, Error: ErrorNoResource, Cause: 17, Speed: 4, Window: 5, Delay: 6, Channel: 8})
		if c.Calls() != calls {
			t.Errorf("%s: %d calls", result, c.Calls())
		}
	}
	c := machine(t, "client")
	give(t, c, t0, "– unknown call", OutgoingCallReply{CallID: 71, PeerCallID: 8, Result: CallConnected})
	give(t, c, t0, "– out of state", OutgoingCallReply{CallID: 71, PeerCallID: 7, Result: CallGeneralError})
}

// TestSamePeerCallID: a server that gives two calls one ID keeps the first.
func TestSamePeerCallID(t *testing.T) {
	c := machine(t, "client")
	is(t, c.Call(t0, 8, 1, 1), "OCRQ id 8")
	give(t, c, t0, "CCRQ id 8; CallReply{CallID:8 PeerCallID:0 Result:general error Error:bad call ID Cause:0 Speed:0 Window:0 Delay:0 Channel:0}",
		OutgoingCallReply{CallID: 70, PeerCallID: 8, Result: CallConnected})
	is(t, c.SetLinkInfo(t0, 7, 1, 2), "SLI peer 70")
}

func TestClearVerb(t *testing.T) {
	const gone = "Result:request Error:none Cause:0 Statistics:}"
	c := machine(t, "client")
	is(t, c.Clear(t0, 70), "") // the server's ID is not ours
	is(t, c.Clear(t0, 7), "CCRQ id 7")
	is(t, c.Clear(t0, 7), "") // once
	is(t, c.SetLinkInfo(t0, 7, 1, 2), "")
	give(t, c, t0, "CallDisconnect{PeerCallID:70 CallID:7 "+gone, CallDisconnectNotify{CallID: 70, Result: DisconnectRequest})
	is(t, machine(t, "up").Clear(t0, 70), "") // a server has Disconnect

	// Before the answer: the server has no ID to confirm with and sends zero.
	c = machine(t, "client")
	is(t, c.Call(t0, 8, 1, 1), "OCRQ id 8")
	give(t, c, t0, "– unknown call", CallDisconnectNotify{Result: DisconnectRequest}) // nothing is being cleared
	is(t, c.Clear(t0, 8), "CCRQ id 8")
	give(t, c, t0, "– unknown call", CallDisconnectNotify{Result: DisconnectGeneralError, Error: ErrorBadCallID})
	give(t, c, t0, "CallDisconnect{PeerCallID:0 CallID:8 "+gone, CallDisconnectNotify{Result: DisconnectRequest})

	// The yes crosses our Clear: no reply is reported, the CDN's ID is known.
	is(t, c.Call(t0, 9, 1, 1), "OCRQ id 9")
	is(t, c.Clear(t0, 9), "CCRQ id 9")
	give(t, c, t0, "", OutgoingCallReply{CallID: 90, PeerCallID: 9, Result: CallConnected})
	give(t, c, t0, "– out of state", OutgoingCallReply{CallID: 91, PeerCallID: 9, Result: CallConnected})
	give(t, c, t0, "CallDisconnect{PeerCallID:90 CallID:9 "+gone, CallDisconnectNotify{CallID: 90, Result: DisconnectRequest})

	// The no crosses it: that is the end, and the CDN finds nothing.
	is(t, c.Call(t0, 9, 1, 1), "OCRQ id 9")
	is(t, c.Clear(t0, 9), "CCRQ id 9")
	give(t, c, t0, "CallReply{CallID:9 PeerCallID:0 Result:busy Error:none Cause:0 Speed:0 Window:0 Delay:0 Channel:0}",
		OutgoingCallReply{PeerCallID: 9, Result: CallBusy})
	if c.Calls() != 1 {
		t.Errorf("%d calls left, want the first", c.Calls())
	}
}

// TestAccelPPP: accel-ppp's CDN carries the client's call ID, not its own.
func TestAccelPPP(t *testing.T) {
	c := machine(t, "client")
	give(t, c, t0, "CallDisconnect{PeerCallID:70 CallID:7 Result:admin shutdown Error:none Cause:0 Statistics:}",
		CallDisconnectNotify{CallID: 7, Result: DisconnectAdminShutdown})
	if got := c.Deadline(); !got.Equal(at(DefaultIdleTimeout)) {
		t.Errorf("idle until %v", got.Sub(t0))
	}
}

// TestClientCleared: a PAC that clears as a PNS does is understood.
func TestClientCleared(t *testing.T) {
	c := machine(t, "client")
	give(t, c, at(time.Second), "CDN 4/0 id 7; CallClear{PeerCallID:70 CallID:7 Answered:true}", CallClearRequest{CallID: 70})
}

// TestClearOrder: confirmations without an ID belong to the calls in the order
// in which they were cleared, not called.
func TestClearOrder(t *testing.T) {
	c := clientUp(t, &Config{})
	is(t, c.Call(t0, 1, 1, 1), "OCRQ id 1")
	is(t, c.Call(t0, 2, 1, 1), "OCRQ id 2")
	is(t, c.Clear(t0, 2), "CCRQ id 2")
	is(t, c.Clear(t0, 1), "CCRQ id 1")
	// The server had accepted call 1 when our Clear of it came.
	give(t, c, t0, "CallDisconnect{PeerCallID:0 CallID:2 Result:request Error:none Cause:0 Statistics:}; "+
		"CallDisconnect{PeerCallID:10 CallID:1 Result:request Error:none Cause:0 Statistics:}",
		CallDisconnectNotify{Result: DisconnectRequest},
		OutgoingCallReply{CallID: 10, PeerCallID: 1, Result: CallConnected},
		CallDisconnectNotify{CallID: 10, Result: DisconnectRequest})
}
