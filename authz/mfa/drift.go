package mfa

import "time"

// drift is how far a token's clock was off by a code that was accepted.
func drift(now time.Time, t Token, step int64) int64 {
	return max(-maxRemembered, min(maxRemembered, step-now.Unix()/t.Period))
}

const (
	// maxRemembered bounds the remembered drift, in periods: 5 minutes at 30 s.
	maxRemembered = 10
	// driftLife is how long it is remembered without a login: a clock that was set right
	// meanwhile must not be held against its owner.
	driftLife = 30 * 24 * time.Hour
)

// centre is where the window of a token lies: the drift of the code accepted last moves
// it, and only that does. It never grows.
func centre(now time.Time, t Token, last, drift int64) int64 {
	at := now.Unix() / t.Period
	if last == 0 || drift < -maxRemembered || drift > maxRemembered || (at-last)*t.Period > int64(driftLife/time.Second) {
		return at
	}
	return at + drift
}
