package mppe

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// link seals numbered frames on one side and opens them on the other.
type link struct {
	t       testing.TB
	s       *Sealer
	o       *Opener
	packets [][]byte
	opened  []bool
}

func newLink(t testing.TB, p Params) *link {
	return &link{t: t, s: NewSealer(&rfcStart, p), o: NewOpener(&rfcStart, p)}
}

// seal makes n packets and returns the number of the last.
func (l *link) seal(n int) int {
	for range n {
		l.packets = append(l.packets, l.s.Seal(nil, ipFrame(uint64(len(l.packets)), 40)))
		l.opened = append(l.opened, false)
	}
	return len(l.packets) - 1
}

// open opens packet n; it fails the test on wrong plaintext, on a second
// opening, and on any other error than the one wanted.
func (l *link) open(n int, want error) {
	l.t.Helper()
	if err := l.try(n); err != want {
		l.t.Fatalf("packet %d: %v, want %v", n, err, want)
	}
}

func (l *link) try(n int) error {
	l.t.Helper()
	out, err := l.o.Open(nil, l.packets[n])
	if err != nil {
		if out != nil {
			l.t.Fatalf("packet %d: octets along with %v", n, err)
		}
		return err
	}
	if !bytes.Equal(out, ipFrame(uint64(n), 40)) {
		l.t.Fatalf("packet %d opens to %X", n, out)
	}
	if l.opened[n] {
		l.t.Fatalf("packet %d opens twice", n)
	}
	l.opened[n] = true
	return nil
}

func TestOpenLikeReference(t *testing.T) {
	for _, p := range allParams {
		t.Run(p.String(), func(t *testing.T) {
			o, ref := NewOpener(&rfcStart, p), newReference(rfcStart, p)
			for n := range uint64(10000) {
				frame := ipFrame(n, 22+int(n*37%180))
				got, err := o.Open(nil, ref.seal(frame))
				if err != nil || !bytes.Equal(got, frame) {
					t.Fatalf("packet %d: %X, %v", n, got, err)
				}
			}
			if o.late != nil || o.far != nil {
				t.Error("memory for missing packets was made and none was missing")
			}
		})
	}
}

func TestOpenAppends(t *testing.T) {
	for _, p := range allParams {
		frame := ipFrame(7, 100)
		packet := NewSealer(&rfcStart, p).Seal(nil, frame)

		got, err := NewOpener(&rfcStart, p).Open([]byte("kept"), packet)
		if err != nil || !bytes.Equal(got[:4], []byte("kept")) || !bytes.Equal(got[4:], frame) {
			t.Errorf("%v: appended %X, %v", p, got, err)
		}

		forged := bytes.Clone(packet)
		forged[HeaderLen] ^= 0x80
		before := bytes.Clone(forged)
		o := NewOpener(&rfcStart, p)
		if _, err := o.Open(forged[HeaderLen:HeaderLen], forged); err != ErrNonsense || !bytes.Equal(forged, before) {
			t.Errorf("%v: in place, forged: %v, buffer %X, was %X", p, err, forged, before)
		}
		got, err = o.Open(packet[HeaderLen:HeaderLen], packet)
		if err != nil || &got[0] != &packet[HeaderLen] || !bytes.Equal(got, frame) {
			t.Errorf("%v: in place %X, %v", p, got, err)
		}
	}
}

// Every gap that is believed is bridged, and no greater one.
func TestStatelessGap(t *testing.T) {
	for _, gap := range []int{0, 1, 31, 32, 33, 34, 63, 64, 65, 100, 1000, 2047, 2048, maxGap - 1, maxGap} {
		for _, sent := range []int{0, 1, 4000} {
			l := newLink(t, Params{Bits128, true})
			for range sent {
				l.open(l.seal(1), nil)
			}
			l.seal(gap)
			l.open(l.seal(1), nil)
			l.open(l.seal(1), nil)
			for n := sent; n < sent+gap; n++ { // late, the oldest first
				if err := l.try(n); (err == nil) != (n >= sent+gap-lateSlots) {
					t.Fatalf("gap %d: missing packet %d: %v", gap, n, err)
				}
			}
		}
	}
	l := newLink(t, Params{Bits128, true})
	l.open(l.seal(1), nil)
	l.seal(maxGap + 1)
	l.open(l.seal(1), ErrGap)
	l.open(1, nil) // nothing has moved
}

