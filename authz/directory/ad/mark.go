package ad

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"postern/authz/directory"
)

// mark is where a look at changes ended. USNs are one domain controller's own, and
// count from elsewhere after it was restored: then it has another invocation
// ([MS-ADTS] §3.1.1.1.9, §3.1.1.1.5). The text is
//
//	v1 INVOCATION USN SECONDS
//
// with the time of the last look at everybody.
type mark struct {
	invocation string // hex; "": unknown
	usn        int64
	all        time.Time
}

const markVersion = "v1"

var errMark = errors.New("not a mark")

// parseMark reads what String wrote.
func parseMark(m directory.Mark) (mark, error) {
	f := strings.Split(string(m), " ")
	if len(f) != 4 || f[0] != markVersion || len(f[1]) > 64 {
		return mark{}, errMark
	}
	usn, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return mark{}, errMark
	}
	all, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return mark{}, errMark
	}
	return mark{invocation: f[1], usn: usn, all: time.Unix(all, 0)}, nil
}

// String writes the mark.
func (m mark) String() string {
	return strings.Join([]string{markVersion, m.invocation, strconv.FormatInt(m.usn, 10), strconv.FormatInt(m.all.Unix(), 10)}, " ")
}

// recheck is how often everybody is looked at whatever the USNs say, ours: no USN
// changes when time passes (an account expires, hours end, a lock lapses), and a
// deleted group's members do not change, either.
const recheck = 5 * time.Minute

// fresh says whether changes since the mark tell all there is to know.
func (m mark) fresh(now time.Time, invocation string) bool {
	return m.invocation != "" && m.invocation == invocation && !now.Before(m.all) && now.Sub(m.all) < recheck
}
