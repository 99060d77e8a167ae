package ldap

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"postern/authz/directory"
)

// mark is where a look at changes ended. The text is
//
//	v1 LOOK ALL GROUPS
//
// with the times of this look and of the last at everybody, in seconds, and a
// digest of the groups as they were.
type mark struct {
	look, all time.Time
	groups    [16]byte
}

const markVersion = "v1"

var errMark = errors.New("not a mark")

// parseMark reads what String wrote.
func parseMark(m directory.Mark) (mark, error) {
	f := strings.Split(string(m), " ")
	if len(f) != 4 || f[0] != markVersion || len(f[3]) != 32 {
		return mark{}, errMark
	}
	look, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return mark{}, errMark
	}
	all, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return mark{}, errMark
	}
	k := mark{look: time.Unix(look, 0), all: time.Unix(all, 0)}
	if _, err := hex.Decode(k.groups[:], []byte(f[3])); err != nil {
		return mark{}, errMark
	}
	return k, nil
}

// String returns the mark as text.
func (m mark) String() string {
	return strings.Join([]string{
		markVersion, strconv.FormatInt(m.look.Unix(), 10), strconv.FormatInt(m.all.Unix(), 10), hex.EncodeToString(m.groups[:]),
	}, " ")
}
