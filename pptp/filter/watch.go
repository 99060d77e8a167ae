package filter

import (
	"errors"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Ours. Events say at once what somebody does to the table; the look now and then is
// for what they do not say, as when too many came to be kept.
const (
	lookEvery  = time.Minute
	lookBroken = 2 * time.Second
)

// watch hears of changes to nftables until Close closes the socket. What others do to
// our table makes patrol look at it.
func (t *Table) watch() {
	defer t.done.Done()
	for {
		events, err := t.events.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS): // more than the socket keeps
			t.suspect()
		case errors.Is(err, os.ErrClosed):
			return
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
// the table is attribute 1 of all that has one, but for the event that ends a
// transaction, which has a number there.
func (t *Table) foreign(e netlink.Message) bool {
	return e.Header.Type>>8 == unix.NFNL_SUBSYS_NFTABLES && e.Header.Type&0xff != unix.NFT_MSG_NEWGEN &&
		len(e.Data) >= nfgenmsgLen && e.Data[0] == unix.NFPROTO_IPV4 &&
		e.Header.PID != t.kernel.port.Load() &&
		attributes(e.Data[nfgenmsgLen:]).get(unix.NFTA_TABLE_NAME).text() == t.table.Name
}

// patrol verifies the table when it is asked to, and now and then, until Close.
func (t *Table) patrol() {
	defer t.done.Done()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-t.wake:
		case <-timer.C:
		}
		next := lookEvery
		if err := t.Verify(); err != nil && !errors.Is(err, ErrClosed) {
			next = lookBroken
			t.log.Warn("the table cannot be verified", "again_in", next, "error", err)
		}
		timer.Reset(next)
	}
}
