package ad

import "time"

// weekHours is logonHours ([MS-ADA1] §2.376): a bit for each hour of the week from
// Sunday 0:00 UTC, the lowest bit first. The zero value is no restriction.
type weekHours struct {
	set  bool
	bits [hoursLen]byte
}

const hoursLen = 21

// readHours reads the attribute. One of another length restricts to no hour at all:
// it was meant to restrict.
func readHours(b []byte) weekHours {
	if len(b) == 0 {
		return weekHours{}
	}
	h := weekHours{set: true}
	if len(b) == hoursLen {
		copy(h.bits[:], b)
	}
	return h
}

// allow says whether the hour of now is one of them.
func (h weekHours) allow(now time.Time) bool {
	if !h.set {
		return true
	}
	now = now.UTC()
	hour := int(now.Weekday())*24 + now.Hour()
	return h.bits[hour/8]&(1<<(hour%8)) != 0
}
