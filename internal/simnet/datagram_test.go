package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	anyone netip.Addr
	a1     = netip.MustParseAddr("192.0.2.1")
	a2     = netip.MustParseAddr("192.0.2.2")
	a3     = netip.MustParseAddr("192.0.2.3")
)

// lab has two hosts with an endpoint each; recv collects what comes to the second,
// as "payload@milliseconds".
func lab(t *testing.T, seed uint64) (n *Network, from, to *Endpoint, received func() []string) {
	n = New(seed)
	from, to = n.Host(a1).Datagrams(47), n.Host(a2).Datagrams(47)
	start := time.Now()
	var got []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			who, b, err := to.Receive()
			if err != nil {
				return
			}
			if who != a1 {
				t.Errorf("from %v", who)
			}
			got = append(got, fmt.Sprintf("%s@%d", b, time.Since(start).Milliseconds()))
		}
	}()
	return n, from, to, func() []string {
		time.Sleep(time.Hour)
		if err := to.Close(); err != nil {
			t.Error(err)
		}
		<-done
		return got
	}
}

func send(t *testing.T, from *Endpoint, to netip.Addr, payloads string) {
	t.Helper()
	for p := range strings.FieldsSeq(payloads) {
		if err := from.Send(to, []byte(p)); err != nil {
			t.Error(err)
		}
	}
}

func TestFaults(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		faults Faults
		want   string
	}{
		{"none", Faults{}, "a@0 b@0 c@0 d@0"},
		{"delay", Faults{Delay: 40 * ms}, "a@40 b@40 c@40 d@40"},
		{"all lost", Faults{Loss: 1}, ""},
		{"down", Faults{Down: true}, ""},
		{"all twice", Faults{Duplicate: 1}, "a@0 a@0 b@0 b@0 c@0 c@0 d@0 d@0"},
		{"all late", Faults{Delay: 5 * ms, Reorder: 1, ReorderBy: 20 * ms}, "a@25 b@25 c@25 d@25"},
		{"late by default", Faults{Reorder: 1}, "a@10 b@10 c@10 d@10"},
		{"nth", Faults{Drop: Nth(1, 3)}, "b@0 d@0"},
		{"first", Faults{Drop: First(3)}, "d@0"},
		{"every", Faults{Drop: Every(2)}, "a@0 c@0"},
		{"by content", Faults{Drop: func(_ int, b []byte) bool { return b[0] == 'b' }}, "a@0 c@0 d@0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, from, _, received := lab(t, 1)
				n.SetFaults(a1, a2, tt.faults)
				send(t, from, a2, "a b c d")
				if got := strings.Join(received(), " "); got != tt.want {
					t.Errorf("received %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestFaultsPerDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		e1, e2 := n.Host(a1).Datagrams(47), n.Host(a2).Datagrams(47)
		n.SetFaults(anyone, anyone, Faults{Loss: 1})
		n.SetFaults(a1, anyone, Faults{Delay: time.Second})
		n.SetFaults(a1, a2, Faults{Delay: time.Minute})
		n.SetFaults(anyone, a3, Faults{Delay: time.Hour})
		e3 := n.Host(a3).Datagrams(47)
		start := time.Now()
		send(t, e1, a2, "x")
		send(t, e2, a1, "x")
		send(t, e1, a3, "x")
		send(t, e2, a3, "x")
		if _, _, err := e2.Receive(); err != nil || time.Since(start) != time.Minute {
			t.Errorf("both addresses: after %v, %v", time.Since(start), err)
		}
		if from, _, ok := e3.TryReceive(); !ok || from != a1 {
			t.Errorf("the sender's comes before the receiver's: %v %v", from, ok)
		}
		if from, _, err := e3.Receive(); err != nil || from != a2 || time.Since(start) != time.Hour {
			t.Errorf("the receiver's: %v after %v, %v", from, time.Since(start), err)
		}
		if _, _, ok := e1.TryReceive(); ok {
			t.Error("what is set for all lost nothing")
		}
	})
}

// A rule counts from when it was set.
func TestRuleCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, from, _, received := lab(t, 1)
		send(t, from, a2, "a b")
		n.SetFaults(a1, a2, Faults{Drop: First(1)})
		send(t, from, a2, "c d")
		n.SetFaults(a1, a2, Faults{Drop: First(1)})
		send(t, from, a2, "e f")
		if got := strings.Join(received(), " "); got != "a@0 b@0 d@0 f@0" {
			t.Errorf("received %s", got)
		}
	})
}

var chance = Faults{Delay: 10 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.2}

