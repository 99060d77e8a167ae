package pptp

import "time"

// bucket holds one direction of a session to a rate: a token bucket that drops what it
// has no tokens for (policing, RFC 2475 §2.3.3.3). Its clock is the packet loops', read
// once for a batch. Not safe for concurrent use; the zero bucket lets everything pass.
type bucket struct {
	rate   int64 // bits a second; 0: no limit
	tokens int64 // in bits times nanoseconds a second: rate is what comes in a nanosecond
	size   int64 // how many there can be
	fill   int64 // nanoseconds from none to all
	at     int64 // when tokens was right
}

const (
	perBit   = int64(time.Second) // tokens
	perOctet = 8 * perBit

	// burstTime is how long the full rate may be saved up for. TCP reaches a rate that
	// drops hold it to if the bucket has room for about a round trip's worth (RFC 7567
	// §4.1 has the reasons for queues), and 250 ms is the round trip to the other side
	// of the world.
	burstTime = int64(time.Second / 4)
	// minBurst is ten segments, TCP's first flight (RFC 6928), and some of UDP besides.
	minBurst = 16 << 10
	// maxRate keeps the bucket's numbers within 63 bits; it is 8.6 Gbit/s, twice what RADIUS can say.
	maxRate = int64(1) << 33
)

// setRate makes the bucket pass bits a second from now on; 0: all there is. A new limit
// begins with a full bucket; one that is moved keeps what was spent.
func (b *bucket) setRate(now int64, bits uint64) {
	rate := int64(min(bits, uint64(maxRate)))
	if rate == b.rate {
		return
	}
	if rate == 0 {
		*b = bucket{}
		return
	}
	size := max(rate*burstTime, minBurst*perOctet)
	tokens := size
	if b.rate != 0 {
		b.refill(now)
		tokens = min(b.tokens, size)
	}
	*b = bucket{rate: rate, tokens: tokens, size: size, fill: size/rate + 1, at: now}
}

// take says whether a packet passes.
func (b *bucket) take(now int64, octets int) bool {
	if b.rate == 0 {
		return true
	}
	b.refill(now)
	cost := int64(octets) * perOctet
	if b.tokens < cost {
		return false
	}
	b.tokens -= cost
	return true
}

func (b *bucket) refill(now int64) {
	// The two packet loops read the clock apart: a batch may be a little behind.
	if elapsed := now - b.at; elapsed > 0 {
		b.at = now
		b.tokens = min(b.tokens+min(elapsed, b.fill)*b.rate, b.size)
	}
}
