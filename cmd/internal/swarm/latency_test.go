package swarm

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last := -1
	for us := range uint64(1 << 18) {
		i := bucket(us)
		if i < last || i > last+1 {
			t.Fatalf("%d µs is in bucket %d, the one before in %d", us, i, last)
		}
		if top := above(i); top < us || float64(top-us) > float64(us)/subs {
			t.Fatalf("%d µs is in bucket %d, to %d", us, i, top)
		}
		last = i
	}
	for _, us := range []uint64{1<<maxBits - 1, 1 << maxBits, 1 << 63} {
		if i := bucket(us); i != len(Latency{}.counts)-1 {
			t.Errorf("%d µs is in bucket %d", us, i)
		}
	}
}

func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l Latency
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, d)
		l.Add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, .5, .9, .99, 1} {
		want := all[min(max(int(q*float64(len(all))+.5)-1, 0), len(all)-1)]
		if got := l.Quantile(q); got < want-time.Microsecond || float64(got-want) > float64(want)/subs+1000 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := l.timing(StepAccess); got.Count != 10_000 || got.Max != ms(all[len(all)-1]) || got.Mean < 18 || got.Mean > 22 {
		t.Errorf("%+v", got)
	}
	var none Latency
	if got := none.timing(StepAccess); got != (Timing{Step: "access"}) {
		t.Errorf("of nothing: %+v", got)
	}
	l = Latency{}
	if l.Add(-time.Second); l.max != 0 || l.Quantile(.5) != 0 {
		t.Error("a clock that went back")
	}
}

func TestLatencyAllocatesNothing(t *testing.T) {
	var l Latency
	if n := testing.AllocsPerRun(100, func() { l.Add(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
