package policy

import (
	"net/netip"
	"sync"
	"time"
)

// evaluation holds the facts in the form conditions compare. It is reused, so
// that a decision allocates nothing.
type evaluation struct {
	user, realm, nas, tunnel []byte // folded; empty is none
	source, nasAddress       netip.Addr
	groups                   [maxGroups / 64]uint64
	inAny                    bool

	buf [4 * maxName]byte // what user, realm, nas and tunnel point into
	tmp [maxName]byte
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// Evaluate decides. It is pure: the decision follows from the policy, now and
// the facts alone; its work is bounded by the policy's size and the number of
// the user's groups. When no rule matches, it refuses.
func (p *Policy) Evaluate(now time.Time, f *Facts) Decision {
	e := evaluations.Get().(*evaluation)
	defer evaluations.Put(e)
	e.set(p, f)
	for i := range p.rules {
		if p.rules[i].match(e) {
			d := p.rules[i].decision
			d.At = now
			return d
		}
	}
	return Decision{Verdict: Deny, Reason: NoMatch, Version: p.version, At: now}
}

func (e *evaluation) set(p *Policy, f *Facts) {
	e.user = foldInto(e.buf[0:0:maxName], f.User)
	e.realm = foldInto(e.buf[maxName:maxName:2*maxName], f.Realm)
	e.nas = foldInto(e.buf[2*maxName:2*maxName:3*maxName], f.NAS)
	e.tunnel = foldInto(e.buf[3*maxName:3*maxName:4*maxName], f.Tunnel)
	e.source, e.nasAddress = f.Source.Unmap().WithZone(""), f.NASAddress.Unmap().WithZone("")
	e.inAny = len(f.Groups) > 0
	clear(e.groups[:])
	for _, g := range f.Groups {
		if i, ok := p.groups[string(foldInto(e.tmp[:0], g))]; ok {
			e.groups[i/64] |= 1 << (i % 64)
		}
	}
}

// tooLong is no name: it has a character no policy can write into one.
var tooLong = []byte{0xff}

// foldInto folds s. A fact that is longer than any name in a policy equals none
// of them, and is not missing either.
func foldInto(dst []byte, s string) []byte {
	if len(s) > maxName {
		return tooLong
	}
	if dst = appendFold(dst, s); len(dst) > maxName {
		return tooLong
	}
	return dst
}
