package inputs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"postern/policy"
)

// Tags of a record. A tag is never used again for something else.
const (
	tagDecision uint64 = 1 + iota
	tagAt
	tagKind
	tagVerdict
	tagReason
	tagFactor
	tagAsked
	tagOutcome
	tagRule
	tagPolicy
	tagTerms
	tagKey
	tagAccountRealm
	tagSID
	tagGeo
)

// Tags of facts; they are beside those of the record.
const (
	tagUser uint64 = 32 + iota
	tagRealm
	tagGroups
	tagSource
	tagCountry
	tagASN
	tagNAS
	tagNASAddress
	tagNode
	tagTunnel
	tagClientName
	tagClientVersion
	tagKeyGrade
	tagGiven
	tagLastSuccess
	tagUserFailures
	tagSourceFailures
	tagSourceUsers
	tagCodeFailures
	tagDevice
)

// Tags within a device.
const (
	tagDeviceID uint64 = 1 + iota
	tagDeviceName
	tagDeviceJoin
	tagDeviceOwned
	tagDeviceReported
	tagDeviceOS
	tagDeviceOSVersion
	tagDeviceManaged
	tagDeviceCompliant
	tagDeviceEncrypted
	tagDeviceFirewall
	tagDeviceAntivirus
	tagDeviceLock
	tagDeviceEnabled
	tagDevicePatched
	tagDeviceBooted
	tagDeviceLastLogon
	tagDeviceGroups
)

// Tags within a fact.
const (
	tagValue uint64 = 1 + iota
	tagConfidence
	tagFactSource
	tagFactAt
)

const (
	frameMark = 0xb5
	sumLen    = 4
	// maxFields bounds a frame, ours: a name in thousands of groups fits.
	maxFields = 1 << 20
)

