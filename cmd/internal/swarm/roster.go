package swarm

import (
	"container/heap"
	"sync"
	"time"
)

// Roster says who logs in next. Nobody has two turns at a time, and who types a code
// waits for the next one after each login: a service takes every code once. Its
// methods may be called from any goroutine.
type Roster struct {
	separator string

	mu    sync.Mutex
	free  turns
	order uint64
	freed chan struct{} // closed, and replaced, when somebody's turn is over
}

// Turn is somebody who is logging in, or logged in, until Done.
type Turn struct {
	User  User
	Index int // in the users file

	ready time.Time // not before
	order uint64    // among those who are ready: who waits longest
	used  int64     // the step of the last code; 0: none
}

// NewRoster makes a roster; separator stands between name and code.
func NewRoster(users []User, separator string) *Roster {
	r := &Roster{separator: separator, freed: make(chan struct{})}
	for i, u := range users {
		r.order++
		r.free = append(r.free, &Turn{User: u, Index: i, order: r.order})
	}
	heap.Init(&r.free)
	return r
}

// Take hands out a turn. Without one it says when to ask again, if nobody is done
// before (Freed): zero means not before somebody is.
func (r *Roster) Take(now time.Time) (t *Turn, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 {
		return nil, time.Time{}
	}
	if at := r.free[0].ready; at.After(now) {
		return nil, at
	}
	return heap.Pop(&r.free).(*Turn), time.Time{}
}

// Freed is closed when somebody is done.
func (r *Roster) Freed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.freed
}

// Done gives a turn back.
func (r *Roster) Done(t *Turn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order++
	t.order = r.order
	heap.Push(&r.free, t)
	close(r.freed)
	r.freed = make(chan struct{})
}

// Typed is the name to type now, code included. Without a code that was not used yet
// it says when there will be one.
func (r *Roster) Typed(t *Turn, now time.Time) (name string, at time.Time) {
	k := t.User.token
	if k == nil {
		return t.User.Name, time.Time{}
	}
	step := k.step(now)
	if step <= t.used {
		return "", k.until(t.used)
	}
	code, err := k.code(step)
	if err != nil { // parseToken made one
		panic(err)
	}
	t.used, t.ready = step, k.until(step)
	return t.User.Name + r.separator + code, time.Time{}
}

// turns is a heap: who is ready first, and of these who waits longest.
type turns []*Turn

func (q turns) Len() int      { return len(q) }
func (q turns) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q turns) Less(i, j int) bool {
	if c := q[i].ready.Compare(q[j].ready); c != 0 {
		return c < 0
	}
	return q[i].order < q[j].order
}
func (q *turns) Push(x any) { *q = append(*q, x.(*Turn)) }
func (q *turns) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1], *q = nil, old[:len(old)-1]
	return x
}
