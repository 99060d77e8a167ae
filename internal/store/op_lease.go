package store

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Range is a run of IPv4 addresses, both ends included.
type Range struct{ First, Last netip.Addr }

// leaseBudget bounds the addresses one Lease looks at, so that no call holds up
// the store; a lease that needs more sets More and is asked again.
const leaseBudget = 2000

// Lease is a guard: it leases one address of a pool to a holder (a session).
// In order: the one the holder has, the owner's last one if it is free, one
// never used, the one free for longest. An address is free when its holder
// released it or its time has run out; only then is it leased again. Pools need
// no filling, and a changed Ranges applies to the next lease: who holds an
// address outside keeps it.
type Lease struct {
	Pool   string
	Ranges []Range // sorted, not overlapping; at most MaxRanges
	Holder string
	Owner  string // user the address sticks to; "": nobody
	TTL    time.Duration

	Outcome
	Addr netip.Addr
	More bool // not OK, but undecided: ask again
}

// MaxRanges is how many ranges a Lease looks at, which bounds a script call's
// arguments; maxShapes bounds the ranges of former shapes whose fill is remembered.
const (
	MaxRanges = 1000
	maxShapes = 4 * MaxRanges
)

func (o *Lease) keys() []Key  { return poolKeys(o.Pool) }
func (o *Lease) name() string { return "lease" }
func (o *Lease) writes() bool { return true }

func (o *Lease) args(a []any) []any {
	a = append(a, escape(o.Holder), o.owner(), ms(o.TTL), ms(poolLife), leaseBudget, o.shape(), maxShapes)
	for _, r := range o.Ranges[:min(len(o.Ranges), MaxRanges)] {
		a = append(a, number(r.First), number(r.Last))
	}
	return a
}

// shape tells one list of ranges from another. How far each range has been used
// up is kept for each shape, because addresses outside the present one are
// forgotten when they become free, and a later shape must find them again.
func (o *Lease) shape() string {
	h := fnv.New64a()
	for _, r := range o.Ranges {
		h.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, number(r.First)), number(r.Last)))
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// owner never is empty, or all without an owner would share a sticky address.
func (o *Lease) owner() string {
	if o.Owner == "" {
		return "%" + escape(o.Holder) // no escaped name looks like this
	}
	return escape(strings.ToLower(o.Owner))
}

func (o *Lease) decode(ok bool, r reply) error {
	o.Addr, o.More = netip.Addr{}, r.int(1) == 1
	if ok {
		o.Addr = address(uint32(r.int(0)))
	}
	return r.err
}

func (o *Lease) apply(t *txn) bool {
	n, ok, more := t.lease(o)
	o.Addr, o.More = netip.Addr{}, more
	if ok {
		o.Addr = address(n)
	}
	return ok
}

// Renew is a guard: it moves the deadline of what a holder has leased, and is lost
// when that is somebody else's by now. A lease that ran out but was not given
// away is renewed.
type Renew struct {
	Pool   string
	Holder string
	TTL    time.Duration

	Outcome
	Addr netip.Addr // what the holder has
}

func (o *Renew) keys() []Key  { return poolKeys(o.Pool) }
func (o *Renew) name() string { return "renew" }
func (o *Renew) writes() bool { return true }

func (o *Renew) args(a []any) []any {
	return append(a, escape(o.Holder), ms(o.TTL), ms(poolLife))
}

func (o *Renew) decode(ok bool, r reply) error {
	if o.Addr = (netip.Addr{}); ok {
		o.Addr = address(uint32(r.int(0)))
	}
	return r.err
}

func (o *Renew) apply(t *txn) bool {
	n, ok := t.renew(o.Pool, escape(o.Holder), t.now+ms(o.TTL))
	if o.Addr = (netip.Addr{}); ok {
		o.Addr = address(n)
	}
	return ok
}

// Release ends a holder's lease. The owner's claim to the address stays until
// somebody else gets it. Releasing what one no longer holds changes nothing.
type Release struct {
	Pool   string
	Holder string

	Outcome
}

func (o *Release) keys() []Key                  { return poolKeys(o.Pool) }
func (o *Release) name() string                 { return "release" }
func (o *Release) writes() bool                 { return true }
func (o *Release) args(a []any) []any           { return append(a, escape(o.Holder)) }
func (o *Release) decode(_ bool, r reply) error { return r.err }

func (o *Release) apply(t *txn) bool {
	t.release(o.Pool, escape(o.Holder))
	return true
}

// Leased counts the addresses of a pool that are leased now.
type Leased struct {
	Pool string

	Outcome
	N int
}

func (o *Leased) keys() []Key        { return poolKeys(o.Pool)[:1] }
func (o *Leased) name() string       { return "leased" }
func (o *Leased) writes() bool       { return false }
func (o *Leased) args(a []any) []any { return a }

func (o *Leased) decode(_ bool, r reply) error {
	o.N = int(r.int(0))
	return r.err
}

func (o *Leased) apply(t *txn) bool {
	o.N = t.leased(o.Pool)
	return true
}

// number and address map IPv4 addresses to the integers that are stored. The
// zero Addr is 0, which is in no pool.
func number(a netip.Addr) uint32 {
	if a = a.Unmap(); !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
