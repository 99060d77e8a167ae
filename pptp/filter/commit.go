package filter

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// request is somebody's change, on its way into a transaction.
type request struct {
	do   func(*txn) error
	over bool // guarded by Table.mu, as err is
	err  error
}

// maxTogether is how many changes one transaction takes. The kernel looks at all
// elements of a verdict map for each transaction that adds one to it, so that at
// 20,000 sessions a hundred logins that come at the same time cost little more than
// one.
const maxTogether = 128

// submit makes a change together with those that others want meanwhile: whoever gets
// the lock first works for all who wait for it.
func (t *Table) submit(do func(*txn) error) error {
	r := &request{do: do}
	t.queueing.Lock()
	t.queue = append(t.queue, r)
	t.queueing.Unlock()

	t.mu.Lock()
	defer t.mu.Unlock()
	for !r.over {
		t.run(t.take())
	}
	return r.err
}

// take is a run of what waits. Whoever calls it before his request is over finds it
// there, or ahead of him.
func (t *Table) take() []*request {
	t.queueing.Lock()
	defer t.queueing.Unlock()
	n := min(len(t.queue), maxTogether)
	some := t.queue[:n:n]
	t.queue = t.queue[n:]
	if len(t.queue) == 0 {
		t.queue = nil
	}
	return some
}

// run makes changes in one transaction, and if the kernel refuses it each in its own:
// nobody pays for another one's mistake.
func (t *Table) run(requests []*request) {
	err := t.together(requests)
	if err != nil && errors.Is(err, unix.ENOENT) && !t.closed {
		// Somebody flushed the ruleset, and the event is not here yet.
		if t.verify() == nil {
			err = t.together(requests)
		}
	}
	if err != nil && len(requests) > 1 {
		for _, r := range requests {
			t.run([]*request{r})
		}
		return
	}
	for _, r := range requests {
		if r.err == nil {
			r.err = err
		}
		r.over = true
	}
}

// together makes one transaction. Its error is the kernel's; those of requests, which
// have changed nothing then, stand in them.
func (t *Table) together(requests []*request) error {
	x := t.begin()
	for _, r := range requests {
		if t.closed {
			r.err = ErrClosed
			continue
		}
		ops, undo := len(x.ops), len(x.undo)
		if r.err = r.do(x); r.err != nil {
			x.rollback(undo)
			x.ops = x.ops[:ops]
		}
	}
	began := time.Now()
	err := t.kernel.commit(x)
	t.metric.clients.Store(int64(len(t.clients)))
	if len(x.ops) > 0 {
		t.metric.update.Observe(time.Since(began).Seconds())
		t.metric.updates.Add(uint64(x.updates))
	}
	if err == nil {
		return nil
	}
	x.rollback(0)
	t.metric.clients.Store(int64(len(t.clients)))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.suspect() // the kernel may have done it
	}
	return err
}

// suspect asks for Verify, soon.
func (t *Table) suspect() {
	select {
	case t.wake <- struct{}{}:
	default: // asked for already
	}
}
