package gre

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"
)

var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// TestWindow runs scripts: a number is received, "+10ms" passes time and calls
// Timeout where it is due. Behind the arrow stands what was delivered and judged.
func TestWindow(t *testing.T) {
	for _, tt := range []struct{ name, script, delivered, verdicts string }{
		{"from 0", "0 1 2", "0 1 2", "delivered delivered delivered"},
		{"from 1, as Linux", "1 2", "1 2", "delivered delivered"},
		{"from anywhere, and wraps", "4294967294 4294967295 0 1", "4294967294 4294967295 0 1",
			"delivered delivered delivered delivered"},
		{"Windows' 10 before 9", "8 10 9 11", "8 9 10 11", "delivered held delivered delivered"},
		{"a hole over the wrap", "4294967294 1 0 4294967295", "4294967294 4294967295 0 1",
			"delivered held held delivered"},
		{"the first two turned round", "1 0 2", "1 0 2", "delivered late delivered"},
		{"twice", "0 0 1 1 0", "0 1", "delivered duplicate delivered duplicate duplicate"},
		{"twice while held", "0 2 2 1 2", "0 1 2", "delivered held duplicate delivered duplicate"},
		{"given up after 30 ms", "0 2 3 +29ms +1ms 1 1", "0 2 3 1", "delivered held held late duplicate"},
		{"each hole has its time", "0 2 +20ms 4 +10ms +20ms", "0 2 4", "delivered held held"},
		{"a hole before one that is over", "0 4 +20ms 2 +10ms", "0 2 4", "delivered held held"},
		{"no more than eight", "0 2 3 4 5 6 7 8 9 10", "0 2 3 4 5 6 7 8 9 10",
			"delivered held held held held held held held held jumped"},
		{"full, with two holes", "0 2 4 5 6 7 8 9 10 12", "0 2",
			"delivered held held held held held held held held held"},
		{"full, the ninth comes first", "0 3 4 5 6 7 8 9 10 2", "0 2 3 4 5 6 7 8 9 10",
			"delivered held held held held held held held held jumped"},
		{"a lost burst", "0 2 50 51", "0 2 50 51", "delivered held jumped delivered"},
		{"late is 64 wide", "0 100 36 35 37 36", "0 100 37", "delivered jumped too old too old late too old"},
		{"as far as is believed", "0 4097 4098", "0 4097 4098", "delivered jumped delivered"},
		{"one packet too far", "0 4098 1 2", "0 1 2", "delivered too far delivered delivered"},
		{"too far, confirmed", "0 9000 9001 9002", "0 9001 9002", "delivered too far jumped delivered"},
		{"too far, another between", "0 9000 1 9001 9002", "0 1 9002",
			"delivered too far delivered too far jumped"},
		{"too far, one held between", "0 9000 2 9001 1", "0 1 2",
			"delivered too far held too far delivered"},
		{"too far, a burst lost between", "0 9000 100 9001", "0 100", "delivered too far jumped too far"},
		{"half the space is behind", "0 2147483649 2147483650", "0", "delivered too old too old"},
		{"begins again", "5000 0 1 2 5001", "5000 5001", "delivered too old too old too old delivered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w Window
			var delivered, verdicts []string
			deliver := func(b []byte) { delivered = append(delivered, string(b)) }
			now := epoch
			for word := range strings.FieldsSeq(tt.script) {
				if d, err := time.ParseDuration(word); err == nil && word[0] == '+' {
					now = now.Add(d)
					due := !w.Deadline().IsZero() && !now.Before(w.Deadline())
					before := len(delivered)
					if n := w.Timeout(now, deliver); n != len(delivered)-before || due != (n > 0) {
						t.Errorf("%s: Timeout returned %d, due %v, delivered %v", word, n, due, delivered[before:])
					}
					continue
				}
				seq, err := strconv.ParseUint(word, 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				payload := []byte(word)
				verdicts = append(verdicts, w.Receive(now, uint32(seq), payload, deliver).String())
				for i := range payload { // the buffer is used again
					payload[i] = '!'
				}
			}
			if got := strings.Join(delivered, " "); got != tt.delivered {
				t.Errorf("delivered %s, want %s", got, tt.delivered)
			}
			if got := strings.Join(verdicts, " "); got != tt.verdicts {
				t.Errorf("verdicts %s, want %s", got, tt.verdicts)
			}
			if w.held == nil != w.Deadline().IsZero() {
				t.Error("a deadline with nothing held, or none with something")
			}
		})
	}
}

