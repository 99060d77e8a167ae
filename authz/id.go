package authz

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// idEncoding is Crockford's base 32: its digits sort as the octets do, and none
// of them is mistaken for another when read out on the telephone.
var idEncoding = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// newID makes a decision's ID: 48 bits of milliseconds, 72 random bits, in 24
// characters. IDs sort by time.
func newID(now time.Time) string {
	var b [15]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	rand.Read(b[6:]) // never fails: crypto/rand ends the process first
	return idEncoding.EncodeToString(b[:])
}

// DecisionTime is when a decision was made that has this ID; false: it is none.
func DecisionTime(id string) (time.Time, bool) {
	b, err := idEncoding.DecodeString(id)
	if err != nil || len(id) != 24 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b) >> 16)), true
}