// Late packets open once each, in whatever order.
func TestStatelessLate(t *testing.T) {
	l := newLink(t, Params{Bits128, true})
	l.open(l.seal(10), nil) // 0 to 8 are missing
	for _, n := range []int{8, 0, 4} {
		l.open(n, nil)
		l.open(n, ErrReplay)
	}
	l.open(9, ErrReplay)
	l.open(l.seal(64), nil) // displaces the keys of 0 to 8; 10 to 72 are missing
	l.open(3, ErrTooOld)
	l.open(8, ErrTooOld) // opened, but too long ago to say so
	l.open(72, nil)
	l.open(42, nil)
	l.open(41, nil)
	l.open(40, ErrTooOld)
}

// The memory for missing packets goes when it is of no more use.
func TestStatelessMemory(t *testing.T) {
	l := newLink(t, Params{Bits128, true})
	l.open(l.seal(1000), nil)
	if l.o.late == nil || l.o.far == nil {
		t.Fatal("no keys kept of a gap of 1000")
	}
	for range 2 * lateWindow {
		l.open(l.seal(1), nil)
	}
	if l.o.late != nil || l.o.far != nil {
		t.Error("keys kept 512 packets after the gap")
	}
}

// A silence longer than the count can tell does not kill the link.
func TestStatelessSilence(t *testing.T) {
	for _, lost := range []int{3583, 3584, 3800, 3840, 3841, 4000, 4032, 4090, 4095, 4096, 4097, 4100, 5000, 7000, 8191 - lateWindow} {
		l := newLink(t, Params{Bits128, true})
		for range 300 {
			l.open(l.seal(1), nil)
		}
		l.seal(lost)
		after := 0
		for ; l.try(l.seal(1)) != nil; after++ {
			if after > 64+outOfStep {
				t.Fatalf("%d lost: the link is dead", lost)
			}
		}
		for range 100 {
			l.open(l.seal(1), nil)
		}
	}
}

// Replaying everything ever sent, at every later position, opens nothing.
func TestStatelessReplayAfterWrap(t *testing.T) {
	l := newLink(t, Params{Bits128, true})
	rng := rand.New(rand.NewPCG(7, 8))
	for range 9000 {
		n := l.seal(1 + rng.IntN(3))
		l.open(n, nil)
		for range 2 {
			if old := rng.IntN(n + 1); l.opened[old] {
				if l.try(old) == nil {
					t.Fatalf("packet %d opens again", old)
				}
			}
		}
		if n >= countSpace && l.opened[n+1-countSpace] && l.try(n+1-countSpace) == nil { // has the count expected next
			t.Fatal("a packet of the last round opens again")
		}
	}
}

// Forged packets of every count change nothing that matters, and cost few key
// changes each once the keys ahead have been found.
func TestForgedChangeNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, p := range allParams {
		t.Run(p.String(), func(t *testing.T) {
			l := newLink(t, p)
			for range 200 {
				for range 50 {
					forged := make([]byte, 100)
					binary.LittleEndian.PutUint64(forged[2:], rng.Uint64())
					binary.BigEndian.PutUint16(forged, uint16(rng.Uint32())&0x0fff|0x9000)
					if _, err := l.o.Open(nil, forged); err == nil {
						t.Fatal("a forged packet opens")
					}
					if f := l.o.far; f != nil && len(f.keys) > 256 {
						t.Fatalf("%d keys kept ahead", len(f.keys))
					}
				}
				n := l.seal(3)
				if p.Stateless {
					l.open(n, nil)
					l.open(n-1, nil)
				} else {
					l.open(n-2, nil)
					l.open(n-1, nil)
					l.open(n, nil)
				}
			}
		})
	}
}