func TestWindowLongPacketIsNotHeld(t *testing.T) {
	var w Window
	var got []int
	deliver := func(b []byte) { got = append(got, len(b)) }
	w.Receive(epoch, 0, make([]byte, 1), deliver)
	w.Receive(epoch, 2, make([]byte, 2), deliver)
	w.Receive(epoch, 5, make([]byte, 5), deliver)
	if v := w.Receive(epoch, 5, make([]byte, holdOctets+1), deliver); v != Duplicate {
		t.Errorf("of a held number: %v", v)
	}
	if v := w.Receive(epoch, 4, make([]byte, holdOctets+1), deliver); v != Jumped {
		t.Errorf("verdict %v", v)
	}
	if v := w.Receive(epoch, 7, make([]byte, holdOctets), deliver); v != Held {
		t.Errorf("the longest that is held: %v", v)
	}
	if want := []int{1, 2, holdOctets + 1, 5}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

func TestHighest(t *testing.T) {
	var w Window
	drop := func([]byte) {}
	if _, any := w.Highest(); any {
		t.Error("something to acknowledge before anything came")
	}
	for _, step := range []struct{ seq, want uint32 }{{0, 0}, {2, 0}, {1, 2}, {0, 2}, {50, 50}, {40, 50}} {
		w.Receive(epoch, step.seq, nil, drop)
		if got, any := w.Highest(); got != step.want || !any {
			t.Errorf("after %d: %d %v, want %d", step.seq, got, any, step.want)
		}
	}
}

func TestVerdictString(t *testing.T) {
	seen := map[string]bool{}
	for v := Unknown; v <= TooFar; v++ {
		if s := v.String(); seen[s] || strings.Contains(s, "verdict") {
			t.Errorf("verdict %d is %q", v, s)
		} else {
			seen[s] = true
		}
	}
	if got := Verdict(99).String(); got != "verdict 99" {
		t.Errorf("beyond the last: %q", got)
	}
}

func TestWindowSize(t *testing.T) {
	if size := unsafe.Sizeof(Window{}); size > 32 {
		t.Errorf("a Window takes %d octets of every session", size)
	}
}

func TestReceiveAllocatesNothing(t *testing.T) {
	var w Window
	n, delivered := uint32(0), 0
	deliver := func([]byte) { delivered++ }
	payload := make([]byte, 1400)
	if allocs := testing.AllocsPerRun(1000, func() {
		w.Receive(epoch, n, payload, deliver)
		w.Receive(epoch, n, payload, deliver) // a duplicate
		n++
	}); allocs != 0 {
		t.Errorf("%v allocations a packet", allocs)
	}
	if delivered != 1001 || w.held != nil {
		t.Errorf("delivered %d, held %v", delivered, w.held)
	}
}

// model is the window's rules over all numbers as 64-bit ones, with no bit shifted
// and nothing kept small.
type model struct {
	next  int64
	begun bool
	seen  map[int64]bool
	held  map[int64]time.Time // until
	probe int64
}

func (m *model) lowest() (int64, bool) {
	low, ok := int64(0), false
	for n := range m.held {
		if !ok || n < low {
			low, ok = n, true
		}
	}
	return low, ok
}

func (m *model) deliver(n int64, out *[]int64) {
	m.seen[n] = true
	delete(m.held, n)
	*out = append(*out, n)
	m.next = max(m.next, n+1)
}

func (m *model) run(out *[]int64) {
	for {
		if _, ok := m.held[m.next]; !ok {
			return
		}
		m.deliver(m.next, out)
	}
}

func (m *model) giveUp(out *[]int64) {
	m.next, _ = m.lowest()
	m.run(out)
}

func (m *model) receive(now time.Time, n int64, long bool, out *[]int64) Verdict {
	if !m.begun {
		m.begun, m.next, m.seen, m.held = true, n, map[int64]bool{}, map[int64]time.Time{}
		m.deliver(n, out)
		m.probe = -1 << 62
		return Delivered
	}
	probe := m.probe
	_, isHeld := m.held[n]
	switch {
	case n < m.next-lateSpan:
		return TooOld
	case m.seen[n], isHeld:
		return Duplicate
	case n < m.next:
		m.deliver(n, out)
		return Late
	case n > m.next+maxJump && n != probe:
		m.probe = n + 1
		return TooFar
	}
	m.probe = -1 << 62
	verdict := Delivered
	if n > m.next {
		if n <= m.next+holdSpan && !long {
			for len(m.held) == holdPackets {
				if low, _ := m.lowest(); n < low {
					break
				}
				m.giveUp(out)
			}
			if n != m.next && len(m.held) < holdPackets {
				m.held[n] = now.Add(holdTime)
				return Held
			}
		}
		verdict = Jumped
		for low, ok := m.lowest(); ok && low < n; low, ok = m.lowest() {
			m.giveUp(out)
		}
	}
	m.deliver(n, out)
	m.run(out)
	// A gap given up to make room counts as a jump of the one that then fits.
	return verdict
}

func (m *model) timeout(now time.Time, out *[]int64) {
	for {
		due := false
		for _, until := range m.held {
			due = due || !now.Before(until)
		}
		if !due {
			return
		}
		m.giveUp(out)
	}
}

// FuzzWindow plays three octets a step: which number (relative to the highest so
// far), and how much time passes before. Numbers start close before the wrap.
func FuzzWindow(f *testing.F) {
	f.Add(uint32(0), []byte{0, 1, 0, 0, 3, 5, 0, 255, 0, 0, 1, 40})
	f.Add(uint32(4294967290), []byte{0, 1, 0, 0, 2, 0, 0, 2, 0, 0, 2, 30, 0, 0, 0, 0, 254, 31})
	f.Add(uint32(7), []byte{16, 1, 0, 0, 1, 0, 17, 1, 0, 0, 1, 0, 240, 3, 0})
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		b := make([]byte, 300)
		for i := 0; i < len(b); i += 3 {
			b[i+1] = byte(r.IntN(20) - 10)
			if r.IntN(20) == 0 {
				b[i] = byte(r.IntN(40))
			}
			b[i+2] = byte(r.IntN(12))
		}
		f.Add(r.Uint32(), b)
	}
	f.Fuzz(func(t *testing.T, first uint32, script []byte) {
		checkAgainstModel(t, first, script)
	})
}

