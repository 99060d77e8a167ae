package ad

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// sid is a security identifier ([MS-DTYP] §2.4.2): who or what group somebody is,
// whatever the name. Domain accounts are S-1-5-21-X-Y-Z-RID. It is comparable.
type sid struct {
	authority uint64 // 48 bits
	n         int    // of sub in use
	sub       [maxSub]uint32
}

// [MS-DTYP] §2.4.2.2: SID in octets.
const (
	sidRevision = 1
	maxSub      = 15
	sidHead     = 8 // revision, count, authority
)

var errSID = errors.New("not a SID")

// parseSID reads a SID as objectSid and tokenGroups hold it. Nothing may follow.
func parseSID(b []byte) (sid, error) {
	if len(b) < sidHead || b[0] != sidRevision || int(b[1]) > maxSub || len(b) != sidHead+4*int(b[1]) {
		return sid{}, errSID
	}
	s := sid{n: int(b[1])}
	// The authority is big-endian, all else little-endian.
	s.authority = uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	for i := range s.n {
		s.sub[i] = binary.LittleEndian.Uint32(b[sidHead+4*i:])
	}
	return s, nil
}

// Append writes the SID as parseSID reads it.
func (s sid) Append(b []byte) []byte {
	b = append(b, sidRevision, byte(s.n))
	b = binary.BigEndian.AppendUint16(b, uint16(s.authority>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(s.authority))
	for _, v := range s.sub[:s.n] {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// String writes the SID as people do ([MS-DTYP] §2.4.2.1).
func (s sid) String() string {
	var b strings.Builder
	b.WriteString("S-1-")
	if s.authority < 1<<32 {
		b.WriteString(strconv.FormatUint(s.authority, 10))
	} else {
		fmt.Fprintf(&b, "0x%012X", s.authority)
	}
	for _, v := range s.sub[:s.n] {
		b.WriteByte('-')
		b.WriteString(strconv.FormatUint(uint64(v), 10))
	}
	return b.String()
}

// sidOf reads what String wrote.
func sidOf(text string) (sid, error) {
	parts := strings.Split(text, "-")
	if len(parts) < 3 || len(parts) > 3+maxSub || (parts[0] != "S" && parts[0] != "s") || parts[1] != "1" {
		return sid{}, errSID
	}
	number, base := parts[2], 10
	if hex, is := strings.CutPrefix(number, "0x"); is {
		number, base = hex, 16
	}
	authority, err := strconv.ParseUint(number, base, 48)
	if err != nil {
		return sid{}, errSID
	}
	s := sid{authority: authority, n: len(parts) - 3}
	for i, p := range parts[3:] {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return sid{}, errSID
		}
		s.sub[i] = uint32(v)
	}
	return s, nil
}

// Relative identifiers that are the same in each domain ([MS-DTYP] §2.4.2.4).
const ridProtectedUsers = 525

// rid is the last part, the domain's own number of the account.
func (s sid) rid() uint32 {
	if s.n == 0 {
		return 0
	}
	return s.sub[s.n-1]
}

// domain is the SID without its RID.
func (s sid) domain() sid {
	if s.n > 0 {
		s.n--
		s.sub[s.n] = 0
	}
	return s
}

// isDomain says whether a SID is an account's of a domain, not a built-in one:
// S-1-5-21-… and five parts.
func (s sid) isDomain() bool { return s.authority == 5 && s.n == 5 && s.sub[0] == 21 }
