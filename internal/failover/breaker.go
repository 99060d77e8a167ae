package failover

import "time"

// outcome is what one request says about its server.
//
// Handled in: Group.settle.
type outcome uint8

const (
	abandoned outcome = iota // nothing: the caller gave up
	answered
	silent
)

// breaker decides whether a server is asked in its turn. It is closed at first. So
// many failures in a row open it for the first pause; then it lets one request at a
// time through, whose failure opens it again for twice as long and whose success
// closes it. A request that it did not let through (the last resort) may close it,
// but its failure says nothing new.
type breaker struct {
	failures int  // in a row
	open     bool //
	probing  bool // a request is on its way to find out
	pause    time.Duration
	until    time.Time // open: the end of the pause
	since    time.Time // of the last change; zero: never changed
}

// allows says whether the server may be asked now, and whether that is on probation.
func (b *breaker) allows(now time.Time) (ok, probe bool) {
	if !b.open {
		return true, false
	}
	return !b.probing && !now.Before(b.until), true
}

// success says whether the server was passed over until now.
func (b *breaker) success() bool {
	was := b.open
	b.failures, b.open, b.pause = 0, false, 0
	return was
}

// failure says whether the server is passed over from now on and was not before.
func (b *breaker) failure(now time.Time, probe bool, cfg *Config) bool {
	b.failures++
	switch {
	case b.open && probe:
		b.pause = min(2*b.pause, cfg.MaxPause)
	case !b.open && b.failures >= cfg.Failures:
		b.pause = cfg.Pause
	default:
		return false
	}
	b.until = now.Add(b.pause)
	if b.open {
		return false
	}
	b.open, b.since = true, now
	return true
}
