package pptp

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// offer sends packets of n octets evenly at a rate for some time, the clock read once
// for each batch, and returns how many octets passed.
func offer(b *bucket, at *int64, n int, bits uint64, d time.Duration, batch int) (passed int64) {
	gap := int64(float64(n*8*batch) / float64(bits) * float64(time.Second))
	for end := *at + int64(d); *at < end; *at += gap {
		for range batch {
			if b.take(*at, n) {
				passed += int64(n)
			}
		}
	}
	return passed
}

// What is offered faster passes at the rate; what is offered slower passes whole.
func TestBucketHoldsTheRate(t *testing.T) {
	for _, rate := range []uint64{64_000, 1_000_000, 10_000_000, 123_456_789, 1_000_000_000, 4_294_967_295} {
		for _, n := range []int{52, 1400} {
			for _, batch := range []int{1, 64} {
				var b bucket
				at := int64(time.Hour)
				b.setRate(at, rate)
				if int64(2*batch*n)*perOctet > b.size {
					continue // no such batch comes at this rate
				}
				length := max(20*time.Millisecond, min(time.Minute, time.Duration(float64(n*8*200_000)/float64(rate)*float64(time.Second))))
				offer(&b, &at, n, 3*rate/2, time.Second, batch) // spends the burst
				passed := float64(offer(&b, &at, n, 3*rate/2, length, batch)*8) / length.Seconds()
				if off := passed/float64(rate) - 1; off < -0.03 || off > 0.03 {
					t.Errorf("%d bit/s, packets of %d, %d a batch: %.0f bit/s pass, %.1f %% off", rate, n, batch, passed, off*100)
				}
				at += int64(time.Second)
				got := offer(&b, &at, n, rate*9/10, length, batch)
				at2 := int64(0)
				all := offer(new(bucket), &at2, n, rate*9/10, length, batch)
				if got != all && batch == 1 {
					t.Errorf("%d bit/s, packets of %d: of %d octets at less than the rate %d pass", rate, n, all, got)
				}
			}
		}
	}
}

func TestBucketBurst(t *testing.T) {
	for rate, want := range map[uint64]int{8: minBurst, 64_000: minBurst, 8_000_000: 250_000, 800_000_000: 25_000_000} {
		var b bucket
		b.setRate(5, rate)
		got := 0
		for b.take(5, 100) {
			got += 100
		}
		if got > want || got < want-100 {
			t.Errorf("%d bit/s: a burst of %d, want %d", rate, got, want)
		}
		if b.take(4, 100) {
			t.Errorf("%d bit/s: the clock went back and a packet passed", rate)
		}
	}
	var b bucket
	if !b.take(1, 1<<30) {
		t.Error("no limit holds something back")
	}
	b.setRate(0, 1<<63)
	if b.rate != maxRate || !b.take(0, 1400) || b.size < 0 {
		t.Errorf("beyond all: %+v", b)
	}
	b.refill(1 << 62)
	if b.tokens != b.size {
		t.Errorf("after a long time: %+v", b)
	}
}

// To move a limit gives nobody a second burst; to take it away and set it anew does.
func TestBucketIsMoved(t *testing.T) {
	var b bucket
	b.setRate(0, 1_000_000)
	for b.take(0, 1000) {
	}
	b.setRate(0, 2_000_000)
	if b.take(0, 1000) {
		t.Error("another burst")
	}
	at := int64(time.Second)
	b.refill(at)
	if b.tokens != b.size || b.size != 2_000_000*burstTime {
		t.Errorf("%+v", b)
	}
	b.setRate(at, 100_000)
	if b.tokens != minBurst*perOctet {
		t.Errorf("more is saved up than there is room: %+v", b)
	}
	b.setRate(at, 100_000)
	b.setRate(at, 0)
	if b != (bucket{}) {
		t.Errorf("%+v", b)
	}
}

// On the data path, each way by itself, on virtual time.
func TestBandwidth(t *testing.T) {
	host := netip.MustParseAddr("10.81.0.2")
	const up, down, octets = 2_000_000, 10_000_000, 1400
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true)
		r.s.grant.up, r.s.grant.down = up, down
		r.s.setLimits(time.Now())
		ip := ipPacket(host, testInner, octets)
		const each = 8 // packets every 5 ms: 17.9 Mbit/s
		send := func(d time.Duration) (in, out float64) {
			r.tun.count, r.wire.count = 0, 0
			before := r.s.in
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				for i := range each {
					r.fromClient(&r.rx.ms[i], ipPacket(testInner, host, octets), testPeer)
					r.tx.sizes[i] = copy(r.tx.bufs[i][headroom:], ip)
				}
				r.node.input(r.rx, r.rx.ms[:each])
				sent := r.s.sent()
				r.tx.output(each)
				out += float64(r.s.sent().octets - sent.octets)
			}
			return float64(r.s.in.octets-before.octets) * 8 / d.Seconds(), out * 8 / d.Seconds()
		}
		send(2 * time.Second) // the burst
		in, out := send(20 * time.Second)
		if in < up*0.98 || in > up*1.02 || out < down*0.98 || out > down*1.02 {
			t.Errorf("%.0f bit/s in, %.0f out", in, out)
		}
		if r.drops(DropLimitIn) == 0 || r.drops(DropLimitOut) == 0 || r.drops(DropUndecryptable) != 0 {
			t.Errorf("drops: %d in, %d out", r.drops(DropLimitIn), r.drops(DropLimitOut))
		}
		r.s.grant.up, r.s.grant.down = 0, 0
		r.s.setLimits(time.Now())
		want := float64(each*octets*8) / 0.005
		if in, out = send(5 * time.Second); in != want || out != want {
			t.Errorf("without limits %.0f bit/s in, %.0f out, want %.0f", in, out, want)
		}
	})
}

func TestLimitedDataPathAllocatesNothing(t *testing.T) {
	r := newRig(t, true)
	r.s.grant.up, r.s.grant.down = 1_000_000, 1_000_000
	r.s.setLimits(time.Now())
	allocatesNothing(t, r)
	if r.drops(DropLimitIn) == 0 || r.drops(DropLimitOut) == 0 {
		t.Error("nothing was held back")
	}
}

func BenchmarkBucket(b *testing.B) {
	for _, rate := range []uint64{0, 1 << 32} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			var one bucket
			one.setRate(0, rate)
			at := int64(0)
			for b.Loop() {
				at += 1000
				one.take(at, 1400)
			}
		})
	}
}
