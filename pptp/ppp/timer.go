package ppp

import "time"

// Timer holds the restart timer and the counters of RFC 1661 §4.6. A zero field
// takes its default.
type Timer struct {
	// First is the wait before the first retransmission; it doubles up to Max. The
	// RFC's 3 s is ours only as Max: a client's first packets often find nobody
	// listening yet (accel-ppp, pppd behind pptp-linux), and a fixed 3 s then makes
	// each login 3 s longer. Once an answer has been timed, the wait is three times
	// that, so that a slow path is not answered with needless repetitions.
	First, Max time.Duration

	// RTT is what is already known of the path: for CCP and IPCP, LCP's
	// Results().RTT.
	RTT time.Duration

	MaxConfigure uint8 // Configure-Requests in a row without an answer
	MaxTerminate uint8 // Terminate-Requests
	MaxFailure   uint8 // Naks we send before we reject instead; twice as many end it
}

const (
	defaultFirst        = 300 * time.Millisecond
	defaultMax          = 3 * time.Second // RFC 1661 §4.6
	defaultMaxConfigure = 10              // RFC 1661 §4.6
	defaultMaxTerminate = 2               // RFC 1661 §4.6
	defaultMaxFailure   = 5               // RFC 1661 §4.6
)

// ccpFirst is CCP's First. A pppd client whose CCP has opened treats one more
// Configure-Request as the end of encryption and hangs up, so a repetition that
// was not needed costs the session, and one that was needed only this second.
const ccpFirst = time.Second

func (t Timer) withDefaults(first time.Duration) Timer {
	if t.First <= 0 {
		t.First = first
	}
	if t.Max <= 0 {
		t.Max = max(defaultMax, t.First)
	}
	if t.MaxConfigure == 0 {
		t.MaxConfigure = defaultMaxConfigure
	}
	if t.MaxTerminate == 0 {
		t.MaxTerminate = defaultMaxTerminate
	}
	if t.MaxFailure == 0 {
		t.MaxFailure = defaultMaxFailure
	}
	return t
}

// first is the wait before a first retransmission on a path with this round trip.
func (t *Timer) first(rtt time.Duration) time.Duration {
	return min(max(3*rtt, t.First), t.Max)
}

// earliest is the sooner of two deadlines, of which the zero one means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