// A state that was refused something is what it was, by every field.
func refusedState(o *Opener) (Opener, rc4, lateKeys) {
	s := *o
	var stream rc4
	var late lateKeys
	if s.stream != nil {
		stream = *s.stream
	}
	if s.late != nil {
		late = *s.late
	}
	s.bad, s.far, s.late, s.stream = 0, nil, nil, nil
	return s, stream, late
}

// schedule runs packets over a link that loses, repeats and reorders them.
type schedule struct {
	rng                   *rand.Rand
	loss, repeat, reorder float64
	depth                 int
}

// next returns numbers of packets in the order of their arrival.
func (s *schedule) order(first, n int) (order []int) {
	type arrival struct {
		at float64
		n  int
	}
	var all []arrival
	for i := range n {
		if s.rng.Float64() < s.loss {
			continue
		}
		copies := 1
		for s.rng.Float64() < s.repeat && copies < 4 {
			copies++
		}
		for range copies {
			at := float64(i)
			if s.rng.Float64() < s.reorder {
				at += s.rng.Float64() * float64(s.depth)
			}
			all = append(all, arrival{at, first + i})
		}
	}
	for i := 1; i < len(all); i++ { // insertion: stable and nearly sorted already
		for j := i; j > 0 && all[j].at < all[j-1].at; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	for _, a := range all {
		order = append(order, a.n)
	}
	return order
}

// On any schedule that reorders by less than lateSlots, every packet that
// arrives opens exactly once.
func TestStatelessSchedules(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 11))
		p := allParams[seed%3]
		s := schedule{rng, rng.Float64() * 0.5, rng.Float64() * 0.3, rng.Float64(), 1 + rng.IntN(lateSlots-1)}
		l := newLink(t, p)
		l.seal(12000)
		arrived := make([]bool, 12000)
		for _, n := range s.order(0, 12000) {
			if err := l.try(n); err != nil && !arrived[n] {
				t.Fatalf("seed %d: packet %d arrived and was refused: %v", seed, n, err)
			}
			arrived[n] = true
		}
	}
}

// Reordering beyond the keys kept, and bursts of loss: packets may be refused,
// but no replay opens, no plaintext is wrong, and the link always goes on.
func TestStatelessWildSchedules(t *testing.T) {
	for seed := range uint64(18) {
		rng := rand.New(rand.NewPCG(seed, 12))
		s := schedule{rng, rng.Float64() * 0.9, rng.Float64() * 0.5, rng.Float64(), 1 + rng.IntN(400)}
		l := newLink(t, allParams[seed%3])
		for range 20 {
			first := l.seal(rng.IntN(2500)) + 1 // lost, all of them
			l.seal(300)
			for _, n := range s.order(first, 300) {
				_ = l.try(n) // judges plaintext and replays
			}
		}
		recovers(t, l, seed)
	}
}

func recovers(t *testing.T, l *link, seed uint64) {
	t.Helper()
	for after := 0; l.try(l.seal(1)) != nil; after++ {
		if after > 64+outOfStep {
			t.Fatalf("seed %d: the link is dead", seed)
		}
	}
	for range 50 {
		l.open(l.seal(1), nil)
	}
}

