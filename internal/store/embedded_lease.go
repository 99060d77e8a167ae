package store

import (
	"bytes"
	"encoding/binary"
	"strings"

	"go.etcd.io/bbolt"
)

// Leases of the embedded store, the twin of script.lua's. In the bucket, after
// {pool:NAME} and one letter:
//
//	a address (4)           → deadline or time of release in ms (8), holder NUL owner
//	t ms (8) address (4)    → nothing: the same by time
//	h holder                → address
//	o owner                 → address
//	c SHAPE : first (4)     → next address never used (8)
//
// They have no deadline of their own: there is one of each for an address that
// was ever used, so the pools bound them.
type leaseBook struct {
	t      *txn
	b      *bbolt.Bucket
	prefix string
}

func (t *txn) book(pool string) leaseBook {
	return leaseBook{t, t.leases, "{" + poolKeys(pool)[0].tag + "}"}
}

func (l leaseBook) key(kind byte, rest string) []byte {
	return append(append([]byte(l.prefix), kind), rest...)
}

func num(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func (l leaseBook) number(kind byte, rest string) (uint32, bool) {
	v := l.b.Get(l.key(kind, rest))
	if len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// entry reads who has an address and until when.
func (l leaseBook) entry(n uint32) (until int64, holder, owner string, found bool) {
	v := l.b.Get(l.key('a', num(n)))
	if len(v) < 8 {
		return 0, "", "", false
	}
	holder, owner, _ = strings.Cut(string(v[8:]), "\x00")
	return int64(binary.BigEndian.Uint64(v)), holder, owner, true
}

func (l leaseBook) at(until int64, n uint32) []byte {
	return l.key('t', string(binary.BigEndian.AppendUint64(nil, uint64(until)))+num(n))
}

func (l leaseBook) setEntry(n uint32, until int64, holder, owner string) {
	l.dropEntry(n)
	l.t.set(l.b, l.key('a', num(n)), stamped(until, holder+"\x00"+owner))
	l.t.set(l.b, l.at(until, n), []byte{})
}

func (l leaseBook) dropEntry(n uint32) {
	if until, _, _, found := l.entry(n); found {
		l.t.del(l.b, l.at(until, n))
		l.t.del(l.b, l.key('a', num(n)))
	}
}

// forget takes an address from whoever had it.
func (l leaseBook) forget(n uint32) {
	_, holder, owner, _ := l.entry(n)
	if m, found := l.number('h', holder); found && m == n {
		l.t.del(l.b, l.key('h', holder))
	}
	if m, found := l.number('o', owner); found && m == n {
		l.t.del(l.b, l.key('o', owner))
	}
	l.dropEntry(n)
}

func (l leaseBook) take(n uint32, o *Lease) {
	holder, owner := escape(o.Holder), o.owner()
	l.t.release(o.Pool, holder) // one outside the ranges, or the same
	l.forget(n)
	l.setEntry(n, l.t.now+ms(o.TTL), holder, owner)
	l.t.set(l.b, l.key('h', holder), []byte(num(n)))
	l.t.set(l.b, l.key('o', owner), []byte(num(n)))
}

func (t *txn) lease(o *Lease) (n uint32, ok, more bool) {
	l := t.book(o.Pool)
	ranges := o.Ranges[:min(len(o.Ranges), MaxRanges)]
	inside := func(n uint32) bool {
		for _, r := range ranges {
			if n >= number(r.First) && n <= number(r.Last) {
				return true
			}
		}
		return false
	}
	if n, found := l.number('h', escape(o.Holder)); found && inside(n) {
		l.take(n, o)
		return n, true, false
	}
	if n, found := l.number('o', o.owner()); found && inside(n) {
		if until, _, _, _ := l.entry(n); until <= t.now {
			l.take(n, o)
			return n, true, false
		}
	}
	budget, shape := leaseBudget, o.shape()+":"
	for _, r := range ranges { // never used
		first, last := number(r.First), number(r.Last)
		start := uint64(first)
		if v := l.b.Get(l.key('c', shape+num(first))); len(v) == 8 {
			start = binary.BigEndian.Uint64(v)
		} else {
			l.dropShapes("", maxShapes)
		}
		cur, hit := start, false
		for ; cur <= uint64(last) && budget > 0 && !hit; cur++ {
			budget--
			_, _, _, used := l.entry(uint32(cur))
			n, hit = uint32(cur), !used
		}
		if cur != start {
			t.set(l.b, l.key('c', shape+num(first)), binary.BigEndian.AppendUint64(nil, cur))
		}
		if hit {
			l.take(n, o)
			return n, true, false
		}
		if budget <= 0 {
			return 0, false, true
		}
	}
	for ; budget > 0; budget-- { // free for longest
		prefix := l.key('t', "")
		k, _ := l.b.Cursor().Seek(prefix)
		if !bytes.HasPrefix(k, prefix) || len(k) != len(prefix)+12 {
			return 0, false, false
		}
		k = k[len(prefix):]
		if int64(binary.BigEndian.Uint64(k)) > t.now {
			return 0, false, false
		}
		n := binary.BigEndian.Uint32(k[8:])
		if inside(n) {
			l.take(n, o)
			return n, true, false
		}
		l.forget(n) // no longer in the pool; another shape may hold it
		l.dropShapes(shape, 0)
	}
	return 0, false, true
}

// dropShapes forgets how far other shapes than keep are used up, when there are
// more than most entries.
func (l leaseBook) dropShapes(keep string, most int) {
	prefix, own := l.key('c', ""), l.key('c', keep)
	var all [][]byte
	c := l.b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		all = append(all, bytes.Clone(k))
	}
	if len(all) <= most {
		return
	}
	for _, k := range all {
		if keep == "" || !bytes.HasPrefix(k, own) {
			l.t.del(l.b, k)
		}
	}
}

func (t *txn) renew(pool, holder string, until int64) (n uint32, ok bool) {
	l := t.book(pool)
	n, found := l.number('h', holder)
	if !found {
		return 0, false
	}
	_, _, owner, _ := l.entry(n)
	l.setEntry(n, until, holder, owner)
	return n, true
}

func (t *txn) release(pool, holder string) {
	l := t.book(pool)
	n, found := l.number('h', holder)
	if !found {
		return
	}
	_, _, owner, _ := l.entry(n)
	l.setEntry(n, t.now, "", owner)
	t.del(l.b, l.key('h', holder))
}

// leased counts by walking the leases that run; the lab's pools are small.
func (t *txn) leased(pool string) int {
	l := t.book(pool)
	prefix, n := l.key('t', ""), 0
	c := l.b.Cursor()
	for k, _ := c.Seek(l.at(t.now+1, 0)); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		n++
	}
	return n
}
