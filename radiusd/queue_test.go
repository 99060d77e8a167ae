package radiusd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2866"

	"postern/authz"
	"postern/internal/radius"
)

// taken is an answerer that remembers which tickets got no answer.
type taken struct {
	mu      sync.Mutex
	ignored int
}

func (a *taken) answer(_ *ticket, reply []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if reply == nil {
		a.ignored++
	}
}

// queuedTicket builds a ticket with a place of its own.
func queuedTicket(n int, r rank, until time.Time) *ticket {
	t := &ticket{rank: r, taken: time.Now(), until: until, via: new(taken)}
	t.from.addr = netip.AddrPortFrom(nasAddr.Addr(), uint16(n))
	t.key = fingerprint{from: t.from.addr, id: byte(n)}
	return t
}

// order says what a queue holds, first taken first.
func (q *queue) order() (all []int) {
	q.close()
	for t := q.take(); t != nil; t = q.take() {
		all = append(all, int(t.from.addr.Port()))
	}
	return all
}

func ports(gone []given) (s string) {
	var all []string
	for _, g := range gone {
		all = append(all, fmt.Sprint(g.from.addr.Port(), " ", g.why.String()))
	}
	return strings.Join(all, ", ")
}

// What goes where there is no room for all: the useless first, the oldest of them before
// the rest; then what ranks behind; then the newcomer.
func TestQueueDropsTheUselessFirst(t *testing.T) {
	now := time.Now()
	later, over := now.Add(time.Second), now.Add(-time.Second)
	for _, tt := range []struct {
		about string
		old   []*ticket
		new   *ticket
		ok    bool
		gone  string
		left  []int
	}{
		{"room", []*ticket{queuedTicket(1, rankFirst, over)}, queuedTicket(9, rankFirst, later), true, "", []int{1, 9}},
		{"no room, all useful", []*ticket{queuedTicket(1, rankFirst, later), queuedTicket(2, rankFirst, later), queuedTicket(3, rankFirst, later)},
			queuedTicket(9, rankFirst, later), false, "", []int{1, 2, 3}},
		{"one useless", []*ticket{queuedTicket(1, rankFirst, over), queuedTicket(2, rankFirst, later), queuedTicket(3, rankFirst, later)},
			queuedTicket(9, rankFirst, later), true, "1 late", []int{2, 3, 9}},
		{"the oldest useless goes, and room is enough", []*ticket{queuedTicket(1, rankFirst, over), queuedTicket(2, rankFirst, over), queuedTicket(3, rankFirst, later)},
			queuedTicket(9, rankFirst, later), true, "1 late", []int{2, 3, 9}},
		{"Stop against Interims", []*ticket{queuedTicket(1, rankInterim, later), queuedTicket(2, rankStart, later), queuedTicket(3, rankInterim, later)},
			queuedTicket(9, rankFirst, later), true, "1 overload", []int{9, 2, 3}},
		{"Stop against Starts", []*ticket{queuedTicket(1, rankStart, later), queuedTicket(2, rankFirst, later), queuedTicket(3, rankFirst, later)},
			queuedTicket(9, rankFirst, later), true, "1 overload", []int{2, 3, 9}},
		{"Interim against Stops", []*ticket{queuedTicket(1, rankFirst, later), queuedTicket(2, rankFirst, later), queuedTicket(3, rankFirst, later)},
			queuedTicket(9, rankInterim, later), false, "", []int{1, 2, 3}},
		{"a useless Stop before a useful Interim", []*ticket{queuedTicket(1, rankFirst, over), queuedTicket(2, rankInterim, later), queuedTicket(3, rankInterim, later)},
			queuedTicket(9, rankFirst, later), true, "1 late", []int{9, 2, 3}},
		{"its Identifier used anew", []*ticket{queuedTicket(1, rankFirst, later), queuedTicket(9, rankFirst, later), queuedTicket(3, rankFirst, later)},
			queuedTicket(9, rankFirst, later), true, "9 superseded", []int{1, 3, 9}},
	} {
		q := newQueue(3)
		for _, o := range tt.old {
			if ok, _ := q.offer(over.Add(-time.Second), o); !ok {
				t.Fatalf("%s: no room", tt.about)
			}
		}
		ok, gone := q.offer(now, tt.new)
		if n := q.len(); n != len(tt.left) {
			t.Errorf("%s: %d wait", tt.about, n)
		}
		if left := q.order(); ok != tt.ok || ports(gone) != tt.gone || !slices.Equal(left, tt.left) {
			t.Errorf("%s: %v, gone %s, left %v", tt.about, ok, ports(gone), left)
		}
	}
}

func TestRankOf(t *testing.T) {
	for status, want := range map[rfc2866.AcctStatusType]rank{
		rfc2866.AcctStatusType_Value_Stop: rankFirst, rfc2866.AcctStatusType_Value_AccountingOn: rankFirst, rfc2866.AcctStatusType_Value_AccountingOff: rankFirst,
		rfc2866.AcctStatusType_Value_Start: rankStart, rfc2866.AcctStatusType_Value_InterimUpdate: rankInterim, 77: rankInterim,
	} {
		p := radius.NewRequest(radius.CodeAccountingRequest, sharedSecret)
		must(t, rfc2866.AcctStatusType_Set(p, status))
		if got := rankOf(kindAccounting, p); got != want {
			t.Errorf("%v: %v, want %v", status, got, want)
		}
	}
	if rankOf(kindAccess, radius.NewRequest(radius.CodeAccessRequest, sharedSecret)) != rankFirst {
		t.Error("a login is not taken first")
	}
}