// Stateful: loss shows as ErrNeedReset; FLUSHED packets of all three kinds of
// sender (ours, RFC 3078, Linux) bring the link back.
func TestStatefulReset(t *testing.T) {
	for _, kind := range []string{"ours", "RFC 3078", "Linux"} {
		for _, lost := range []int{1, 2, 200, 255, 256, 257, 1000, 3000, 3500} {
			for sent := 0; sent < 260; sent += 5 {
				p := Params{Bits128, false}
				o, ours, ref := NewOpener(&rfcStart, p), NewSealer(&rfcStart, p), newReference(rfcStart, p)
				ref.linux = kind == "Linux"
				seal, reset := ref.seal, func() { ref.flush = true }
				if kind == "ours" {
					seal, reset = func(f []byte) []byte { return ours.Seal(nil, f) }, ours.Reset
				}
				for n := range uint64(sent) {
					if _, err := o.Open(nil, seal(ipFrame(n, 30))); err != nil {
						t.Fatalf("%s: packet %d: %v", kind, n, err)
					}
				}
				for range lost {
					seal(ipFrame(0, 30))
				}
				probe := seal(ipFrame(1, 30))
				_, err := o.Open(nil, probe)
				if flag := probe[1] == flagPacket; err != ErrNeedReset && !flag {
					t.Fatalf("%s: after %d and a loss of %d: %v", kind, sent, lost, err)
				}
				for range 2 { // the second while all is well: a request repeated
					reset()
					for n := range uint64(300) {
						got, err := o.Open(nil, seal(ipFrame(n, 30)))
						if err != nil || !bytes.Equal(got, ipFrame(n, 30)) {
							t.Fatalf("%s: after %d and a loss of %d: packet %d after the reset: %X, %v", kind, sent, lost, n, got, err)
						}
					}
				}
			}
		}
	}
}

// A silence longer than the count can tell: the peer answers every request.
func TestStatefulSilence(t *testing.T) {
	for _, lost := range []int{3500, 3839, 3840, 3841, 4000, 4094, 4095, 4096, 4097, 4200, 6000, 7500} {
		l := newLink(t, Params{Bits128, false})
		for range 300 {
			l.open(l.seal(1), nil)
		}
		l.seal(lost)
		for after := 0; ; after++ {
			err := l.try(l.seal(1))
			if err == nil {
				break
			}
			if err == ErrNeedReset {
				l.s.Reset()
			}
			if after > lateWindow+1 {
				t.Fatalf("%d lost: the link is dead", lost)
			}
		}
		for range 600 {
			l.open(l.seal(1), nil)
		}
	}
}

// A flag packet changes the key, so it mends the link without being asked for.
func TestStatefulFlagPacketMends(t *testing.T) {
	l := newLink(t, Params{Bits40, false})
	for range 100 {
		l.open(l.seal(1), nil)
	}
	l.seal(1)
	for n := 101; n < 255; n++ {
		l.open(l.seal(1), ErrNeedReset)
	}
	for range 10 {
		l.open(l.seal(1), nil)
	}
}

// A packet overtaken by one that could not be opened still opens.
func TestStatefulGapIsNotBelieved(t *testing.T) {
	l := newLink(t, Params{Bits128, false})
	l.open(l.seal(1), nil)
	l.seal(2)
	l.open(2, ErrNeedReset)
	l.open(1, nil)
	l.open(1, ErrReplay)
	l.open(2, nil)
	l.open(0, ErrReplay)
	l.seal(100)
	for n := 3; n < 103; n++ {
		l.open(n, nil)
	}
	l.open(3, ErrTooOld)
}

// Loss, repetition and reordering with a peer that answers Reset-Requests some
// packets later. Never a replay or wrong plaintext; when loss ends, all opens.
func TestStatefulSchedules(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 13))
		l := newLink(t, allParams[3+seed%3])
		loss, repeat := rng.Float64()*0.4, rng.Float64()*0.3
		round := 1 + rng.IntN(60) // packets until the request has arrived
		request := -1
		held := -1
		run := func(packets int, loss, repeat float64) (opened int) {
			for range packets {
				n := l.seal(1)
				if request == n {
					l.s.Reset()
					request = -1
				}
				if rng.Float64() < loss {
					continue
				}
				arrivals := []int{n}
				if held >= 0 {
					arrivals, held = append(arrivals, held), -1
				} else if rng.Float64() < loss/2 {
					held, arrivals = n, nil
				}
				if rng.Float64() < repeat {
					arrivals = append(arrivals, n, max(0, n-rng.IntN(5000)))
				}
				for _, a := range arrivals {
					switch err := l.try(a); {
					case err == nil:
						opened++
					case err == ErrNeedReset && request < 0:
						request = n + round
					}
				}
			}
			return opened
		}
		run(9000, loss, repeat)
		run(2*round+600, 0, 0)
		if opened := run(500, 0, 0); opened != 500 {
			t.Errorf("seed %d: %d of 500 packets open on a link that has come to rest", seed, opened)
		}
	}
}