// Errors of ParseRecord.
var (
	ErrShort   = errors.New("inputs: the record is not all there")
	ErrDamaged = errors.New("inputs: the record is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendRecord appends r as a frame. One that is larger than a frame may be it leaves
// away; no account is in so many groups.
func AppendRecord(dst []byte, r *Record) []byte {
	dst, _ = appendRecord(dst, nil, r)
	return dst
}

// appendRecord is AppendRecord with room for the fields, which it returns.
func appendRecord(dst, room []byte, r *Record) (frames, fields []byte) {
	fields = appendFields(room[:0], r)
	if len(fields) > maxFields {
		return dst, fields
	}
	dst = append(dst, frameMark)
	dst = binary.AppendUvarint(dst, uint64(len(fields)))
	dst = append(dst, fields...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(fields, castagnoli)), fields
}

func appendFields(b []byte, r *Record) []byte {
	b = appendText(b, tagDecision, r.Decision)
	b = appendTime(b, tagAt, r.At)
	b = appendOctet(b, tagKind, byte(r.Kind))
	b = appendText(b, tagVerdict, r.Verdict)
	b = appendText(b, tagReason, r.Reason)
	b = appendText(b, tagFactor, r.Factor)
	b = appendBool(b, tagAsked, r.Asked)
	b = appendOctet(b, tagOutcome, byte(r.Outcome))
	b = appendText(b, tagRule, r.Rule)
	b = appendText(b, tagPolicy, r.Policy)
	if r.Terms != nil {
		b = appendNested(b, tagTerms, func(b []byte) []byte {
			for _, t := range r.Terms {
				b = appendString(appendString(b, t.Key), t.Value)
			}
			return b
		})
	}
	b = appendText(b, tagKey, r.Key)
	b = appendText(b, tagAccountRealm, r.Provenance.Realm)
	b = appendText(b, tagSID, r.Provenance.SID)
	b = appendText(b, tagGeo, r.Provenance.Geo)

	f := &r.Facts
	b = appendText(b, tagUser, f.User)
	b = appendText(b, tagRealm, f.Realm)
	b = appendTexts(b, tagGroups, f.Groups)
	b = appendAddr(b, tagSource, f.Source)
	b = appendText(b, tagCountry, f.Country)
	b = appendNumber(b, tagASN, uint64(f.ASN))
	b = appendText(b, tagNAS, f.NAS)
	b = appendAddr(b, tagNASAddress, f.NASAddress)
	b = appendBool(b, tagNode, f.Node)
	b = appendText(b, tagTunnel, f.Tunnel)
	b = appendText(b, tagClientName, f.ClientName)
	b = appendText(b, tagClientVersion, f.ClientVersion)
	b = appendOctet(b, tagKeyGrade, byte(f.Key))
	b = appendOctet(b, tagGiven, byte(f.Given))
	b = appendTime(b, tagLastSuccess, f.LastSuccess)
	b = appendNumber(b, tagUserFailures, uint64(max(f.Risk.UserFailures, 0)))
	b = appendNumber(b, tagSourceFailures, uint64(max(f.Risk.SourceFailures, 0)))
	b = appendNumber(b, tagSourceUsers, uint64(max(f.Risk.SourceUsers, 0)))
	b = appendNumber(b, tagCodeFailures, uint64(max(f.Risk.CodeFailures, 0)))
	before := len(b)
	b = appendNested(b, tagDevice, func(b []byte) []byte { return appendDevice(b, &f.Device) })
	if len(b) == before+2 { // nothing is known of it
		b = b[:before]
	}
	return b
}

func appendDevice(b []byte, d *policy.Device) []byte {
	b = appendText(b, tagDeviceID, d.ID)
	b = appendText(b, tagDeviceName, d.Name)
	b = appendText(b, tagDeviceJoin, d.Join)
	b = appendOctet(b, tagDeviceOwned, byte(d.Owned))
	for c, t := range d.Reported {
		if !t.IsZero() {
			b = appendNested(b, tagDeviceReported, func(b []byte) []byte { return appendInstant(append(b, byte(c)), t) })
		}
	}
	b = appendFact(b, tagDeviceOS, &d.OS, appendText)
	b = appendFact(b, tagDeviceOSVersion, &d.OSVersion, appendText)
	for _, t := range triFacts(d) {
		b = appendFact(b, t.tag, t.fact, func(b []byte, tag uint64, v policy.Tri) []byte { return appendOctet(b, tag, byte(v)) })
	}
	for _, t := range timeFacts(d) {
		b = appendFact(b, t.tag, t.fact, appendTime)
	}
	return appendTexts(b, tagDeviceGroups, d.Groups)
}

type tagged[T comparable] struct {
	tag  uint64
	fact *policy.Fact[T]
}

func triFacts(d *policy.Device) [7]tagged[policy.Tri] {
	return [...]tagged[policy.Tri]{
		{tagDeviceManaged, &d.Managed}, {tagDeviceCompliant, &d.Compliant}, {tagDeviceEncrypted, &d.Encrypted}, {tagDeviceFirewall, &d.Firewall},
		{tagDeviceAntivirus, &d.Antivirus}, {tagDeviceLock, &d.Lock}, {tagDeviceEnabled, &d.Enabled},
	}
}

func timeFacts(d *policy.Device) [3]tagged[time.Time] {
	return [...]tagged[time.Time]{{tagDevicePatched, &d.Patched}, {tagDeviceBooted, &d.Booted}, {tagDeviceLastLogon, &d.LastLogon}}
}

func appendFact[T comparable](b []byte, tag uint64, f *policy.Fact[T], value func([]byte, uint64, T) []byte) []byte {
	if *f == *new(policy.Fact[T]) {
		return b
	}
	return appendNested(b, tag, func(b []byte) []byte {
		b = value(b, tagValue, f.Value)
		b = appendOctet(b, tagConfidence, byte(f.Confidence))
		b = appendText(b, tagFactSource, f.Source)
		return appendTime(b, tagFactAt, f.At)
	})
}

// Fields with the zero value are not written.

func appendHead(b []byte, tag uint64, length int) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, tag), uint64(length))
}