// Twice what a service can do, for a minute, by clients that repeat a request as RFC 5080
// says and give up after 2 s: the worker works for nobody who has gone, all that it does is
// of use, and the queue stays bounded. In turn, one answer in sixteen came in time.
func TestOverloadIsNotWasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			work    = 10 * time.Millisecond // a login's, so 100 in a second
			arrive  = 5 * time.Millisecond  // two for each
			lasting = time.Minute
			room    = 300
		)
		s := newService(t, Config{Queue: room, Deadline: 2 * time.Second})
		var mu sync.Mutex
		waits := make(map[string]bool) // users whose client waits
		worked, wasted, most := 0, 0, 0
		s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
			mu.Lock()
			worked++
			if !waits[r.User] {
				wasted++
			}
			mu.Unlock()
			time.Sleep(work)
			return verify(r)
		}
		var workers, callers sync.WaitGroup
		workers.Go(func() { s.work(s.access) })
		answered := 0
		end := time.Now().Add(lasting)
		for i := 0; time.Now().Before(end); i++ {
			callers.Go(func() {
				user := fmt.Sprint("user", i)
				mu.Lock()
				waits[user] = true
				mu.Unlock()
				to := &reply{got: make(chan bool, 8)}
				patience := time.NewTimer(2 * time.Second)
				defer patience.Stop()
				at := peer{addr: netip.AddrPortFrom(nasAddr.Addr(), uint16(i%60000+1)), via: radius.UDP}
				req := access(t, pap(user, goodPassword))
				again := time.NewTimer(0)
				defer again.Stop()
				for wait := 500 * time.Millisecond; ; {
					select {
					case <-again.C:
						if tk, _ := s.admit(time.Now(), req, at); tk != nil {
							tk.via = to
							ok, gone := s.access.offer(time.Now(), tk)
							s.giveUp(gone)
							if !ok {
								s.refuse(tk, dropOverload)
							}
						}
						again.Reset(wait)
						wait *= 2
						continue
					case <-to.got:
						mu.Lock()
						answered++
						mu.Unlock()
					case <-patience.C:
					}
					mu.Lock()
					delete(waits, user)
					most = max(most, s.access.len())
					mu.Unlock()
					return
				}
			})
			time.Sleep(arrive)
		}
		callers.Wait()
		s.access.close()
		workers.Wait()
		t.Logf("%d worked on, %d answered in time, %d for nobody, at most %d waited", worked, answered, wasted, most)
		if worked < int(lasting/work)*9/10 || wasted > worked/100 || answered < worked*99/100 || most > room {
			t.Error("work was wasted")
		}
	})
}

// reply hands an answer to who waits.
type reply struct{ got chan bool }

func (r *reply) answer(_ *ticket, b []byte) {
	if b != nil {
		r.got <- true
	}
}

// Accounting in a flood of Interims: Stops are stored, each, and before what waited.
func TestStopsComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{Queue: 4 * 8}) // a quarter is accounting's
		offer := func(n int, status rfc2866.AcctStatusType) {
			req := accountingRequest(t, func(p *radius.Packet) {
				p.Identifier = byte(n)
				must(t, rfc2866.AcctStatusType_Set(p, status))
				must(t, rfc2866.AcctSessionID_SetString(p, fmt.Sprint(status, n)))
			})
			tk, _ := s.admit(time.Now(), req, peer{addr: nasAddr, via: radius.UDP})
			if tk == nil {
				t.Fatal("not admitted")
			}
			tk.via = new(taken)
			ok, gone := s.accounting.offer(time.Now(), tk)
			s.giveUp(gone)
			if !ok {
				s.refuse(tk, dropOverload)
			}
		}
		for n := range 20 {
			offer(n, rfc2866.AcctStatusType_Value_InterimUpdate)
		}
		for n := range 6 {
			offer(100+n, rfc2866.AcctStatusType_Value_Stop)
		}
		s.accounting.close()
		s.work(s.accounting)
		var order []string
		for _, a := range s.accounter.all() {
			order = append(order, a.Status.String())
		}
		if len(order) != 8 || slices.Index(order, authz.AcctInterim.String()) != 6 {
			t.Errorf("stored %v", order)
		}
		s.dropped(t, "overload", 20-8+6)
	})
}

// Who closes the connection has given up what waits there, and it is not worked on; what
// others ask is.
func TestLostConnectionIsNotWorkedFor(t *testing.T) {
	a := newAuthority(t)
	s := newService(t, Config{Workers: 1, Queue: 64, RadSec: RadSec{Listen: "127.0.0.1:0", TLS: a.server(t)}})
	release := make(chan bool)
	s.decider.decide = func(_ context.Context, r *authz.Request) *authz.Result {
		<-release
		return verify(r)
	}
	must(t, s.Start())
	_, _, addr := s.Addrs()
	leaves, stays := dialRadSec(t, addr.String(), a.client(t, "gw1.example.org")), dialRadSec(t, addr.String(), a.client(t, "gw1.example.org"))
	send(t, stays, overTLS(t, 1, pap("first", "guess")))
	eventually(t, "in work", func() bool { return s.decider.count() == 1 })
	for id := range byte(20) {
		send(t, leaves, overTLS(t, id, pap("alice", "guess")))
	}
	send(t, stays, overTLS(t, 2, pap("second", "guess")))
	eventually(t, "queued", func() bool { return s.access.len() == 21 })
	must(t, leaves.Close())
	eventually(t, "given up", func() bool { return s.counted(t, "dropped_total", "reason=gone") == 20 })
	close(release)
	must(t, stays.SetReadDeadline(time.Now().Add(5*time.Second)))
	for range 2 {
		_, err := radius.ReadPacket(stays, make([]byte, radius.MaxPacket))
		must(t, err)
	}
	if n := s.decider.count(); n != 2 {
		t.Errorf("%d logins were worked on, want those of who stayed", n)
	}
}
