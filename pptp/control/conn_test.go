package control

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

var t0 = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// at is a moment of a test.
func at(d time.Duration) time.Time { return t0.Add(d) }

// messages reads everything a Step sends; it must be whole messages.
func messages(t testing.TB, b []byte) []Message {
	t.Helper()
	var all []Message
	for len(b) > 0 {
		m, n, err := Parse(b)
		if err != nil {
			t.Fatalf("we send %x: %v", b, err)
		}
		all = append(all, m)
		b = b[n:]
	}
	return all
}

// short writes a Step in one line: answers as type, result/error and IDs, then
// events, then the end.
func short(t testing.TB, s Step, err error) string {
	t.Helper()
	var w []string
	for _, m := range messages(t, s.Send) {
		switch m := m.(type) {
		case StartReply:
			w = append(w, fmt.Sprintf("SCCRP %d/%d", m.Result, m.Error))
		case StopRequest:
			w = append(w, fmt.Sprintf("StopCCRQ %d", m.Reason))
		case StopReply:
			w = append(w, fmt.Sprintf("StopCCRP %d/%d", m.Result, m.Error))
		case EchoRequest:
			w = append(w, fmt.Sprintf("Echo-Request %d", m.Identifier))
		case EchoReply:
			w = append(w, fmt.Sprintf("Echo-Reply %d/%d id %d", m.Result, m.Error, m.Identifier))
		case OutgoingCallRequest:
			w = append(w, fmt.Sprintf("OCRQ id %d", m.CallID))
		case OutgoingCallReply:
			w = append(w, fmt.Sprintf("OCRP %d/%d id %d peer %d", m.Result, m.Error, m.CallID, m.PeerCallID))
		case IncomingCallReply:
			w = append(w, fmt.Sprintf("ICRP %d/%d id %d peer %d", m.Result, m.Error, m.CallID, m.PeerCallID))
		case CallClearRequest:
			w = append(w, fmt.Sprintf("CCRQ id %d", m.CallID))
		case CallDisconnectNotify:
			w = append(w, fmt.Sprintf("CDN %d/%d id %d", m.Result, m.Error, m.CallID))
		case SetLinkInfo:
			w = append(w, fmt.Sprintf("SLI peer %d", m.PeerCallID))
		default:
			w = append(w, fmt.Sprintf("%T%+v", m, m))
		}
	}
	for _, e := range s.Events {
		switch e := e.(type) {
		case Started:
			w = append(w, "Started")
		case Ignored:
			w = append(w, "– "+e.Why.String())
		default:
			w = append(w, strings.TrimPrefix(fmt.Sprintf("%T%+v", e, e), "control."))
		}
	}
	if s.Close != (s.Why != CauseNone) {
		t.Errorf("close %v with cause %s", s.Close, s.Why)
	}
	if s.Close {
		w = append(w, "close: "+s.Why.String())
	}
	if err != nil {
		if !s.Close && !errors.Is(err, ErrClosed) {
			t.Errorf("error %v leaves the connection open", err)
		}
		w = append(w, "error")
	}
	return strings.Join(w, "; ")
}

// give feeds messages in one piece and compares the outcome.
func give(t testing.TB, c *Conn, now time.Time, want string, in ...Message) Step {
	t.Helper()
	var b []byte
	for _, m := range in {
		b = m.Append(b)
	}
	s, err := c.Input(now, b)
	if got := short(t, s, err); got != want {
		t.Errorf("%s gives\n%s\nwant\n%s", in[0].Type(), got, want)
	}
	return s
}

// is compares the outcome of a verb.
func is(t testing.TB, s Step, want string) {
	t.Helper()
	if got := short(t, s, nil); got != want {
		t.Errorf("step\n%s\nwant\n%s", got, want)
	}
}

var (
	sccrq = StartRequest{Version: Version, Identity: Identity{HostName: "pc"}}
	sccrp = StartReply{Version: Version, Result: StartOK, Identity: Identity{HostName: "gw"}}
)

func serverUp(t testing.TB, cfg *Config) *Conn {
	t.Helper()
	c := NewServer(cfg, t0)
	give(t, c, t0, "SCCRP 1/0; Started", sccrq)
	return c
}

func clientUp(t testing.TB, cfg *Config) *Conn {
	t.Helper()
	c, _ := NewClient(cfg, t0)
	give(t, c, t0, "Started", sccrp)
	return c
}

