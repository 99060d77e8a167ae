package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Buckets. A value that can expire starts with its deadline in ms, 8 octets, 0
// for never.
var (
	bucketValues  = []byte("values")  // KEY, or KEY NUL FIELD → deadline, value
	bucketMembers = []byte("members") // KEY NUL MEMBER → deadline, score (8)
	bucketEvents  = []byte("events")  // KEY NUL ms (8) n (8) → deadline, event
	bucketStreams = []byte("streams") // KEY → last ms (8), last n (8), length (8)
	bucketLeases  = []byte("leases")  // see embedded_lease.go

	buckets = [...][]byte{bucketValues, bucketMembers, bucketEvents, bucketStreams, bucketLeases}
)

// txn is what operations need of a bbolt transaction. Its first error sticks
// and undoes the transaction.
type txn struct {
	values, members_, events_, streams, leases *bbolt.Bucket
	now                                        int64
	published                                  []message
	err                                        error
}

func newTxn(tx *bbolt.Tx, now time.Time) *txn {
	return &txn{
		values: tx.Bucket(bucketValues), members_: tx.Bucket(bucketMembers),
		events_: tx.Bucket(bucketEvents), streams: tx.Bucket(bucketStreams), leases: tx.Bucket(bucketLeases),
		now: now.UnixMilli(),
	}
}

func (t *txn) set(b *bbolt.Bucket, k, v []byte) {
	if err := b.Put(k, v); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *txn) del(b *bbolt.Bucket, k []byte) {
	if err := b.Delete(k); err != nil && t.err == nil {
		t.err = err
	}
}

// live takes the deadline off a stored value; false: expired or none.
func (t *txn) live(v []byte) ([]byte, bool) {
	if len(v) < 8 {
		return nil, false
	}
	until := int64(binary.BigEndian.Uint64(v))
	return v[8:], until == 0 || until > t.now
}

func (t *txn) until(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return t.now + ms(ttl)
}

func stamped(until int64, v string) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(v)), uint64(until)), v...)
}

func (t *txn) get(k Key) ([]byte, bool) { return t.live(t.values.Get([]byte(k.String()))) }

func (t *txn) put(k Key, v string, ttl time.Duration) {
	t.set(t.values, []byte(k.String()), stamped(t.until(ttl), v))
}

// eachSub visits the live parts of a key.
func (t *txn) eachSub(k Key, visit func(part string, v []byte)) {
	prefix := []byte(k.String() + "\x00")
	c := t.values.Cursor()
	for kk, v := c.Seek(prefix); bytes.HasPrefix(kk, prefix); kk, v = c.Next() {
		if v, ok := t.live(v); ok {
			visit(string(kk[len(prefix):]), v)
		}
	}
}

// delete removes a key whatever it is.
func (t *txn) delete(k Key) {
	key := []byte(k.String())
	t.del(t.values, key)
	t.del(t.streams, key)
	prefix := append(key, 0)
	for _, b := range []*bbolt.Bucket{t.values, t.members_, t.events_} {
		var doomed [][]byte // a bbolt cursor must not delete under itself
		c := b.Cursor()
		for kk, _ := c.Seek(prefix); bytes.HasPrefix(kk, prefix); kk, _ = c.Next() {
			doomed = append(doomed, bytes.Clone(kk))
		}
		for _, kk := range doomed {
			t.del(b, kk)
		}
	}
}

// member is one member of a scored set.
type member struct {
	name  string
	score int64
}

// members lists a set by score.
func (t *txn) members(k Key) []member {
	var ms []member
	prefix := []byte(k.String() + "\x00")
	c := t.members_.Cursor()
	for kk, v := c.Seek(prefix); bytes.HasPrefix(kk, prefix); kk, v = c.Next() {
		if v, ok := t.live(v); ok && len(v) == 8 {
			ms = append(ms, member{string(kk[len(prefix):]), int64(binary.BigEndian.Uint64(v))})
		}
	}
	slices.SortStableFunc(ms, func(a, b member) int {
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		}
		return 0
	})
	return ms
}

