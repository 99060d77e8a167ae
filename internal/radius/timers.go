package radius

import (
	"math/rand/v2"
	"time"
)

// RFC 5080 §2.2.1. Its IRT and MRC are the configuration's Timeout and Retries; MRD
// follows from them, and from the caller's context.
const maxRetransmit = 16 * time.Second // MRT

// Ours.
const (
	DefaultTimeout  = time.Second      // a PPP peer asks again after three
	DefaultDeadTime = 30 * time.Second //
	probeInterval   = 5 * time.Second  // between Status-Servers to a dead service

	// An answered Identifier rests, so that a server that compares no Authenticators
	// does not take the next request for a repetition while it still finishes with
	// the last. An unanswered one rests longer than servers keep replies (RFC 5080
	// §2.2.2 says 5 to 30 s).
	restAnswered   = 500 * time.Millisecond
	restUnanswered = 30 * time.Second

	// RadSec. RFC 6614 §2.1 and RFC 3539 §3.4.1: the watchdog's Tw.
	handshakeTime  = 10 * time.Second
	watchdogIdle   = 30 * time.Second
	reconnectFirst = 500 * time.Millisecond
	reconnectMax   = 30 * time.Second
)

// jittered is d with RFC 5080's RAND, evenly in -0.1..+0.1, so that nodes that lost
// the same service do not come back to it in step.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*0.2-0.1)*float64(d))
}

// retransmission is the series of waits for one request at one service.
type retransmission struct {
	initial time.Duration // IRT
	last    time.Duration // RTprev; zero: nothing was sent yet
}

func (r *retransmission) next() time.Duration {
	switch {
	case r.last == 0:
		r.last = jittered(r.initial)
	default:
		r.last += jittered(r.last)
	}
	if r.last > maxRetransmit {
		r.last = jittered(maxRetransmit)
	}
	return r.last
}

// window is how long the whole series lasts, without jitter. On a stream a request is
// sent once (RFC 6613 §2.6.1), and this is how long its answer is waited for.
func window(initial time.Duration, retries int) time.Duration {
	sum, wait := time.Duration(0), initial
	for range retries + 1 {
		wait = min(wait, max(maxRetransmit, initial))
		sum += wait
		wait *= 2
	}
	return sum
}