// play sends 1000 datagrams over a bad link while others send too, in an order
// that the scheduler chooses.
func play(t *testing.T, seed uint64, f Faults) (trace, got []string) {
	synctest.Test(t, func(t *testing.T) {
		n, from, _, received := lab(t, seed)
		n.SetFaults(a1, a2, f)
		n.SetFaults(a3, anyone, chance)
		start := time.Now()
		n.Trace(func(e Event) {
			if e.From == a1 {
				trace = append(trace, fmt.Sprint(e.At.Sub(start), e.Due.Sub(start), e.Fate, string(e.Payload)))
			}
		})
		noise := n.Host(a3).Datagrams(47)
		for range 3 {
			go func() {
				for range 300 {
					send(t, noise, a1, "noise")
					time.Sleep(time.Millisecond)
				}
			}()
		}
		for i := range 1000 {
			send(t, from, a2, fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		got = received()
	})
	return trace, got
}

func TestSameSeedSameFate(t *testing.T) {
	trace1, got1 := play(t, 7, chance)
	trace2, got2 := play(t, 7, chance)
	if !slices.Equal(trace1, trace2) || !slices.Equal(got1, got2) {
		t.Error("two runs of one seed differ")
	}
	if trace3, _ := play(t, 8, chance); slices.Equal(trace1, trace3) {
		t.Error("two seeds are the same")
	}
	var lost, late, copied int
	for _, line := range trace1 {
		switch {
		case strings.Contains(line, Lost.String()):
			lost++
		case strings.Contains(line, Late.String()):
			late++
		case strings.Contains(line, Copied.String()):
			copied++
		}
	}
	if lost < 150 || lost > 250 || late < 110 || late > 210 || copied < 50 || copied > 110 {
		t.Errorf("of 1000: %d lost, %d late, %d copied", lost, late, copied)
	}
	if want := 1000 - lost + copied; len(got1) != want {
		t.Errorf("received %d, want %d", len(got1), want)
	}
	// Loss alone hits the same ones.
	alone := chance
	alone.Duplicate, alone.Reorder, alone.Jitter = 0, 0, 0
	_, got4 := play(t, 7, alone)
	if len(got4) != 1000-lost {
		t.Errorf("without duplicates %d came, want %d", len(got4), 1000-lost)
	}
}

func TestEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		var fates []Fate
		n.Trace(func(e Event) { fates = append(fates, e.Fate) })
		from, h := n.Host(a1).Datagrams(47), n.Host(a2)
		send(t, from, a3, "x") // there is no such host
		send(t, from, a2, "x") // which has nothing open
		x, y, udp := h.Datagrams(47), h.Datagrams(47), h.Datagrams(17)
		send(t, from, a2, "x")
		for _, e := range []*Endpoint{x, y} {
			_, b, err := e.Receive()
			if string(b) != "x" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			b[0] = 'y' // each has its own
		}
		if _, _, ok := udp.TryReceive(); ok {
			t.Error("GRE came out of UDP")
		}
		if x.Host() != h || h.Addr() != a2 || n.Host(a2) != h {
			t.Error("hosts are mixed up")
		}
		if want := []Fate{Passed, Nobody, Passed, Nobody, Passed}; !slices.Equal(fates, want) {
			t.Errorf("fates %v, want %v", fates, want)
		}
		fates = nil
		for range backlog + 1 {
			send(t, from, a2, "x")
		}
		if fates[len(fates)-1] != Overflow {
			t.Errorf("one too many: %v", fates[len(fates)-1])
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := x.Receive(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("received when closed: %v", err)
		}
		if _, _, ok := x.TryReceive(); ok {
			t.Error("tried when closed")
		}
		if err := x.Send(a1, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("sent when closed: %v", err)
		}
		if err := x.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
	})
}

func TestSendCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, from, _, received := lab(t, 1)
		n.SetFaults(a1, a2, Faults{Delay: time.Millisecond})
		b := []byte("old")
		if err := from.Send(a2, b); err != nil {
			t.Fatal(err)
		}
		copy(b, "new")
		if got := received(); !slices.Equal(got, []string{"old@1"}) {
			t.Errorf("received %v", got)
		}
	})
}

func TestEventString(t *testing.T) {
	e := Event{At: time.Unix(0, 0).UTC(), Due: time.Unix(0, 5e6).UTC(), From: a1, To: a2, Proto: 47, Fate: Late, Payload: make([]byte, 9)}
	if got := e.String(); got != "00:00:00.000000 192.0.2.1 > 192.0.2.2 proto 47 late, 9 octets, in 5ms" {
		t.Error(got)
	}
	seen := map[string]bool{}
	for f := Unknown; f <= Overflow; f++ {
		if seen[f.String()] || strings.Contains(f.String(), "fate") {
			t.Errorf("fate %d is %q", f, f)
		}
		seen[f.String()] = true
	}
	if got := Fate(99).String(); got != "fate 99" {
		t.Error(got)
	}
}

// It works with a real clock, too.
func TestRealTime(t *testing.T) {
	n := New(1)
	n.SetFaults(anyone, anyone, Faults{Delay: time.Millisecond})
	from, to := n.Host(a1).Datagrams(47), n.Host(a2).Datagrams(47)
	start := time.Now()
	send(t, from, a2, "a b")
	for _, want := range []string{"a", "b"} {
		if _, b, err := to.Receive(); err != nil || string(b) != want {
			t.Errorf("%q, %v", b, err)
		}
	}
	if d := time.Since(start); d < time.Millisecond {
		t.Errorf("after %v", d)
	}
}