// member is one's score.
func (t *txn) member(k Key, name string) (score int64, in bool) {
	v, ok := t.live(t.members_.Get([]byte(k.sub(name).String())))
	if !ok || len(v) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v)), true
}

func (t *txn) setMember(k Key, name string, score, until int64) {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(until))
	t.set(t.members_, []byte(k.sub(name).String()), binary.BigEndian.AppendUint64(v, uint64(score)))
}

func (t *txn) deleteMember(k Key, name string) {
	t.del(t.members_, []byte(k.sub(name).String()))
}

func (t *txn) deleteMembers(k Key, ms []member) {
	for _, m := range ms {
		t.deleteMember(k, m.name)
	}
}

func (t *txn) appendEvent(k Key, event string, most int, ttl time.Duration) EventID {
	key := []byte(k.String())
	var id EventID
	var length uint64
	if v := t.streams.Get(key); len(v) == 24 {
		id = EventID{binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])}
		length = binary.BigEndian.Uint64(v[16:])
	}
	if next := uint64(t.now); next > id.MS {
		id = EventID{MS: next}
	} else { // the same millisecond, or a clock set back
		id.N++
	}
	prefix := append(bytes.Clone(key), 0)
	for length++; length > uint64(most); length-- {
		k, _ := t.events_.Cursor().Seek(prefix)
		if !bytes.HasPrefix(k, prefix) { // the sweeper took some
			length = 1
			break
		}
		t.del(t.events_, bytes.Clone(k))
	}
	t.set(t.events_, appendID(prefix, id), stamped(t.until(ttl), event))
	t.set(t.streams, key, binary.BigEndian.AppendUint64(appendID(nil, id), length))
	return id
}

func appendID(b []byte, id EventID) []byte {
	b = binary.BigEndian.AppendUint64(b, id.MS)
	return binary.BigEndian.AppendUint64(b, id.N)
}

func (t *txn) events(k Key, after EventID, newest bool, limit int) []Event {
	if limit <= 0 {
		return nil
	}
	prefix := []byte(k.String() + "\x00")
	var list []Event
	visit := func(kk, v []byte) bool {
		if !bytes.HasPrefix(kk, prefix) || len(kk) != len(prefix)+16 || len(list) == limit {
			return false
		}
		kk = kk[len(prefix):]
		id := EventID{binary.BigEndian.Uint64(kk), binary.BigEndian.Uint64(kk[8:])}
		if !after.Less(id) {
			return false
		}
		if v, ok := t.live(v); ok {
			list = append(list, Event{id, string(v)})
		}
		return true
	}
	c := t.events_.Cursor()
	if newest {
		step := c.Prev
		if behind, _ := c.Seek(append(bytes.Clone(prefix[:len(prefix)-1]), 1)); behind == nil {
			step = c.Last
		}
		for kk, v := step(); visit(kk, v); kk, v = c.Prev() {
		}
		slices.Reverse(list)
		return list
	}
	from := EventID{after.MS, after.N + 1}
	if after.N+1 == 0 {
		from = EventID{after.MS + 1, 0}
	}
	for kk, v := c.Seek(appendID(bytes.Clone(prefix), from)); visit(kk, v); kk, v = c.Next() {
	}
	return list
}

// sweepPlace is where the sweeper goes on next time.
type sweepPlace struct {
	bucket int
	key    []byte
}

// sweep looks at up to n values and deletes those that have expired.
func (t *txn) sweep(p sweepPlace, n int) sweepPlace {
	sweepable := [...]*bbolt.Bucket{t.values, t.members_, t.events_}
	b := sweepable[p.bucket]
	var doomed [][]byte
	c := b.Cursor()
	k, v := c.Seek(p.key)
	for ; k != nil && n > 0; k, v = c.Next() {
		n--
		if _, ok := t.live(v); !ok {
			doomed = append(doomed, bytes.Clone(k))
		}
	}
	next := sweepPlace{p.bucket, bytes.Clone(k)}
	if k == nil {
		next = sweepPlace{bucket: (p.bucket + 1) % len(sweepable)}
	}
	for _, k := range doomed {
		t.del(b, k)
	}
	return next
}
