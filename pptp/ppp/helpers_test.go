package ppp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is a time so many milliseconds into a test.
func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// ctl builds a control packet.
func ctl(code Code, id uint8, data ...[]byte) []byte {
	var all []byte
	for _, d := range data {
		all = append(all, d...)
	}
	return packet{code, id, all}.Append(nil)
}

// opt builds an option.
func opt(typ uint8, value ...byte) []byte { return option{typ: typ, value: value}.Append(nil) }

// mppe builds CCP's option.
func mppe(b MPPEBits) []byte { return opt(ccpMPPE, b.Append(nil)...) }

// u32 writes n.
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// machine is what the three have in common.
type machine interface {
	Open(time.Time) Step
	LowerUp(time.Time) Step
	LowerDown(time.Time) Step
	Close(time.Time, string) Step
	Input(time.Time, []byte) Step
	Timeout(time.Time) Step
	Deadline() time.Time
	State() State
	Ended() Reason
}

// reading writes a Step: packets, then events in parentheses, then ready bits.
func reading(s Step) string {
	var out []string
	for _, p := range s.Send {
		_, text, _ := strings.Cut(p.String(), " ")
		out = append(out, text)
	}
	for _, e := range s.Events {
		text := e.Kind.String()
		if e.Reason != ReasonUnknown {
			text += ": " + e.Reason.String()
		}
		if e.Proto != ProtoUnknown {
			text += ": " + e.Proto.String()
		}
		if e.Text != "" {
			text += fmt.Sprintf(": %q", e.Text)
		}
		out = append(out, "("+text+")")
	}
	if s.RecvReady != 0 {
		out = append(out, "[ready "+s.RecvReady.String()+"]")
	}
	if s.Err != nil {
		out = append(out, "!"+s.Err.Error())
	}
	return strings.Join(out, "; ")
}

// expect compares a Step with its reading.
func expect(t *testing.T, s Step, want ...string) {
	t.Helper()
	if got := reading(s); got != strings.Join(want, "; ") {
		t.Errorf("\n got %s\nwant %s", got, strings.Join(want, "; "))
	}
}

// expectState checks where the machine stands.
func expectState(t *testing.T, m machine, want State) {
	t.Helper()
	if m.State() != want {
		t.Errorf("state %s, want %s", m.State(), want)
	}
}

// start opens a machine over a lower layer that is up.
func start(m machine, now time.Time) Step {
	m.Open(now)
	return m.LowerUp(now)
}

// ownRequest is the machine's last request in s, if any.
func ownRequest(s Step) (packet, bool) {
	for _, p := range s.Send {
		if q, err := parsePacket(p.Data); err == nil && q.code == CodeConfigureRequest {
			return q, true
		}
	}
	return packet{}, false
}

// ackOwn acknowledges the request in s as the peer would.
func ackOwn(t *testing.T, m machine, now time.Time, s Step) Step {
	t.Helper()
	q, ok := ownRequest(s)
	if !ok {
		t.Fatalf("no Configure-Request in %s", reading(s))
	}
	return m.Input(now, ctl(CodeConfigureAck, q.id, q.data))
}

// isUp reports whether s carries Up.
func has(s Step, k EventKind) bool {
	for _, e := range s.Events {
		if e.Kind == k {
			return true
		}
	}
	return false
}

// reasonOf is the reason s gives with an event of this kind.
func reasonOf(s Step, k EventKind) Reason {
	for _, e := range s.Events {
		if e.Kind == k {
			return e.Reason
		}
	}
	return ReasonUnknown
}

// fixed is a source of magic numbers that counts up from n.
func fixed(n uint32) func() uint32 {
	return func() uint32 { n++; return n }
}

// runOut fires deadlines until there are none and returns what was sent and told,
// with the times.
func runOut(t *testing.T, m machine) (steps []Step, times []time.Time) {
	t.Helper()
	for range 200 {
		d := m.Deadline()
		if d.IsZero() {
			return steps, times
		}
		steps, times = append(steps, m.Timeout(d)), append(times, d)
	}
	t.Fatal("deadlines never end")
	return nil, nil
}