// machine makes a machine in a state by its name in the table below.
func machine(t *testing.T, state string) *Conn {
	t.Helper()
	switch state {
	case "waiting":
		return NewServer(&Config{}, t0)
	case "starting":
		c, _ := NewClient(&Config{}, t0)
		return c
	case "up":
		c := serverUp(t, &Config{})
		give(t, c, t0, "CallRequest{PeerCallID:7 Serial:0 MinBPS:0 MaxBPS:0 Bearer:0 Framing:0 Window:0 Delay:0 Phone: Subaddress:}",
			OutgoingCallRequest{CallID: 7})
		is(t, c.AcceptCall(t0, 7, 70, 1, 1), "OCRP 1/0 id 70 peer 7")
		return c
	case "client":
		c := clientUp(t, &Config{})
		is(t, c.Call(t0, 7, 1, 1), "OCRQ id 7")
		give(t, c, t0, "CallReply{CallID:7 PeerCallID:70 Result:connected Error:none Cause:0 Speed:0 Window:0 Delay:0 Channel:0}",
			OutgoingCallReply{CallID: 70, PeerCallID: 7, Result: CallConnected})
		return c
	case "stopping":
		c := serverUp(t, &Config{})
		is(t, c.Stop(t0, StopShutdown), "StopCCRQ 3")
		return c
	}
	t.Fatalf("no state %q", state)
	return nil
}

// stateTable is the table in Conn's comment: each message in each state. "up"
// and "client" are established connections of a server and a client with one
// call, 7 at the client's end and 70 at the server's.
const stateTable = `
waiting  SCCRQ   | SCCRP 1/0; Started
starting SCCRQ   | SCCRP 3/0; – out of state
up       SCCRQ   | SCCRP 3/0; – out of state
client   SCCRQ   | SCCRP 3/0; – out of state
stopping SCCRQ   | – out of state

waiting  SCCRP   | close: not started; error
starting SCCRP   | Started
up       SCCRP   | – out of state
client   SCCRP   | – out of state
stopping SCCRP   | – out of state

waiting  StopCCRQ | StopCCRP 2/1; Stopped{Reason:local shutdown}; close: stopped by peer
starting StopCCRQ | StopCCRP 2/1; Stopped{Reason:local shutdown}; close: stopped by peer
up       StopCCRQ | StopCCRP 1/0; Stopped{Reason:local shutdown}; close: stopped by peer
client   StopCCRQ | StopCCRP 1/0; Stopped{Reason:local shutdown}; close: stopped by peer
stopping StopCCRQ | StopCCRP 1/0; Stopped{Reason:local shutdown}; close: stopped

waiting  StopCCRP | close: not started; error
starting StopCCRP | close: not started; error
up       StopCCRP | – out of state
client   StopCCRP | – out of state
stopping StopCCRP | close: stopped

waiting  EchoRequest | Echo-Reply 2/1 id 5; close: not started; error
starting EchoRequest | Echo-Reply 2/1 id 5; close: not started; error
up       EchoRequest | Echo-Reply 1/0 id 5
client   EchoRequest | Echo-Reply 1/0 id 5
stopping EchoRequest | Echo-Reply 1/0 id 5

waiting  EchoReply | close: not started; error
starting EchoReply | close: not started; error
up       EchoReply | – bad echo
client   EchoReply | – bad echo
stopping EchoReply | – out of state

waiting  OCRQ | OCRP 2/1 id 0 peer 9; close: not started; error
starting OCRQ | OCRP 2/1 id 0 peer 9; close: not started; error
up       OCRQ | CallRequest{PeerCallID:9 Serial:2 MinBPS:0 MaxBPS:0 Bearer:0 Framing:0 Window:0 Delay:0 Phone: Subaddress:}
client   OCRQ | OCRP 7/0 id 0 peer 9; – wrong role
stopping OCRQ | OCRP 2/1 id 0 peer 9; – out of state

waiting  OCRP | close: not started; error
starting OCRP | close: not started; error
up       OCRP | – wrong role
client   OCRP | – out of state
stopping OCRP | – out of state

waiting  ICRQ | ICRP 2/1 id 0 peer 9; close: not started; error
starting ICRQ | ICRP 2/1 id 0 peer 9; close: not started; error
up       ICRQ | ICRP 3/0 id 0 peer 9; IncomingCall{PeerCallID:9 Dialed:1 Dialing:2}
client   ICRQ | ICRP 3/0 id 0 peer 9; IncomingCall{PeerCallID:9 Dialed:1 Dialing:2}
stopping ICRQ | ICRP 2/1 id 0 peer 9; – out of state

waiting  ICRP | close: not started; error
starting ICRP | close: not started; error
up       ICRP | – out of state
client   ICRP | – out of state
stopping ICRP | – out of state

waiting  ICCN | close: not started; error
starting ICCN | close: not started; error
up       ICCN | – out of state
client   ICCN | – out of state
stopping ICCN | – out of state

waiting  CCRQ | CDN 2/1 id 0; close: not started; error
starting CCRQ | CDN 2/1 id 0; close: not started; error
up       CCRQ | CDN 4/0 id 70; CallClear{PeerCallID:7 CallID:70 Answered:true}
client   CCRQ | CDN 2/5 id 0; – unknown call
stopping CCRQ | – out of state

waiting  CDN | close: not started; error
starting CDN | close: not started; error
up       CDN | CallDisconnect{PeerCallID:7 CallID:70 Result:lost carrier Error:none Cause:3 Statistics:s}
client   CDN | CallDisconnect{PeerCallID:70 CallID:7 Result:lost carrier Error:none Cause:3 Statistics:s}
stopping CDN | – out of state

waiting  WEN | close: not started; error
starting WEN | close: not started; error
up       WEN | – unknown call
client   WEN | WANError{CallID:7 WANErrors:{CRC:1 Framing:2 HardwareOverruns:3 BufferOverruns:4 Timeouts:5 Alignment:6}}
stopping WEN | – out of state

waiting  SLI | close: not started; error
starting SLI | close: not started; error
up       SLI | LinkInfo{CallID:70 SendACCM:1 RecvACCM:2}
client   SLI | – unknown call
stopping SLI | – out of state

waiting  other | close: not started; error
starting other | close: not started; error
up       other | – not defined
client   other | – not defined
stopping other | – out of state

waiting  management | close: not started; error
starting management | close: not started; error
up       management | – not control
client   management | – not control
stopping management | – out of state
`