func appendText(b []byte, tag uint64, s string) []byte {
	if s == "" {
		return b
	}
	return append(appendHead(b, tag, len(s)), s...)
}

func appendTexts(b []byte, tag uint64, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	n := 0
	for _, s := range list {
		n += uvarintLen(uint64(len(s))) + len(s)
	}
	b = appendHead(b, tag, n)
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func appendNumber(b []byte, tag, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(appendHead(b, tag, uvarintLen(n)), n)
}

func appendOctet(b []byte, tag uint64, v byte) []byte {
	if v == 0 {
		return b
	}
	return append(appendHead(b, tag, 1), v)
}

func appendBool(b []byte, tag uint64, v bool) []byte {
	if !v {
		return b
	}
	return appendOctet(b, tag, 1)
}

func appendAddr(b []byte, tag uint64, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	if a = a.WithZone(""); a.Is4() {
		four := a.As4()
		return append(appendHead(b, tag, len(four)), four[:]...)
	}
	sixteen := a.As16()
	return append(appendHead(b, tag, len(sixteen)), sixteen[:]...)
}

func appendTime(b []byte, tag uint64, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendNested(b, tag, func(b []byte) []byte { return appendInstant(b, t) })
}

// appendInstant appends seconds since 1970 and nanoseconds, so that no time is out of
// range.
func appendInstant(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond()))
}

// appendNested appends what value appends, under a tag.
func appendNested(b []byte, tag uint64, value func([]byte) []byte) []byte {
	b = binary.AppendUvarint(b, tag)
	at := len(b)
	b = value(append(b, 0))
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	var head [binary.MaxVarintLen64]byte
	h := binary.PutUvarint(head[:], uint64(n))
	b = append(b, head[:h-1]...) // room
	copy(b[at+h:], b[at+1:at+1+n])
	copy(b[at:], head[:h])
	return b
}

// ParseRecord reads the frame that b begins with, and says how long it is. What it
// returns has nothing of b.
func ParseRecord(b []byte) (Record, int, error) {
	var r Record
	fields, n, err := frame(b)
	if err == nil {
		err = new(parser).record(fields, &r)
	}
	if err != nil {
		return Record{}, 0, err
	}
	return r, n, nil
}

// frame returns the fields of the frame that b begins with, and the frame's length.
func frame(b []byte) (fields []byte, n int, err error) {
	if len(b) == 0 {
		return nil, 0, ErrShort
	}
	if b[0] != frameMark {
		return nil, 0, ErrDamaged
	}
	length, w := binary.Uvarint(b[1:])
	switch {
	case w == 0:
		return nil, 0, ErrShort
	case w < 0 || length > maxFields:
		return nil, 0, ErrDamaged
	}
	from := 1 + w
	n = from + int(length) + sumLen
	if len(b) < n {
		return nil, 0, ErrShort
	}
	fields = b[from : from+int(length)]
	if binary.LittleEndian.Uint32(b[from+int(length):]) != crc32.Checksum(fields, castagnoli) {
		return nil, 0, ErrDamaged
	}
	return fields, n, nil
}

// parser reads fields. Names come again and again: it keeps those that it has seen, so
// that reading a million records allocates little. The zero parser keeps nothing.
type parser struct {
	texts map[string]string
	lists map[string][]string
}

// maxKept bounds what a parser keeps, ours.
const maxKept = 1 << 16

func newParser() *parser {
	return &parser{texts: make(map[string]string), lists: make(map[string][]string)}
}

func (p *parser) text(v []byte) string {
	if p.texts == nil {
		return string(v)
	}
	s, ok := p.texts[string(v)]
	if !ok {
		if len(p.texts) >= maxKept {
			clear(p.texts)
		}
		s = string(v)
		p.texts[s] = s
	}
	return s
}

