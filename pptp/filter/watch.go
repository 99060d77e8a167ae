package filter

import (
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Ours. Events say at once what somebody does to the table; the look now and then is
// for what they do not say, as when too many came to be kept. A program that puts its
// own idea of the ruleset in place as often as we do must not keep both busy.
const (
	lookEvery  = time.Minute
	lookBroken = 2 * time.Second
	maxRepairs = 60 // between two looks; from there on there is a pause before each
	fightPause = time.Second
)

// watch hears of changes to nftables until Close closes the socket. What others do to
// our table makes patrol look at it.
func (t *Table) watch() {
	defer t.done.Done()
	for {
		events, err := t.events.Receive()
		select {
		case <-t.stop:
			return
		default:
		}
		switch {
		case errors.Is(err, unix.ENOBUFS): // more than the socket keeps
			t.suspect()
		case err != nil:
			t.log.Warn("changes by others are found by looking only", "every", lookEvery, "error", err)
			return
		}
		for _, e := range events {
			if t.foreign(e) {
				t.suspect()
				break
			}
		}
	}
}

// foreign says whether an event is somebody else's change of our table. The name of
// the table is attribute 1 of all that is in one; the event that ends a transaction
// belongs to no family.
func (t *Table) foreign(e netlink.Message) bool {
	return e.Header.Type>>8 == unix.NFNL_SUBSYS_NFTABLES &&
		len(e.Data) >= nfgenmsgLen && e.Data[0] == unix.NFPROTO_IPV4 &&
		e.Header.PID != t.kernel.port.Load() &&
		attributes(e.Data[nfgenmsgLen:]).get(unix.NFTA_TABLE_NAME).text() == t.table.Name
}

// patrol verifies the table when it is asked to, and now and then, until Close.
func (t *Table) patrol() {
	defer t.done.Done()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	before := t.metric.repairs.Load()
	for {
		select {
		case <-t.stop:
			return
		case <-t.wake:
			if t.metric.repairs.Load()-before >= maxRepairs && !t.pause() {
				return
			}
		case <-timer.C:
			before = t.metric.repairs.Load()
		}
		next := lookEvery
		if err := t.Verify(); err != nil && !errors.Is(err, ErrClosed) {
			next = lookBroken
			t.log.Warn("the table cannot be verified", "again_in", next, "error", err)
		}
		timer.Reset(next)
	}
}

// pause waits a little. False: Close was called.
func (t *Table) pause() bool {
	select {
	case <-t.stop:
		return false
	case <-time.After(fightPause):
		return true
	}
}