var stateMessages = map[string]Message{
	"SCCRQ": sccrq, "SCCRP": sccrp,
	"StopCCRQ": StopRequest{Reason: StopShutdown}, "StopCCRP": StopReply{Result: StopOK},
	"EchoRequest": EchoRequest{Identifier: 5}, "EchoReply": EchoReply{Identifier: 5, Result: EchoOK},
	"OCRQ": OutgoingCallRequest{CallID: 9, Serial: 2},
	"OCRP": OutgoingCallReply{CallID: 70, PeerCallID: 7, Result: CallConnected},
	"ICRQ": IncomingCallRequest{CallID: 9, Dialed: "1", Dialing: "2"},
	"ICRP": IncomingCallReply{Result: IncomingConnect}, "ICCN": IncomingCallConnected{PeerCallID: 7},
	"CCRQ":       CallClearRequest{CallID: 7},
	"CDN":        CallDisconnectNotify{CallID: 7, Result: DisconnectLostCarrier, Cause: 3, Statistics: "s"},
	"WEN":        WANErrorNotify{PeerCallID: 7, WANErrors: WANErrors{1, 2, 3, 4, 5, 6}},
	"SLI":        SetLinkInfo{PeerCallID: 70, SendACCM: 1, RecvACCM: 2},
	"other":      Unknown{Code: 16},
	"management": Unknown{Code: 1, Management: true},
}

func TestStates(t *testing.T) {
	rows := 0
	for line := range strings.Lines(stateTable) {
		head, want, ok := strings.Cut(strings.TrimSpace(line), "|")
		if !ok {
			continue
		}
		rows++
		state, name, _ := strings.Cut(strings.TrimSpace(head), " ")
		name = strings.TrimSpace(name)
		m := stateMessages[name]
		if m == nil {
			t.Fatalf("no message %q", name)
		}
		if state == "client" && name == "CDN" {
			m = CallDisconnectNotify{CallID: 70, Result: DisconnectLostCarrier, Cause: 3, Statistics: "s"}
		}
		t.Run(state+" "+name, func(t *testing.T) {
			c := machine(t, state)
			s := give(t, c, t0, strings.TrimSpace(want), m)
			if closed := c.State() == StateClosed; closed != s.Close {
				t.Errorf("state %s, close %v", c.State(), s.Close)
			}
		})
	}
	if want := 5 * len(stateMessages); rows != want {
		t.Errorf("%d rows, want %d", rows, want)
	}
}