// list returns texts; what was kept is shared and must not be written to.
func (p *parser) list(v []byte) ([]string, error) {
	if l, ok := p.lists[string(v)]; ok {
		return l, nil
	}
	var l []string
	for rest := v; len(rest) > 0; {
		var s []byte
		var err error
		if s, rest, err = cut(rest); err != nil {
			return nil, err
		}
		l = append(l, p.text(s))
	}
	if p.lists != nil {
		if len(p.lists) >= maxKept {
			clear(p.lists)
		}
		p.lists[string(v)] = l
	}
	return l, nil
}

// cut takes a string off the front.
func cut(b []byte) (s, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, ErrDamaged
	}
	return b[w : w+int(n)], b[w+int(n):], nil
}

// field takes a field off the front.
func field(b []byte) (tag uint64, value, rest []byte, err error) {
	tag, w := binary.Uvarint(b)
	if w <= 0 {
		return 0, nil, nil, ErrDamaged
	}
	value, rest, err = cut(b[w:])
	return tag, value, rest, err
}

// record reads fields into r, which is zero.
func (p *parser) record(b []byte, r *Record) error {
	for len(b) > 0 {
		tag, v, rest, err := field(b)
		if err == nil && tag < tagUser {
			err = p.own(tag, v, r)
		} else if err == nil {
			err = p.fact(tag, v, &r.Facts)
		}
		if err != nil {
			return fmt.Errorf("%w: tag %d", ErrDamaged, tag)
		}
		b = rest
	}
	return nil
}

func (p *parser) own(tag uint64, v []byte, r *Record) (err error) {
	switch tag {
	case tagDecision:
		r.Decision = string(v) // comes once
	case tagAt:
		r.At, err = instant(v)
	case tagKind:
		r.Kind, err = octet[Kind](v)
	case tagVerdict:
		r.Verdict = p.text(v)
	case tagReason:
		r.Reason = p.text(v)
	case tagFactor:
		r.Factor = p.text(v)
	case tagAsked:
		r.Asked, err = truth(v)
	case tagOutcome:
		r.Outcome, err = octet[policy.Verdict](v)
	case tagRule:
		r.Rule = p.text(v)
	case tagPolicy:
		r.Policy = p.text(v)
	case tagTerms:
		r.Terms, err = terms(v)
	case tagKey:
		r.Key = p.text(v)
	case tagAccountRealm:
		r.Provenance.Realm = p.text(v)
	case tagSID:
		r.Provenance.SID = p.text(v)
	case tagGeo:
		r.Provenance.Geo = p.text(v)
	}
	return err
}

func (p *parser) fact(tag uint64, v []byte, f *policy.Facts) (err error) {
	switch tag {
	case tagUser:
		f.User = p.text(v)
	case tagRealm:
		f.Realm = p.text(v)
	case tagGroups:
		f.Groups, err = p.list(v)
	case tagSource:
		f.Source, err = addr(v)
	case tagCountry:
		f.Country = p.text(v)
	case tagASN:
		f.ASN, err = number[uint32](v)
	case tagNAS:
		f.NAS = p.text(v)
	case tagNASAddress:
		f.NASAddress, err = addr(v)
	case tagNode:
		f.Node, err = truth(v)
	case tagTunnel:
		f.Tunnel = p.text(v)
	case tagClientName:
		f.ClientName = p.text(v)
	case tagClientVersion:
		f.ClientVersion = p.text(v)
	case tagKeyGrade:
		f.Key, err = octet[policy.KeyGrade](v)
	case tagGiven:
		f.Given, err = octet[policy.Given](v)
	case tagLastSuccess:
		f.LastSuccess, err = instant(v)
	case tagUserFailures:
		f.Risk.UserFailures, err = number[int](v)
	case tagSourceFailures:
		f.Risk.SourceFailures, err = number[int](v)
	case tagSourceUsers:
		f.Risk.SourceUsers, err = number[int](v)
	case tagCodeFailures:
		f.Risk.CodeFailures, err = number[int](v)
	case tagDevice:
		for len(v) > 0 && err == nil {
			var inner []byte
			if tag, inner, v, err = field(v); err == nil {
				err = p.device(tag, inner, &f.Device)
			}
		}
	}
	return err
}

