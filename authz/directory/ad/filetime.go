package ad

import (
	"math"
	"strconv"
	"time"
)

// fileTime is a point in time as AD keeps it ([MS-DTYP] §2.3.3): in steps of
// 100 ns since 1601, UTC. Both 0 and the largest number mean never where an end is
// meant, such as accountExpires ([MS-ADA1] §2.2).
type fileTime int64

const (
	ticksPerSecond = int64(time.Second / 100)
	epoch1601      = 11644473600 // seconds from 1601 to 1970
	neverTime      = fileTime(math.MaxInt64)
)

// readFileTime reads an attribute; one that is absent or no number is 0.
func readFileTime(text string) fileTime {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return fileTime(v)
}

// toFileTime is the other way round.
func toFileTime(t time.Time) fileTime {
	return fileTime((t.Unix()+epoch1601)*ticksPerSecond + int64(t.Nanosecond()/100))
}

// Time is the point in time; never is the zero Time.
func (f fileTime) Time() time.Time {
	if f.never() || f < 0 {
		return time.Time{}
	}
	return time.Unix(int64(f)/ticksPerSecond-epoch1601, int64(f)%ticksPerSecond*100).UTC()
}

// never says that there is no end.
func (f fileTime) never() bool { return f == 0 || f == neverTime }

// past says whether an end has come.
func (f fileTime) past(now time.Time) bool { return !f.never() && !now.Before(f.Time()) }

// span reads an interval as AD keeps it, below zero: 0 and the smallest number
// mean that there is none.
func span(text string) time.Duration {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v >= 0 || v < math.MinInt64/100 {
		return 0
	}
	return time.Duration(-v * 100)
}

// generalizedTime reads rootDSE's currentTime: 20261123024626.0Z (RFC 4517
// §3.3.13, of which AD writes this form alone).
func generalizedTime(text string) (time.Time, error) {
	return time.Parse("20060102150405.0Z", text)
}
