package pptp

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// callTable finds sessions by our call ID, which takes no lock, and by
// Acct-Session-Id.
type callTable struct {
	at [1 << 16]atomic.Pointer[session]

	mu    sync.Mutex
	names map[string]*session
	next  uint16
	count int
	limit int
	rest  [1 << 16]int64 // Unix seconds until which an ID is not given out
}

const (
	// callRest is how long a call ID is not used again: packets of the old call may
	// still be under way, and RFC 2637 §3.2 has no other way to tell them apart.
	callRest = 30 * time.Second

	taken = math.MaxInt64 // in callTable.rest
)

// take reserves a call ID: nonzero, and not in use lately. put makes it known, free
// gives it back.
func (t *callTable) take(now time.Time) (uint16, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= t.limit {
		return 0, false
	}
	for range 1 << 16 {
		t.next++
		id := t.next
		if id == 0 || now.Unix() < t.rest[id] {
			continue
		}
		t.count++
		t.rest[id] = taken
		return id, true
	}
	return 0, false
}

func (t *callTable) put(id uint16, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = make(map[string]*session)
	}
	t.names[s.id] = s
	t.at[id].Store(s)
}

// named finds a session by its Acct-Session-Id.
func (t *callTable) named(acct string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.names[acct]
}

// free gives id back.
func (t *callTable) free(id uint16, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.at[id].Swap(nil); s != nil {
		delete(t.names, s.id)
	}
	if t.rest[id] == taken {
		t.count--
		t.rest[id] = now.Add(callRest).Unix()
	}
}

// setLimit bounds the number of calls.
func (t *callTable) setLimit(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = n
}

// addrTable finds sessions by the client's inner address. Reading takes no lock; a
// /16 in use costs 2 KB and each /24 in it 2 KB more.
type addrTable struct {
	mu  sync.Mutex
	top [1 << 16]atomic.Pointer[addrPage]
}

type (
	addrPage [256]atomic.Pointer[addrLeaf]
	addrLeaf [256]atomic.Pointer[session]
)

func (t *addrTable) find(a [4]byte) *session {
	p := t.top[binary.BigEndian.Uint16(a[:2])].Load()
	if p == nil {
		return nil
	}
	l := p[a[2]].Load()
	if l == nil {
		return nil
	}
	return l[a[3]].Load()
}

// put gives a to s; false if another session has it.
func (t *addrTable) put(a [4]byte, s *session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := &t.top[binary.BigEndian.Uint16(a[:2])]
	p := slot.Load()
	if p == nil {
		p = new(addrPage)
		slot.Store(p)
	}
	l := p[a[2]].Load()
	if l == nil {
		l = new(addrLeaf)
		p[a[2]].Store(l)
	}
	return l[a[3]].CompareAndSwap(nil, s) || l[a[3]].Load() == s
}

// remove takes a back from s.
func (t *addrTable) remove(a [4]byte, s *session) {
	if p := t.top[binary.BigEndian.Uint16(a[:2])].Load(); p != nil {
		if l := p[a[2]].Load(); l != nil {
			l[a[3]].CompareAndSwap(s, nil)
		}
	}
}