func (p *parser) device(tag uint64, v []byte, d *policy.Device) (err error) {
	switch tag {
	case tagDeviceID:
		d.ID = p.text(v)
	case tagDeviceName:
		d.Name = p.text(v)
	case tagDeviceJoin:
		d.Join = p.text(v)
	case tagDeviceOwned:
		d.Owned, err = octet[policy.Tri](v)
	case tagDeviceReported:
		if len(v) == 0 {
			return ErrDamaged
		}
		if c := int(v[0]); c < len(d.Reported) { // else of a newer program
			d.Reported[c], err = instant(v[1:])
		}
	case tagDeviceOS:
		d.OS, err = readFact(p, v, p.word)
	case tagDeviceOSVersion:
		d.OSVersion, err = readFact(p, v, p.word)
	case tagDeviceGroups:
		d.Groups, err = p.list(v)
	case tagDeviceManaged, tagDeviceCompliant, tagDeviceEncrypted, tagDeviceFirewall, tagDeviceAntivirus, tagDeviceLock, tagDeviceEnabled:
		*triFacts(d)[tag-tagDeviceManaged].fact, err = readFact(p, v, octet[policy.Tri])
	case tagDevicePatched, tagDeviceBooted, tagDeviceLastLogon:
		*timeFacts(d)[tag-tagDevicePatched].fact, err = readFact(p, v, instant)
	}
	return err
}

func (p *parser) word(v []byte) (string, error) { return p.text(v), nil }

func readFact[T comparable](p *parser, b []byte, value func([]byte) (T, error)) (f policy.Fact[T], err error) {
	for len(b) > 0 && err == nil {
		var tag uint64
		var v []byte
		if tag, v, b, err = field(b); err != nil {
			break
		}
		switch tag {
		case tagValue:
			f.Value, err = value(v)
		case tagConfidence:
			f.Confidence, err = octet[policy.Confidence](v)
		case tagFactSource:
			f.Source = p.text(v)
		case tagFactAt:
			f.At, err = instant(v)
		}
	}
	return f, err
}

func octet[T ~uint8](v []byte) (T, error) {
	if len(v) != 1 {
		return 0, ErrDamaged
	}
	return T(v[0]), nil
}

func truth(v []byte) (bool, error) {
	n, err := octet[byte](v)
	return n != 0, err
}

func number[T int | uint32](v []byte) (T, error) {
	n, w := binary.Uvarint(v)
	if w <= 0 || w != len(v) || n > 1<<63-1 || uint64(T(n)) != n {
		return 0, ErrDamaged
	}
	return T(n), nil
}

func addr(v []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		return netip.Addr{}, ErrDamaged
	}
	return a, nil
}

func instant(v []byte) (time.Time, error) {
	sec, w := binary.Varint(v)
	if w <= 0 {
		return time.Time{}, ErrDamaged
	}
	nsec, x := binary.Uvarint(v[w:])
	if x <= 0 || w+x != len(v) || nsec >= 1e9 {
		return time.Time{}, ErrDamaged
	}
	return time.Unix(sec, int64(nsec)).UTC(), nil
}

func terms(v []byte) ([]policy.Term, error) {
	list := []policy.Term{}
	for len(v) > 0 {
		key, rest, err := cut(v)
		if err != nil {
			return nil, err
		}
		value, rest, err := cut(rest)
		if err != nil {
			return nil, err
		}
		list = append(list, policy.Term{Key: string(key), Value: string(value)})
		v = rest
	}
	return list, nil
}