func TestEnums(t *testing.T) {
	enum(t, StateStopping, "closed", "waiting", "starting", "up", "stopping")
}

// TestClosed: a closed connection answers nothing, waits for nothing, and
// says so.
func TestClosed(t *testing.T) {
	c := serverUp(t, &Config{})
	give(t, c, t0, "StopCCRP 1/0; Stopped{Reason:general}; close: stopped by peer",
		StopRequest{Reason: StopGeneral}, EchoRequest{}) // what follows the stop is not read
	if s, err := c.Input(t0, []byte{0}); !errors.Is(err, ErrClosed) || !reflect.DeepEqual(s, Step{}) {
		t.Errorf("input: %+v, %v", s, err)
	}
	for name, s := range map[string]Step{
		"Timeout": c.Timeout(at(time.Hour)), "Stop": c.Stop(t0, StopGeneral),
		"Refuse":     c.Refuse(t0, StartNotAuthorized, ErrorNone),
		"AcceptCall": c.AcceptCall(t0, 1, 1, 1, 1), "RefuseCall": c.RefuseCall(t0, 1, CallBusy, ErrorNone),
		"Disconnect": c.Disconnect(t0, 1, DisconnectRequest, 0), "Clear": c.Clear(t0, 1),
		"SetLinkInfo": c.SetLinkInfo(t0, 1, 0, 0),
	} {
		if !reflect.DeepEqual(s, Step{}) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if d := c.Deadline(); !d.IsZero() {
		t.Errorf("deadline %v", d)
	}
}

// TestMalformedInput: every golden packet that cannot be read ends the
// connection in every state with the right error, and what can still be said
// is said.
func TestMalformedInput(t *testing.T) {
	want := map[string]map[string]string{
		"magic":  {},
		"kind":   {"up": "StopCCRQ 1; ", "client": "StopCCRQ 1; "},
		"length": {"up": "StopCCRQ 1; ", "client": "StopCCRQ 1; "},
	}
	seen := 0
	for _, file := range goldenFiles {
		for _, p := range readGolden(t, file) {
			answers, ok := want[p.fails]
			if !ok {
				continue
			}
			seen++
			for _, state := range []string{"waiting", "starting", "up", "client", "stopping"} {
				c := machine(t, state)
				s, err := c.Input(t0, p.octets)
				if !errors.Is(err, parseErrors[p.fails]) {
					t.Errorf("%s in %s: error %v", p.where, state, err)
				}
				expect := answers[state] + "close: malformed; error"
				if state == "waiting" && strings.HasPrefix(p.name, "SCCRQ") {
					expect = "SCCRP 2/2; " + expect // bad format
				}
				if got := short(t, s, err); got != expect {
					t.Errorf("%s in %s: %s, want %s", p.where, state, got, expect)
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d malformed packets", seen)
	}
}

// TestBadValue: a field out of range is answered, and the connection lives.
func TestBadValue(t *testing.T) {
	seen := 0
	for _, file := range goldenFiles {
		for _, p := range readGolden(t, file) {
			if p.fails != "value" {
				continue
			}
			seen++
			for state, role := range map[string]string{"up": "OCRP 2/3", "client": "OCRP 7/0"} {
				c := machine(t, state)
				s, err := c.Input(t0, p.octets)
				want := role + " id 0 peer 9; – bad value"
				if role == "OCRP 7/0" {
					want = role + " id 0 peer 9; – wrong role"
				}
				if file == "incoming.txt" {
					want = "ICRP 2/3 id 0 peer 5; – bad value"
				}
				if got := short(t, s, err); got != want {
					t.Errorf("%s in %s: %s, want %s", p.where, state, got, want)
				}
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d packets with a bad value, want 4", seen)
	}
}

// TestChunks: any cut of the stream gives the same as the stream in one piece,
// and what waits is never more than one message.
func TestChunks(t *testing.T) {
	var stream []byte
	for _, m := range []Message{
		sccrq, EchoRequest{Identifier: 1},
		OutgoingCallRequest{CallID: 1}, SetLinkInfo{PeerCallID: 5},
		Unknown{Code: 77, Body: make([]byte, 200)}, Unknown{Management: true},
		IncomingCallRequest{CallID: 3}, CallClearRequest{CallID: 1},
		StopRequest{Reason: StopGeneral},
	} {
		stream = m.Append(stream)
	}
	whole := NewServer(&Config{}, t0)
	want := feed(t, whole, stream, func() int { return len(stream) })
	if !strings.HasSuffix(want, "close: stopped by peer") {
		t.Fatalf("stream ends with %s", want)
	}
	for size := 1; size <= 300; size++ {
		if got := feed(t, NewServer(&Config{}, t0), stream, func() int { return size }); got != want {
			t.Fatalf("chunks of %d give\n%s\nwant\n%s", size, got, want)
		}
	}
}

// feed feeds a stream in chunks to a machine nobody else talks to, and writes
// down all that happens.
func feed(t testing.TB, c *Conn, stream []byte, chunk func() int) string {
	t.Helper()
	var all Step
	for len(stream) > 0 {
		n := min(max(chunk(), 1), len(stream))
		s, err := c.Input(t0, bytes.Clone(stream[:n]))
		stream = stream[n:]
		all.Send = append(all.Send, s.Send...)
		all.Events = append(all.Events, s.Events...)
		all.Close, all.Why = s.Close, s.Why
		bounded(t, c)
		if s.Close {
			return short(t, all, err)
		}
		if err != nil {
			t.Fatalf("error %v, and not closed", err)
		}
	}
	return short(t, all, nil)
}

// bounded checks that a machine keeps no more than it may.
func bounded(t testing.TB, c *Conn) {
	t.Helper()
	if cap(c.buf) > maxMessage || (c.buf != nil && len(c.buf) == 0) {
		t.Fatalf("buffer of %d, %d used", cap(c.buf), len(c.buf))
	}
	if len(c.calls) > c.cfg.maxCalls() {
		t.Fatalf("%d calls", len(c.calls))
	}
	if c.state == StateClosed && (c.buf != nil || c.calls != nil) {
		t.Fatalf("closed, and keeps %d octets and %d calls", len(c.buf), len(c.calls))
	}
}

// TestStartTimeout: half-open ends, for both roles, and octets that are no
// whole message do not prolong it.
func TestStartTimeout(t *testing.T) {
	cfg := &Config{StartTimeout: 10 * time.Second}
	dial, s := NewClient(cfg, t0)
	if got := messages(t, s.Send); len(got) != 1 || got[0].Type() != TypeStartRequest {
		t.Errorf("first step sends %v", got)
	}
	for _, c := range []*Conn{NewServer(cfg, t0), dial} {
		if got := c.Deadline(); !got.Equal(at(10 * time.Second)) {
			t.Errorf("deadline %v", got)
		}
		for i, octet := range sccrp.Append(nil)[:9] {
			if s, err := c.Input(at(time.Duration(i)*time.Second), []byte{octet}); err != nil || s.Close {
				t.Fatalf("octet %d: %+v, %v", i, s, err)
			}
		}
		is(t, c.Timeout(at(9999*time.Millisecond)), "")
		is(t, c.Timeout(at(10*time.Second)), "close: start time-out")
		bounded(t, c)
	}
	never := NewServer(&Config{StartTimeout: -1}, t0)
	if got := never.Deadline(); !got.IsZero() {
		t.Errorf("without a time-out: deadline %v", got)
	}
}

// TestDefaults: the zero Config has the times that its comment promises.
func TestDefaults(t *testing.T) {
	c := NewServer(&Config{}, t0)
	if got := c.Deadline(); !got.Equal(at(30 * time.Second)) {
		t.Errorf("half-open until %v", got.Sub(t0))
	}
	give(t, c, at(time.Second), "SCCRP 1/0; Started", sccrq)
	if got := c.Deadline(); !got.Equal(at(31 * time.Second)) {
		t.Errorf("idle until %v", got.Sub(t0))
	}
	c.Input(at(2*time.Second), OutgoingCallRequest{CallID: 1}.Append(nil))
	if got := c.Deadline(); !got.Equal(at(62 * time.Second)) {
		t.Errorf("echo at %v", got.Sub(t0))
	}
	late := NewServer(&Config{IdleTimeout: -1}, t0)
	give(t, late, at(20*time.Second), "SCCRP 1/0; Started", sccrq)
	if got := late.Deadline(); !got.Equal(at(80 * time.Second)) {
		t.Errorf("first echo at %v: the start is a sign of life", got.Sub(t0))
	}
	s := c.AcceptCall(at(3*time.Second), 1, 1, 0, 0)
	if m, ok := messages(t, s.Send)[0].(OutgoingCallReply); !ok || m.Window != DefaultWindow {
		t.Errorf("accepted with %+v", m)
	}
}

// TestKeepAlive: silence is answered by an Echo-Request, more silence by the
// end; any message is a sign of life (RFC 2637 §3.1.4).
func TestKeepAlive(t *testing.T) {
	cfg := &Config{EchoInterval: 60 * time.Second, EchoTimeout: 20 * time.Second, IdleTimeout: -1}
	sec := func(n int) time.Time { return at(time.Duration(n) * time.Second) }
	for name, up := range map[string]func(testing.TB, *Config) *Conn{"server": serverUp, "client": clientUp} {
		t.Run(name, func(t *testing.T) {
			c := up(t, cfg)
			is(t, c.Timeout(sec(59)), "")
			is(t, c.Timeout(sec(60)), "Echo-Request 1")
			is(t, c.Timeout(sec(60)), "") // asked once
			if got := c.Deadline(); !got.Equal(sec(80)) {
				t.Errorf("waits for the answer until %v", got.Sub(t0))
			}
			give(t, c, sec(61), "", EchoReply{Identifier: 1, Result: EchoOK})
			if got := c.Deadline(); !got.Equal(sec(121)) {
				t.Errorf("asks again at %v", got.Sub(t0))
			}
			is(t, c.Timeout(sec(121)), "Echo-Request 2")
			give(t, c, sec(122), "– not defined", Unknown{Code: 99})           // alive all the same
			give(t, c, sec(123), "", EchoReply{Identifier: 2, Result: EchoOK}) // late, and right
			is(t, c.Timeout(sec(183)), "Echo-Request 3")
			give(t, c, sec(184), "– bad echo", EchoReply{Identifier: 99, Result: EchoOK})
			is(t, c.Timeout(sec(244)), "Echo-Request 4")
			give(t, c, sec(245), "– bad echo", EchoReply{Identifier: 4, Result: EchoError, Error: ErrorNotConnected})
			is(t, c.Timeout(sec(263)), "")
			is(t, c.Timeout(sec(264)), "close: echo time-out")
		})
	}
	quiet := serverUp(t, &Config{EchoInterval: -1, IdleTimeout: -1})
	if got := quiet.Deadline(); !got.IsZero() {
		t.Errorf("without echo: deadline %v", got)
	}
	patient := serverUp(t, &Config{EchoInterval: time.Second, EchoTimeout: -1, IdleTimeout: -1})
	is(t, patient.Timeout(sec(1)), "Echo-Request 1")
	is(t, patient.Timeout(sec(9999)), "")
}

// TestIdle: without a call the connection is stopped, and closed though the
// peer does not answer.
func TestIdle(t *testing.T) {
	cfg := &Config{IdleTimeout: 30 * time.Second, StopTimeout: 3 * time.Second, EchoInterval: -1}
	sec := func(n int) time.Time { return at(time.Duration(n) * time.Second) }

	c := serverUp(t, cfg)
	give(t, c, sec(20), "Echo-Reply 1/0 id 0", EchoRequest{}) // talking is not calling
	is(t, c.Timeout(sec(29)), "")
	is(t, c.Timeout(sec(30)), "StopCCRQ 1")
	if c.State() != StateStopping || !c.Deadline().Equal(sec(33)) {
		t.Errorf("%s until %v", c.State(), c.Deadline().Sub(t0))
	}
	is(t, c.Timeout(sec(32)), "")
	is(t, c.Timeout(sec(33)), "close: idle")

	c = serverUp(t, cfg)
	is(t, c.Timeout(sec(30)), "StopCCRQ 1")
	give(t, c, sec(31), "close: idle", StopReply{Result: StopOK})

	// A call, even unanswered, keeps the connection; its end starts the timer.
	c = serverUp(t, cfg)
	c.Input(sec(10), OutgoingCallRequest{CallID: 1}.Append(nil))
	c.Input(sec(11), OutgoingCallRequest{CallID: 2}.Append(nil))
	is(t, c.Timeout(sec(50)), "")
	is(t, c.RefuseCall(sec(51), 1, CallBusy, ErrorNone), "OCRP 4/0 id 0 peer 1")
	is(t, c.AcceptCall(sec(51), 2, 20, 1, 1), "OCRP 1/0 id 20 peer 2")
	is(t, c.Timeout(sec(52)), "")
	is(t, c.Disconnect(sec(55), 20, DisconnectAdminShutdown, 0), "CDN 3/0 id 20")
	is(t, c.Timeout(sec(84)), "")
	is(t, c.Timeout(sec(85)), "StopCCRQ 1")

	// A server that never confirms our Clear does not keep us either.
	c = clientUp(t, cfg)
	is(t, c.Call(sec(5), 1, 1, 1), "OCRQ id 1")
	is(t, c.Timeout(sec(40)), "")
	is(t, c.Clear(sec(41), 1), "CCRQ id 1")
	is(t, c.Timeout(sec(70)), "")
	is(t, c.Timeout(sec(71)), "StopCCRQ 1")

	// And one that does confirm does not start the timer anew.
	c = clientUp(t, cfg)
	is(t, c.Call(sec(5), 1, 1, 1), "OCRQ id 1")
	is(t, c.Clear(sec(6), 1), "CCRQ id 1")
	give(t, c, sec(20), "CallDisconnect{PeerCallID:0 CallID:1 Result:request Error:none Cause:0 Statistics:}",
		CallDisconnectNotify{Result: DisconnectRequest})
	if c.calls != nil {
		t.Errorf("idle, and keeps a table of %d", cap(c.calls))
	}
	is(t, c.Timeout(sec(36)), "StopCCRQ 1")

	// Waiting for an echo does not put it off.
	c = serverUp(t, &Config{IdleTimeout: 30 * time.Second, EchoInterval: 20 * time.Second})
	is(t, c.Timeout(sec(20)), "Echo-Request 1")
	is(t, c.Timeout(sec(30)), "StopCCRQ 1")
}

// TestStopVerb: stopping needs something that has started, and takes the calls
// along.
func TestStopVerb(t *testing.T) {
	is(t, machine(t, "waiting").Stop(t0, StopShutdown), "close: stopped")
	is(t, machine(t, "starting").Stop(t0, StopShutdown), "close: stopped")
	c := machine(t, "up")
	is(t, c.Stop(t0, StopShutdown), "StopCCRQ 3")
	is(t, c.Stop(t0, StopShutdown), "") // once
	if c.Calls() != 0 {
		t.Errorf("%d calls left", c.Calls())
	}
	is(t, c.Disconnect(t0, 70, DisconnectAdminShutdown, 0), "")
	is(t, c.Timeout(at(DefaultStopTimeout)), "close: stopped")
	is(t, machine(t, "up").Stop(t0, StopReasonUnknown), "StopCCRQ 1") // zero is no reason
}

// TestTimeBackwards: a clock that is set back neither hurries nor stops a
// machine.
func TestTimeBackwards(t *testing.T) {
	c := serverUp(t, &Config{IdleTimeout: -1})
	c.Input(at(10*time.Second), EchoRequest{}.Append(nil))
	is(t, c.Timeout(at(-time.Hour)), "")
	c.Input(at(-time.Hour), EchoRequest{}.Append(nil))
	if got := c.Deadline(); !got.Equal(at(70 * time.Second)) {
		t.Errorf("echo at %v", got.Sub(t0))
	}
	is(t, c.Timeout(at(70*time.Second)), "Echo-Request 1")
}

// TestSize: 20,000 idle connections live in one process.
func TestSize(t *testing.T) {
	if got := unsafe.Sizeof(Conn{}); got > 128 {
		t.Errorf("Conn has %d octets; 128 is what it may have", got)
	}
	cfg := &Config{}
	if got := testing.AllocsPerRun(100, func() { NewServer(cfg, t0) }); got > 1 {
		t.Errorf("NewServer allocates %v times", got)
	}
	c := serverUp(t, cfg)
	if c.buf != nil || c.calls != nil {
		t.Errorf("idle, and keeps buffer %d and calls %d", cap(c.buf), cap(c.calls))
	}
	c.Input(t0, []byte{0})
	bounded(t, c)
	c.Input(t0, []byte{16})
	c.Input(t0, EchoRequest{}.Append(nil)[2:])
	if c.buf != nil {
		t.Errorf("keeps a buffer of %d between messages", cap(c.buf))
	}
}

// TestRewrite: the hook changes and suppresses what is sent.
func TestRewrite(t *testing.T) {
	cfg := &Config{Rewrite: func(m Message) Message {
		switch m := m.(type) {
		case StartRequest:
			m.Version, m.HostName = 0x0200, "quirk"
			return m
		case EchoReply:
			return nil
		}
		return m
	}}
	c, s := NewClient(cfg, t0)
	if m, ok := messages(t, s.Send)[0].(StartRequest); !ok || m.Version != 0x0200 || m.HostName != "quirk" {
		t.Errorf("sent %+v", m)
	}
	give(t, c, t0, "Started", sccrp)
	give(t, c, t0, "", EchoRequest{})
}

// FuzzConn feeds anything in any chunks to both roles, and lets their owners
// do anything meanwhile.
func FuzzConn(f *testing.F) {
	up := [2][]byte{sccrq.Append(nil), sccrp.Append(nil)}
	seed(f, func(b []byte) {
		f.Add(b, uint64(1))
		f.Add(append(bytes.Clone(up[0]), b...), uint64(2))
		f.Add(append(bytes.Clone(up[1]), b...), uint64(3))
		f.Add(append(append(bytes.Clone(up[0]), OutgoingCallRequest{CallID: 7}.Append(nil)...), b...), uint64(4))
	})
	cfg := &Config{MaxCalls: 3}
	f.Fuzz(func(t *testing.T, stream []byte, choice uint64) {
		for _, make := range []func() *Conn{
			func() *Conn { return NewServer(cfg, t0) },
			func() *Conn { c, _ := NewClient(cfg, t0); return c },
		} {
			rnd := rand.New(rand.NewPCG(choice, 1))
			chunk := func() int { return rnd.IntN(40) }
			cut, whole := feed(t, make(), stream, chunk), feed(t, make(), stream, func() int { return len(stream) })
			if cut != whole {
				t.Fatalf("in chunks\n%s\nin one piece\n%s", cut, whole)
			}
			meddle(t, make(), stream, rnd)
		}
	})
}

// meddle feeds a stream to a machine whose owner uses every verb at random.
func meddle(t *testing.T, c *Conn, stream []byte, rnd *rand.Rand) {
	now, was := t0, c.State()
	check := func(s Step, err error) {
		t.Helper()
		messages(t, s.Send)
		bounded(t, c)
		if s.Close != (c.State() == StateClosed && was != StateClosed) {
			t.Fatalf("state %s, before %s, after %+v", c.State(), was, s)
		}
		if was == StateClosed && s.Send != nil {
			t.Fatalf("closed, and sends %x", s.Send)
		}
		was = c.State()
		if d := c.Deadline(); c.State() == StateClosed && !d.IsZero() {
			t.Fatalf("closed, with deadline %v", d)
		}
	}
	for len(stream) > 0 && c.State() != StateClosed {
		n := min(1+rnd.IntN(250), len(stream))
		s, err := c.Input(now, stream[:n])
		if err != nil && !s.Close {
			t.Fatalf("error %v leaves the connection open", err)
		}
		check(s, err)
		stream = stream[n:]
		id, own := uint16(rnd.IntN(10)), uint16(rnd.IntN(10))
		switch rnd.IntN(9) {
		case 0:
			check(c.AcceptCall(now, id, own, 1, 1), nil)
		case 1:
			check(c.RefuseCall(now, id, CallResult(rnd.IntN(9)), ErrorCode(rnd.IntN(9))), nil)
		case 2:
			check(c.Disconnect(now, own, DisconnectResult(rnd.IntN(6)), 0), nil)
		case 3:
			check(c.Call(now, own, 1, 1), nil)
		case 4:
			check(c.Clear(now, own), nil)
		case 5:
			check(c.SetLinkInfo(now, own, 1, 1), nil)
		case 6:
			if d := c.Deadline(); d.After(now) {
				now = d
			}
			check(c.Timeout(now), nil)
			if d := c.Deadline(); !d.IsZero() && !d.After(now) {
				t.Fatalf("%s: still due after Timeout: %v", c.State(), d.Sub(now))
			}
		case 7:
			if rnd.IntN(10) == 0 {
				check(c.Stop(now, StopGeneral), nil)
			}
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	c := serverUp(b, &Config{})
	in := EchoRequest{Identifier: 1}.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Input(t0, in); err != nil {
			b.Fatal(err)
		}
	}
}
