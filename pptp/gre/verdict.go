package gre

import "strconv"

// Verdict is what became of a received packet. The receiver of a session counts
// them; that is also how a peer's restart (TooOld over and over) is seen.
type Verdict uint8

const (
	Unknown   Verdict = iota
	Delivered         // at once and in order
	Late              // at once, after packets that were sent behind it
	Jumped            // at once, in order, and packets before it are given up
	Held              // kept until those before it have come, or for a while
	Duplicate         // dropped: it was delivered already, or is held
	TooOld            // dropped: too far behind to tell whether it is a replay
	TooFar            // dropped: too far ahead to be believed
)

func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case Delivered:
		return "delivered"
	case Late:
		return "late"
	case Jumped:
		return "jumped"
	case Held:
		return "held"
	case Duplicate:
		return "duplicate"
	case TooOld:
		return "too old"
	case TooFar:
		return "too far"
	}
	return "verdict " + strconv.Itoa(int(v))
}
