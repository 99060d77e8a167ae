package ldap

import (
	"encoding/hex"
	"errors"
	"time"
)

// weekHours is sambaLogonHours: a bit for each hour of the week from Sunday 0:00
// UTC, the lowest bit first.
type weekHours [21]byte

func parseHours(s string) (h weekHours, err error) {
	if len(s) != hex.EncodedLen(len(h)) {
		return h, errors.New("not 21 octets in hex")
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return weekHours{}, errors.New("not in hex")
	}
	return h, nil
}

func (h weekHours) allow(now time.Time) bool {
	now = now.UTC()
	hour := int(now.Weekday())*24 + now.Hour()
	return h[hour/8]&(1<<(hour%8)) != 0
}
