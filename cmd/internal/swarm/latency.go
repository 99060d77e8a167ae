package swarm

import (
	"math/bits"
	"time"
)

const (
	// Sub-buckets per power of two: a quantile is at most 1/64 too high.
	subBits = 6
	subs    = 1 << subBits
	// The largest duration told apart is an hour and more, in microseconds.
	maxBits = 32
)

// Latency is how long something took, many times: a histogram of fixed size with
// buckets as wide as their values are large. The zero Latency is empty.
type Latency struct {
	n      uint64
	sum    time.Duration
	max    time.Duration
	counts [(maxBits - subBits + 1) * subs]uint64
}

// Add counts one.
func (l *Latency) Add(d time.Duration) {
	d = max(d, 0)
	l.n++
	l.sum += d
	l.max = max(l.max, d)
	l.counts[bucket(uint64(d/time.Microsecond))]++
}

// bucket is the index for a number of microseconds: as it is below subs, then subs
// buckets for each further bit.
func bucket(us uint64) int {
	us = min(us, 1<<maxBits-1)
	if us < subs {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return (shift+1)*subs + int(us>>shift) - subs
}

// above is the largest number of microseconds in a bucket.
func above(i int) uint64 {
	if i < subs {
		return uint64(i)
	}
	shift := i/subs - 1
	return (uint64(i%subs+subs)+1)<<shift - 1
}

// Quantile is the duration that a share q of all did not exceed.
func (l *Latency) Quantile(q float64) time.Duration {
	if l.n == 0 {
		return 0
	}
	rank := uint64(q*float64(l.n) + 0.5)
	rank = min(max(rank, 1), l.n)
	var seen uint64
	for i, c := range l.counts {
		if seen += c; seen >= rank {
			return min(time.Duration(above(i))*time.Microsecond, l.max)
		}
	}
	return l.max
}

// Timing is a Latency in figures, milliseconds all.
type Timing struct {
	Step  string  `json:"step"`
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (l *Latency) timing(step Step) Timing {
	t := Timing{Step: step.String(), Count: l.n, P50: ms(l.Quantile(.5)), P90: ms(l.Quantile(.9)), P99: ms(l.Quantile(.99)), Max: ms(l.max)}
	if l.n > 0 {
		t.Mean = ms(l.sum / time.Duration(l.n))
	}
	return t
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