func checkAgainstModel(t *testing.T, first uint32, script []byte) {
	var w Window
	var m model
	now := epoch
	var got, want []int64
	offset := int64(first) // of the model's numbers to the window's
	deliver := func(b []byte) { got = append(got, int64(binary.BigEndian.Uint64(b))) }
	highest := int64(0)
	for i := 0; i+3 <= len(script); i += 3 {
		now = now.Add(time.Duration(script[i+2]) * time.Millisecond)
		n := highest + int64(int8(script[i]))*256 + int64(int8(script[i+1]))
		long := script[i+2]%16 == 15
		size := 8
		if long {
			size = holdOctets + 1
		}
		payload := make([]byte, size)
		binary.BigEndian.PutUint64(payload, uint64(n))
		if script[i+2]%4 != 3 { // sometimes the caller is late
			w.Timeout(now, deliver)
			m.timeout(now, &want)
		}
		gotV := w.Receive(now, uint32(n+offset), payload, deliver)
		wantV := m.receive(now, n, long, &want)
		what := fmt.Sprintf("step %d, number %d", i/3, n)
		if gotV != wantV {
			t.Fatalf("%s: %v, want %v", what, gotV, wantV)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: delivered %v, want %v", what, got, want)
		}
		if h, _ := w.Highest(); h != uint32(m.next-1+offset) {
			t.Fatalf("%s: highest %d, want %d", what, h, uint32(m.next-1+offset))
		}
		var deadline time.Time
		for _, until := range m.held {
			if deadline.IsZero() || until.Before(deadline) {
				deadline = until
			}
		}
		if !w.Deadline().Equal(deadline) {
			t.Fatalf("%s: deadline %v, want %v", what, w.Deadline(), deadline)
		}
		if w.held != nil && (w.held.n > holdPackets || w.held.n != len(m.held)) {
			t.Fatalf("%s: %d held, want %d", what, w.held.n, len(m.held))
		}
		if gotV != TooOld && gotV != TooFar {
			highest = max(highest, n)
		}
		got, want = got[:0], want[:0]
	}
}

func BenchmarkReceive(b *testing.B) {
	var w Window
	payload := make([]byte, 1400)
	deliver := func([]byte) {}
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		w.Receive(epoch, n, payload, deliver)
		n++
	}
}