// FuzzOpen feeds a link that has lost some packets with packets of any kind.
// What is refused must change nothing; and after everything a reset or a
// stretch of good packets brings the link back.
func FuzzOpen(f *testing.F) {
	for _, path := range goldenFiles(f) {
		g := readGolden(f, path)
		for _, s := range g.steps {
			f.Add(g.params.Stateless, uint8(g.params.Strength), uint16(3), s.packet)
		}
	}
	f.Fuzz(func(t *testing.T, stateless bool, strength uint8, ahead uint16, packet []byte) {
		p := Params{Strength(strength%3 + 1), stateless}
		l := newLink(t, p)
		l.open(l.seal(1), nil)
		if stateless {
			l.seal(5)
			l.open(l.seal(1), nil)
		}
		sealer := *l.s // to make a good packet of the fuzzer's data, too
		if sealer.stream != nil {
			r := *sealer.stream
			sealer.stream = &r
		}

		for range 20 {
			state, stream, late := refusedState(l.o)
			out, err := l.o.Open(nil, packet)
			if err == nil {
				if len(out) != len(packet)-HeaderLen {
					t.Fatalf("%d octets of %d", len(out), len(packet))
				}
				return // by chance it opened: what follows cannot be foretold
			}
			state2, stream2, late2 := refusedState(l.o)
			if state != state2 || stream != stream2 || late != late2 {
				t.Fatalf("%v changed the state", err)
			}
			if len(packet) > 1 {
				packet[0], packet[1] = packet[0]^byte(ahead>>8), packet[1]+byte(ahead)
			}
		}

		if len(packet) >= minPlain {
			good := sealer.Seal(nil, packet)
			if out, err := l.o.Open(nil, good); err == nil {
				if !bytes.Equal(out, packet) {
					t.Fatalf("opened %X as %X", packet, out)
				}
				if again, err := l.o.Open(nil, good); err == nil {
					t.Fatalf("opens twice: %X", again)
				}
				return
			}
		}
		l.open(l.seal(1), nil)
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, p := range []Params{{Bits128, true}, {Bits128, false}} {
		for _, size := range []int{64, 512, 1400} {
			name := p.String() + "/" + itoa(size) + "/"
			// A round of packets; openers start afresh after each.
			packets := make([][]byte, countSpace)
			s := NewSealer(&rfcStart, p)
			for n := range packets {
				packets[n] = s.Seal(nil, ipFrame(uint64(n), size))
			}
			b.Run(name+"crypto-rc4", func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				ref, n := newReference(rfcStart, p), 0
				for b.Loop() {
					if ref.open(packets[n]); n == countSpace-1 {
						ref, n = newReference(rfcStart, p), -1
					}
					n++
				}
			})
			b.Run(name+"own", func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				o, n, dst := NewOpener(&rfcStart, p), 0, make([]byte, 0, 1500)
				for b.Loop() {
					if _, err := o.Open(dst, packets[n]); err != nil {
						b.Fatal(err)
					}
					if n == countSpace-1 {
						o, n = NewOpener(&rfcStart, p), -1
					}
					n++
				}
			})
		}
	}
}

// BenchmarkForgedGap is what one forged packet costs a link under a flood.
func BenchmarkForgedGap(b *testing.B) {
	o := NewOpener(&rfcStart, Params{Bits128, true})
	forged := make([]byte, 100)
	n := uint16(0)
	for b.Loop() {
		binary.BigEndian.PutUint16(forged, 0x9000|n&countMask)
		_, _ = o.Open(nil, forged)
		n += 1237
	}
}
